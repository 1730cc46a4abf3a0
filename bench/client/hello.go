package client

import (
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// Positions in a hello of one record (protocol.md 2.1).
const (
	randomAt  = 11
	randomEnd = 43
	sessionAt = 44
	recordHdr = 5
	classic   = 517 // bytes of a hello without the hybrid key share
)

// Hello is a ClientHello in the making. The zero value is a good one of 517 bytes, for no host.
type Hello struct {
	Host   string
	Hybrid bool      // offer X25519MLKEM768 too: about 1,790 bytes
	Time   time.Time // the time inside; zero is now
	// TLS12 leaves out supported_versions and the key shares: no TLS 1.3.
	TLS12 bool
}

// Sign builds the hello, one record, and signs it with key.
func (h Hello) Sign(key [16]byte) []byte {
	b := h.build()
	at := h.Time
	if at.IsZero() {
		at = time.Now()
	}
	Resign(b, key, at)
	return b
}

// Resign signs a hello of one record in place, whatever it was signed with before, for somebody whose clock says at. It costs far less than
// building one.
func Resign(hello []byte, key [16]byte, at time.Time) {
	random := hello[randomAt:randomEnd]
	clear(random)
	mac := hmac.New(sha256.New, key[:])
	mac.Write(hello)
	copy(random, mac.Sum(nil))
	last := random[len(random)-4:]
	binary.LittleEndian.PutUint32(last, binary.LittleEndian.Uint32(last)^uint32(at.Unix()))
}

// Renew gives a hello of one record another random and another session id, so that it is nobody's and has never been seen.
func Renew(hello []byte) {
	_, _ = rand.Read(hello[randomAt:randomEnd])
	_, _ = rand.Read(hello[sessionAt : sessionAt+32])
}

// Foreign builds the hello of somebody without a secret: the random is just that.
func (h Hello) Foreign() []byte {
	b := h.build()
	_, _ = rand.Read(b[randomAt:randomEnd])
	return b
}

// build makes a hello that any TLS 1.3 server answers, its random zero.
func (h Hello) build() []byte {
	m := message{0x01, 0, 0, 0, 0x03, 0x03}
	m = append(m, make([]byte, 32)...)
	m = append(m, 32)
	m = append(m, random(32)...)
	grease := greaseValue()
	m.list16(func(m *message) {
		m.u16(grease, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035)
	})
	m = append(m, 1, 0) // no compression
	m.list16(func(m *message) { h.extensions(m, grease) })
	m[1], m[2], m[3] = 0, byte((len(m)-4)>>8), byte(len(m)-4)
	record := append([]byte{0x16, 0x03, 0x01, byte(len(m) >> 8), byte(len(m))}, m...)
	return record
}

func (h Hello) extensions(m *message, grease uint16) {
	m.extension(grease, func(*message) {})
	if h.Host != "" {
		m.extension(0, func(m *message) { // server_name
			m.list16(func(m *message) {
				*m = append(*m, 0)
				m.list16(func(m *message) { *m = append(*m, h.Host...) })
			})
		})
	}
	m.extension(0x17, func(*message) {})                                                       // extended_master_secret
	m.extension(0xff01, func(m *message) { *m = append(*m, 0) })                               // renegotiation_info
	m.extension(0x0a, func(m *message) { m.list16(func(m *message) { h.groups(m, grease) }) }) // supported_groups
	m.extension(0x0b, func(m *message) { *m = append(*m, 1, 0) })                              // ec_point_formats
	m.extension(0x23, func(*message) {})                                                       // session_ticket
	m.extension(0x10, func(m *message) {                                                       // ALPN
		m.list16(func(m *message) { *m = append(*m, "\x02h2\x08http/1.1"...) })
	})
	m.extension(0x0d, func(m *message) { // signature_algorithms
		m.list16(func(m *message) { m.u16(0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601) })
	})
	if !h.TLS12 {
		m.extension(0x33, func(m *message) { m.list16(func(m *message) { h.shares(m, grease) }) })
		m.extension(0x2d, func(m *message) { *m = append(*m, 1, 1) }) // psk_key_exchange_modes
		m.extension(0x2b, func(m *message) {
			*m = append(*m, 6)
			m.u16(grease, 0x0304, 0x0303)
		})
	}
	if h.Hybrid { // encrypted_client_hello as those send it who have no key for it: noise
		m.extension(0xfe0d, func(m *message) {
			*m = append(*m, 0, 0, 1, 0, 1, random(1)[0]) // outer, KDF, AEAD, config id
			m.list16(func(m *message) { *m = append(*m, random(32)...) })
			m.list16(func(m *message) { *m = append(*m, random(208)...) })
		})
	}
	// Behind the extensions come the list's own length, the record's header and the padding's: 517 in all.
	if pad := classic - recordHdr - len(*m) - 4; pad >= 0 && !h.Hybrid {
		m.extension(0x15, func(m *message) { *m = append(*m, make([]byte, pad)...) })
	}
}

func (h Hello) groups(m *message, grease uint16) {
	m.u16(grease) // as there is a share of it, it must be here
	if h.Hybrid {
		m.u16(0x11ec)
	}
	m.u16(0x001d, 0x0017, 0x0018)
}

func (h Hello) shares(m *message, grease uint16) {
	m.u16(grease, 1)
	*m = append(*m, 0)
	own, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		panic(err) // the system has no randomness
	}
	public := own.PublicKey().Bytes()
	if h.Hybrid {
		kem, err := mlkem.GenerateKey768()
		if err != nil {
			panic(err)
		}
		m.u16(0x11ec)
		m.list16(func(m *message) { *m = append(append(*m, kem.EncapsulationKey().Bytes()...), public...) })
	}
	m.u16(0x001d)
	m.list16(func(m *message) { *m = append(*m, public...) })
}

// message is a handshake message that grows.
type message []byte

func (m *message) u16(values ...uint16) {
	for _, v := range values {
		*m = binary.BigEndian.AppendUint16(*m, v)
	}
}

// list16 appends what f appends, behind its length.
func (m *message) list16(f func(*message)) {
	at := len(*m)
	*m = append(*m, 0, 0)
	f(m)
	binary.BigEndian.PutUint16((*m)[at:], uint16(len(*m)-at-2))
}

func (m *message) extension(id uint16, body func(*message)) {
	m.u16(id)
	m.list16(body)
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// greaseValue is one of 0x0a0a, 0x1a1a ... 0xfafa.
func greaseValue() uint16 {
	v := uint16(random(1)[0]&0xf0 | 0x0a)
	return v<<8 | v
}

// Records splits a hello of one record into n records of about the same length, as it stands on the wire.
func Records(hello []byte, n int) []byte {
	m := hello[recordHdr:]
	var out []byte
	for i := range n {
		part := m[len(m)*i/n : len(m)*(i+1)/n]
		out = append(out, 0x16, 0x03, 0x01, byte(len(part)>>8), byte(len(part)))
		out = append(out, part...)
	}
	return out
}
