package probe

import (
	"encoding/binary"
	"net"
)

const (
	headerLen       = 5
	typeHandshake   = 0x16
	typeApplication = 0x17
	// maxClear bounds what is kept of the handshake in clear: two ServerHellos with room to spare, not a TLS 1.2 front's certificates.
	maxClear = 4 << 10
)

// recorder notes the records that are read through it. A Read never crosses the end of a record or of its header, and crypto/tls reads a
// record only when it needs it. So at the end of the handshake it has read, and the recorder has seen, all up to the front's
// Finished, and no tickets, though they may have come in the same segment.
type recorder struct {
	net.Conn
	header [headerLen]byte
	have   int    // bytes of the header
	left   int    // bytes of the record that are still to come
	clear  []byte // the payloads of handshake records
	sealed []int  // the lengths of application records

	sends func(random [32]byte) // to be told of the first hello; nil: has been, or nobody is
}

// Write implements net.Conn. The first write of a handshake begins with a ClientHello in a record of its own.
func (r *recorder) Write(p []byte) (int, error) {
	const at, size = headerLen + 4 + 2, 32 // behind the headers of record and message, and the version (RFC 8446, 4.1.2)
	if r.sends != nil && len(p) >= at+size {
		r.sends([32]byte(p[at:]))
		r.sends = nil
	}
	return r.Conn.Write(p)
}

// Read implements net.Conn.
func (r *recorder) Read(p []byte) (int, error) {
	if r.left > 0 {
		n, err := r.Conn.Read(p[:min(len(p), r.left)])
		r.left -= n
		if r.header[0] == typeHandshake && len(r.clear)+n <= maxClear {
			r.clear = append(r.clear, p[:n]...)
		}
		return n, err
	}
	n, err := r.Conn.Read(p[:min(len(p), headerLen-r.have)])
	r.have += copy(r.header[r.have:], p[:n])
	if r.have == headerLen {
		r.have, r.left = 0, int(binary.BigEndian.Uint16(r.header[3:]))
		if r.header[0] == typeApplication {
			r.sealed = append(r.sealed, r.left)
		}
	}
	return n, err
}

// keyShareFirst says whether key_share comes before supported_versions in the last ServerHello of a handshake in clear. That is the
// order of its two extensions; what does not parse is taken for the usual one.
func keyShareFirst(clear []byte) (first bool) {
	for len(clear) >= 4 {
		size := 4 + int(binary.BigEndian.Uint32(clear)&0xffffff)
		if size > len(clear) {
			return first
		}
		if clear[0] == 2 {
			first = shareBeforeVersion(clear[4:size])
		}
		clear = clear[size:]
	}
	return first
}

// shareBeforeVersion reads the body of a ServerHello (RFC 8446, 4.1.3).
func shareBeforeVersion(hello []byte) bool {
	const sessionAt = 2 + 32
	if len(hello) <= sessionAt {
		return false
	}
	at := sessionAt + 1 + int(hello[sessionAt]) + 2 + 1 + 2 // session id, cipher, compression, the extensions' length
	for at+4 <= len(hello) {
		switch binary.BigEndian.Uint16(hello[at:]) {
		case 0x0033:
			return true
		case 0x002b:
			return false
		}
		at += 4 + int(binary.BigEndian.Uint16(hello[at+2:]))
	}
	return false
}
