package client

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// What a flight can have wrong. ErrNotOurs is what a client sees that was sent to the front: a flight that the secret did not sign.
var (
	ErrNotOurs   = errors.New("the server's hello is not signed with the secret")
	errShape     = errors.New("the flight is not ServerHello, ChangeCipherSpec, one application record")
	errLongFinal = errors.New("the flight's last record is longer than 10,240 bytes, which clients for iOS refuse")
	errExtra     = errors.New("something follows the flight, which clients for Android take for a part of it")
)

const (
	handshakeRecord   = 0x16
	changeRecord      = 0x14
	applicationRecord = 0x17
	maxFlightRecord   = 10240
	maxRecord         = 16401 // what real servers write at most (protocol.md 2.4)
)

// Flight is a server's answer to a hello.
type Flight struct {
	ServerHello []byte // the record's payload
	Group       uint16 // of the key share; 0 without one
	Cipher      uint16
	Final       int // length of the application record
}

// readFlight reads and checks the flight as strictly as any client does (protocol.md 2.2).
func readFlight(conn net.Conn, key [16]byte, hello []byte) (Flight, error) {
	var raw []byte
	var lengths [3]int
	for i, kind := range []byte{handshakeRecord, changeRecord, applicationRecord} {
		var header [recordHdr]byte
		if _, err := io.ReadFull(conn, header[:]); err != nil {
			return Flight{}, fmt.Errorf("record %d of the flight: %w", i+1, err)
		}
		if header[0] != kind || header[1] != 3 || header[2] != 3 {
			return Flight{}, fmt.Errorf("%w: record %d begins with %x", errShape, i+1, header)
		}
		n := int(binary.BigEndian.Uint16(header[3:]))
		body := make([]byte, n)
		if _, err := io.ReadFull(conn, body); err != nil {
			return Flight{}, fmt.Errorf("record %d of the flight: %w", i+1, err)
		}
		raw, lengths[i] = append(append(raw, header[:]...), body...), n
	}
	f := Flight{ServerHello: raw[recordHdr : recordHdr+lengths[0]], Final: lengths[2]}
	if lengths[1] != 1 || raw[recordHdr+lengths[0]+recordHdr] != 1 {
		return f, errShape
	}
	if !signed(key, hello[randomAt:randomEnd], raw) {
		return f, ErrNotOurs
	}
	if f.Final > maxFlightRecord {
		return f, errLongFinal
	}
	if err := f.parse(hello); err != nil {
		return f, err
	}
	if waiting(conn) {
		return f, errExtra
	}
	return f, nil
}

// signed checks the digest over the flight as it came.
func signed(key [16]byte, clientRandom, flight []byte) bool {
	if len(flight) < randomEnd {
		return false
	}
	zeroed := bytes.Clone(flight)
	clear(zeroed[randomAt:randomEnd])
	mac := hmac.New(sha256.New, key[:])
	mac.Write(clientRandom)
	mac.Write(zeroed)
	return hmac.Equal(mac.Sum(nil), flight[randomAt:randomEnd])
}

// parse checks the ServerHello against the hello: no client looks, but whoever watches may.
func (f *Flight) parse(hello []byte) error {
	b := f.ServerHello
	const fixed = 4 + 2 + 32 + 1 + 32 + 2 + 1 + 2
	if len(b) < fixed || b[0] != 2 || int(b[1])<<16|int(b[2])<<8|int(b[3]) != len(b)-4 || b[4] != 3 || b[5] != 3 {
		return fmt.Errorf("%w: ServerHello %x", errShape, b[:min(len(b), 6)])
	}
	if b[38] != 32 || !bytes.Equal(b[39:71], hello[44:76]) {
		return errors.New("the ServerHello does not echo the session id")
	}
	f.Cipher = binary.BigEndian.Uint16(b[71:])
	if f.Cipher < 0x1301 || f.Cipher > 0x1303 || b[73] != 0 {
		return fmt.Errorf("the ServerHello picks cipher suite %#x", f.Cipher)
	}
	rest := b[fixed:]
	if int(binary.BigEndian.Uint16(b[74:])) != len(rest) {
		return errors.New("the ServerHello's extensions have a wrong length")
	}
	return f.parseExtensions(rest)
}

func (f *Flight) parseExtensions(rest []byte) error {
	version := uint16(0)
	for len(rest) > 0 {
		if len(rest) < 4 || len(rest) < 4+int(binary.BigEndian.Uint16(rest[2:])) {
			return errors.New("an extension of the ServerHello is cut off")
		}
		id, body := binary.BigEndian.Uint16(rest), rest[4:4+int(binary.BigEndian.Uint16(rest[2:]))]
		rest = rest[4+len(body):]
		switch {
		case id == 0x2b && len(body) == 2:
			version = binary.BigEndian.Uint16(body)
		case id == 0x33 && len(body) >= 4 && int(binary.BigEndian.Uint16(body[2:])) == len(body)-4:
			f.Group = binary.BigEndian.Uint16(body)
		default:
			return fmt.Errorf("extension %#x of the ServerHello, %d bytes", id, len(body))
		}
	}
	if version != 0x0304 || f.Group != 0x001d && f.Group != 0x11ec {
		return fmt.Errorf("the ServerHello picks version %#x, group %#x", version, f.Group)
	}
	return nil
}

// waiting says whether something can be read from conn at this moment.
func waiting(conn net.Conn) bool {
	t, isTCP := conn.(*net.TCPConn)
	if !isTCP {
		return false
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return false
	}
	found := false
	_ = raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		found = err == nil && n > 0
	})
	return found
}
