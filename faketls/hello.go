package faketls

import "encoding/binary"

// Offsets into a ClientHello in its single-record form, and into our ServerHello (protocol.md 2.1, 2.2).
const (
	bodyOffset   = HeaderLen + 4 // the record header, then the handshake's type and length
	randomOffset = 11
	randomLen    = 32
	sessionLen   = 32

	maxRecordIn = 16 << 10 // of plaintext (RFC 8446, 5.1)
	helloType   = 1
	version12   = 0x0303
	version13   = 0x0304
)

// Hello is a ClientHello that may come from one of our clients. Its slices alias the arguments of [ParseHello]: they live as long as
// those are left alone.
type Hello struct {
	// Message is the whole hello as the digest sees it: one record, whose header is `16 03 01 len` when it came in several.
	Message []byte
	// Random is the client's random, the digest within, and SessionID what the flight echoes: 32 bytes each.
	Random, SessionID []byte
	// Name is the server name (SNI) as sent, in any case and of any bytes: compare it by way of [AppendLower].
	Name []byte
	// CipherSuites is the offered list, two bytes each, GREASE included, at least one of TLS 1.3 among them.
	CipherSuites []byte
	// X25519 and Hybrid (X25519MLKEM768) say which key shares came along. At least one did.
	X25519, Hybrid bool

	hybrid []byte // the client's hybrid share
}

// ParseHello reads the ClientHello at the start of b. Bytes that follow it are left alone.
//
// With a nil error n is how many bytes of b the hello takes. With [ErrShort] n is how many more bytes it takes at least; one
// of them may still be enough to reject it. Any other error is a [Reject], and is final: no more bytes will change it.
//
// A hello that comes in several records is put together in join, which must hold [MaxHello] bytes; one in a single record is not copied.
func ParseHello(b, join []byte) (h Hello, n int, err error) {
	message, n, err := unite(b, join)
	if err != nil && err != ErrShort {
		return Hello{}, 0, err
	}
	h.Message = message
	if r := h.parse(); r != 0 {
		return Hello{}, 0, r
	}
	if err != nil {
		return Hello{}, n, err
	}
	if r := h.judge(); r != 0 {
		return Hello{}, 0, r
	}
	return h, n, nil
}

// unite returns the hello, or with ErrShort as much of it as there is, in its single-record form. n is ParseHello's.
func unite(b, join []byte) (message []byte, n int, err error) {
	whole := 0 // the length of the message, once its header is there
	for first := true; ; first = false {
		size, missing, r := recordAt(b[n:], first)
		switch {
		case r != 0:
			return nil, 0, r
		case missing > 0:
			return message, missing, ErrShort
		case n+HeaderLen+size > MaxHello:
			return nil, 0, TooLong
		}
		end := n + HeaderLen + size
		got := b[n+HeaderLen : min(end, len(b))]
		if first {
			message = b[:HeaderLen+len(got)]
		} else {
			message = append(message, got...)
		}
		if whole == 0 { // the four bytes of its header may be spread over as many records
			if whole, r = messageLen(message); r != 0 {
				return nil, 0, r
			}
		}
		held := len(message) - len(got) + size // once this record is whole
		switch {
		case whole > 0 && held > whole:
			return nil, 0, Malformed // something else rides in the hello's last record
		case end > len(b):
			return message, end - len(b), ErrShort
		case held == whole:
			if !first {
				binary.BigEndian.PutUint16(message[3:], uint16(whole-HeaderLen))
			}
			return message, end, nil
		}
		if first {
			message = append(append(join[:0], typeHandshake, 3, 1, 0, 0), got...)
		}
		n = end
	}
}

// recordAt reads the handshake record header at the start of b: the length of its payload, or how many bytes of the header are missing.
func recordAt(b []byte, first bool) (size, missing int, r Reject) {
	r = BadRecord
	if first {
		r = NotHandshake
	}
	if len(b) > 0 && b[0] != typeHandshake || len(b) > 1 && b[1] != 3 {
		return 0, 0, r
	}
	if len(b) < HeaderLen {
		return 0, HeaderLen - len(b), 0
	}
	size = int(binary.BigEndian.Uint16(b[3:]))
	if size == 0 || size > maxRecordIn {
		return 0, 0, BadRecord
	}
	return size, 0, 0
}

// messageLen reads the handshake header behind a record header: the length of the whole in its single-record form, or 0
// when not all of it is there.
func messageLen(message []byte) (whole int, r Reject) {
	if len(message) > HeaderLen && message[HeaderLen] != helloType {
		return 0, NotClientHello
	}
	if len(message) < bodyOffset {
		return 0, 0
	}
	whole = bodyOffset + int(binary.BigEndian.Uint32(message[HeaderLen:])&0xffffff)
	if whole > MaxHello {
		return 0, TooLong
	}
	return whole, 0
}

// parse reads the fields of h.Message, as far as there are any.
func (h *Hello) parse() Reject {
	whole, r := messageLen(h.Message)
	if whole == 0 {
		return r
	}
	s := scanner{have: h.Message, at: bodyOffset, end: whole}
	if v := s.uint16(); s.ok() && v != version12 {
		return NoTLS13 // RFC 8446 freezes this field at 03 03
	}
	h.Random = s.take(randomLen)
	if n := s.uint8(); s.ok() && n != sessionLen {
		return NoSessionID
	}
	h.SessionID = s.take(sessionLen)
	h.CipherSuites = s.take(s.uint16())
	if n := len(h.CipherSuites); s.ok() && (n == 0 || n%2 != 0) {
		return Malformed
	}
	if methods := s.uint16(); s.ok() && methods != 0x0100 { // one method, null (RFC 8446, 4.1.2)
		return Malformed
	}
	if s.ok() && s.at == s.end {
		return NoTLS13 // no extensions: nothing newer than TLS 1.2
	}
	if n := s.uint16(); s.ok() && s.at+n != s.end {
		return Malformed
	}
	return h.parseExtensions(&s)
}

// judge says whether a whole hello has what one of our clients has.
func (h *Hello) judge() Reject {
	switch {
	case h.suite(0) == 0:
		return NoTLS13
	case !h.X25519 && !h.Hybrid:
		return NoKeyShare
	case len(h.Name) == 0:
		return NoName
	}
	return 0
}
