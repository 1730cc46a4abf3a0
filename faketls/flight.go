package faketls

import (
	"crypto/mlkem"
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"filippo.io/edwards25519"
)

// DefaultRecord is the length of a flight's encrypted record when nothing is known of the front: about what a chain of two certificates
// comes to.
const DefaultRecord = 2897

// Shape is how a flight looks to somebody who only watches: like that of the front (protocol.md 5). The zero value is a good guess;
// faketls/probe learns the real one.
type Shape struct {
	// Cipher is the suite the front picks, if it is of TLS 1.3 and the client offers it; else the client's first is taken.
	Cipher uint16
	// Hybrid answers the client's X25519MLKEM768 share, if it sent one, and not its x25519 share. An Android version is said to hang on
	// such an answer (protocol.md 2.2). A client that sent no other share gets it in any case.
	Hybrid bool
	// KeyShareFirst puts the ServerHello's key_share extension before its supported_versions. OpenSSL, BoringSSL and Go do not.
	KeyShareFirst bool
	// Record is the length in bytes of the one encrypted record, cut to MaxFlightRecord; 0 is DefaultRecord.
	Record int
	// ECDSA makes the record's length vary by a byte either way, like that of a front whose certificate has an ECDSA key: such a
	// signature is 70, 71 or 72 bytes long, as chance has it. A length that never changed would give us away.
	ECDSA bool
}

// ccs is the change of cipher spec between the ServerHello and the encrypted record, sent for the sake of middleboxes (RFC 8446, D.4).
var ccs = [...]byte{typeCCS, 3, 3, 0, 1, 1}

// AppendFlight appends the server's answer to h, which must have been verified with key, to dst: a ServerHello that proves to the client
// that we know the key, a change of cipher spec, and one record that looks encrypted (protocol.md 2.2). It is to be sent in one write, and
// nothing after it until the client has spoken. Every random byte comes from rnd, but for those of an ML-KEM encapsulation, which the standard
// library draws itself; an error is always rnd's, and dst is then as it was. dst must not overlap h.
func AppendFlight(dst []byte, m *MAC, key *[keyLen]byte, h *Hello, s Shape, rnd io.Reader) ([]byte, error) {
	start := len(dst)
	flight, err := appendServerHello(dst, h, s, rnd)
	if err == nil {
		flight = append(flight, ccs[:]...)
		flight, err = appendEncrypted(flight, s, rnd)
	}
	if err != nil {
		return dst, fmt.Errorf("faketls: randomness for a flight: %w", err)
	}
	m.begin(key)
	m.inner.Write(h.Random)
	m.inner.Write(flight[start:]) // its random is still zero
	copy(flight[start+randomOffset:], m.finish()[:])
	return flight, nil
}

// appendServerHello appends the ServerHello's record, its random left zero.
func appendServerHello(dst []byte, h *Hello, s Shape, rnd io.Reader) ([]byte, error) {
	start := len(dst)
	dst = append(dst, typeHandshake, 3, 3, 0, 0, 2, 0, 0, 0, 3, 3)
	dst = append(dst, noRandom[:]...)
	dst = append(dst, sessionLen)
	dst = append(dst, h.SessionID...)
	dst = binary.BigEndian.AppendUint16(dst, h.suite(s.Cipher))
	dst = append(dst, 0)
	extensions := len(dst)
	dst = append(dst, 0, 0)
	if !s.KeyShareFirst {
		dst = appendVersion(dst)
	}
	dst, err := appendKeyShare(dst, h, s.Hybrid && h.Hybrid || !h.X25519, rnd)
	if err != nil {
		return nil, err
	}
	if s.KeyShareFirst {
		dst = appendVersion(dst)
	}
	binary.BigEndian.PutUint16(dst[extensions:], uint16(len(dst)-extensions-2))
	size := len(dst) - start - HeaderLen
	binary.BigEndian.PutUint16(dst[start+3:], uint16(size))
	binary.BigEndian.PutUint16(dst[start+HeaderLen+2:], uint16(size-4))
	return dst, nil
}

func appendVersion(dst []byte) []byte {
	return append(dst, 0, extSupportedVersions, 0, 2, version13>>8, version13&0xff)
}

// appendKeyShare appends the key_share extension with a share of our own.
func appendKeyShare(dst []byte, h *Hello, hybrid bool, rnd io.Reader) ([]byte, error) {
	group, size := uint16(groupX25519), x25519Len
	if hybrid {
		group, size = groupHybrid, mlkemCipherLen+x25519Len
	}
	dst = append(dst, 0, extKeyShare)
	dst = binary.BigEndian.AppendUint16(dst, uint16(size+4))
	dst = binary.BigEndian.AppendUint16(dst, group)
	dst = binary.BigEndian.AppendUint16(dst, uint16(size))
	if hybrid {
		var err error
		if dst, err = appendEncapsulation(dst, h.hybrid[:mlkemKeyLen], rnd); err != nil {
			return nil, err
		}
	}
	return appendPoint(dst, rnd)
}

// appendPoint appends a public key of x25519. It is a real one: half of all random strings are no point of the curve, which tells.
// It is made on the birationally equivalent Edwards curve, where a multiple of the base point comes from a table; crypto/ecdh climbs
// x25519's ladder, as for any point, at five times the cost.
func appendPoint(dst []byte, rnd io.Reader) ([]byte, error) {
	var random [x25519Len]byte
	if _, err := io.ReadFull(rnd, random[:]); err != nil {
		return nil, err
	}
	var scalar edwards25519.Scalar
	if _, err := scalar.SetBytesWithClamping(random[:]); err != nil {
		return nil, err
	}
	var public edwards25519.Point
	return append(dst, public.ScalarBaseMult(&scalar).BytesMontgomery()...), nil
}

// appendEncapsulation appends an ML-KEM-768 ciphertext for the client's key: a real one, for the bytes of a ciphertext are not evenly
// distributed. A key that is none gets random bytes: whoever made it up cannot tell.
func appendEncapsulation(dst, key []byte, rnd io.Reader) ([]byte, error) {
	if k, err := mlkem.NewEncapsulationKey768(key); err == nil {
		_, cipher := k.Encapsulate()
		return append(dst, cipher...), nil
	}
	return appendRandom(dst, mlkemCipherLen, rnd)
}

// appendEncrypted appends the record that stands for the rest of the front's flight.
func appendEncrypted(dst []byte, s Shape, rnd io.Reader) ([]byte, error) {
	size := s.Record
	if size <= 0 {
		size = DefaultRecord
	}
	if s.ECDSA {
		more, err := signatureLength(rnd)
		if err != nil {
			return nil, err
		}
		size += more
	}
	size = min(max(size, 1), MaxFlightRecord)
	at := len(dst)
	dst = slices.Grow(dst, HeaderLen+size)[:at+HeaderLen]
	PutHeader(dst[at:], size)
	return appendRandom(dst, size, rnd)
}

// signatureLength returns by how much an ECDSA signature is longer than is usual: r and s take 32 or 33 bytes each, by the toss
// of a coin.
func signatureLength(rnd io.Reader) (int, error) {
	var b [1]byte
	_, err := io.ReadFull(rnd, b[:])
	return int(b[0]&1) + int(b[0]>>1&1) - 1, err
}

func appendRandom(dst []byte, n int, rnd io.Reader) ([]byte, error) {
	at := len(dst)
	dst = slices.Grow(dst, n)[:at+n]
	_, err := io.ReadFull(rnd, dst[at:])
	return dst, err
}
