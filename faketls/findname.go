package faketls

import "encoding/binary"

// maxName bounds a server name: a DNS name has 253 bytes.
const maxName = 255

// FindName is the server name of whatever ClientHello b begins with, or nil when none can be read from what is there. It is for choosing where to
// send a hello that is not one of ours: any version of TLS will do, fields that a client of ours would not send are passed over, and the
// hello need not be whole. The result aliases b or join, which must hold [MaxHello] bytes. It does not allocate.
func FindName(b, join []byte) []byte {
	message := gather(b, join)
	if len(message) < 4 || message[0] != helloType {
		return nil
	}
	s := scan(message)
	s.end = 4 + int(binary.BigEndian.Uint32(message)&0xffffff)
	s.have = message[:min(len(message), s.end)]
	s.take(4 + 2 + randomLen) // the message's header, the version, the random
	s.take(s.uint8())         // the session
	s.take(s.uint16())        // the cipher suites
	s.take(s.uint8())         // the compression methods
	s.uint16()                // the length of the extensions
	for s.more() {
		kind, size := s.uint16(), s.uint16()
		if kind == extServerName {
			return firstName(s.take(size))
		}
		s.take(size)
	}
	return nil
}

// firstName reads the list of an extension server_name (RFC 6066, 3), of which there is only ever one host name.
func firstName(list []byte) []byte {
	s := scan(list)
	s.uint16()
	kind, name := s.uint8(), s.take(s.uint16())
	if !s.ok() || kind != hostName || len(name) > maxName {
		return nil
	}
	return name
}

// gather joins the payloads of the handshake records that b begins with, as far as they are there. One record is not copied.
func gather(b, join []byte) []byte {
	joined := join[:0]
	for first := true; ; first = false {
		size, missing, r := recordAt(b, first)
		if r != 0 || missing > 0 {
			return joined
		}
		payload := b[HeaderLen:min(len(b), HeaderLen+size)]
		if b = b[HeaderLen+len(payload):]; first && len(b) == 0 {
			return payload
		}
		room := cap(joined) - len(joined)
		joined = append(joined, payload[:min(len(payload), room)]...)
		if len(payload) < size || len(payload) >= room {
			return joined
		}
	}
}
