package faketls

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"
)

// wireConn is a connection on which b has come, and after it nothing more.
type wireConn struct{ *bytes.Reader }

func (wireConn) Write(b []byte) (int, error)      { return len(b), nil }
func (wireConn) Close() error                     { return nil }
func (wireConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (wireConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (wireConn) SetDeadline(time.Time) error      { return nil }
func (wireConn) SetReadDeadline(time.Time) error  { return nil }
func (wireConn) SetWriteDeadline(time.Time) error { return nil }

var errSeen = errors.New("seen")

// standard is how crypto/tls reads the hello at the start of b; nil when it does not.
func standard(b []byte) (info *tls.ClientHelloInfo) {
	server := tls.Server(wireConn{bytes.NewReader(b)}, &tls.Config{
		GetConfigForClient: func(i *tls.ClientHelloInfo) (*tls.Config, error) {
			info = i
			return nil, errSeen
		},
	})
	_ = server.Handshake()
	return info
}

// FuzzParseHello has crypto/tls as its oracle. Whatever both take they read the same, and what it takes and we do not lacks something that
// our clients have. It is stricter about the extensions that we pass over; it is laxer about the version of records, and passes over
// warning alerts and empty records.
func FuzzParseHello(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.wire, uint16(700))
		f.Add(split(v.wire, 600), uint16(1000))
	}
	f.Add(spec{}.wire(), uint16(3))
	f.Add(split(spec{}.wire(), 1), uint16(44))
	f.Add(spec{bare: true}.wire(), uint16(0))
	f.Add(spec{session: []byte{}}.wire(), uint16(11))
	f.Add(spec{extensions: [][]byte{someVersions, someShares}}.wire(), uint16(1))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), uint16(1))
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		join := make([]byte, MaxHello)
		h, n, err := ParseHello(b, join)
		checkPrefix(t, b[:int(cut)%(len(b)+1)], n, err)
		info := standard(b)
		var r Reject
		switch {
		case err == nil:
			checkSame(t, &h, info)
			checkSplit(t, &h, uint64(cut))
		case errors.As(err, &r):
			checkReject(t, r, b, info)
		case info != nil:
			t.Errorf("crypto/tls has a whole hello, we have %v", err)
		}
	})
}

// FuzzFlight: whatever hello is accepted, and whatever the front is like, the answer is a flight that clients take and that TLS allows, and
// without randomness there is none.
func FuzzFlight(f *testing.F) {
	for i, v := range vectors(f) {
		f.Add(v.wire, uint64(i), uint16(0x1301+i), uint16(3000*i), uint8(i))
	}
	f.Add(spec{}.wire(), uint64(9), uint16(0), uint16(65535), uint8(7))
	f.Fuzz(func(t *testing.T, b []byte, seed uint64, suite, record uint16, flags uint8) {
		h, _, err := ParseHello(b, make([]byte, MaxHello))
		if err != nil {
			return
		}
		shape := Shape{Cipher: suite, Record: int(record), Hybrid: flags&1 != 0, KeyShareFirst: flags&2 != 0, ECDSA: flags&4 != 0}
		before := []byte("what was there before")
		flight, err := AppendFlight(before, NewMAC(), &testKey, &h, shape, random(byte(seed)))
		if err != nil || !bytes.HasPrefix(flight, before) {
			t.Fatalf("%v", err)
		}
		hello, sealed := checkFlight(t, flight[len(before):], testKey, h.Random)
		if !bytes.Contains(hello, h.SessionID) || len(sealed) > MaxFlightRecord {
			t.Errorf("%x, and a record of %d bytes", hello, len(sealed))
		}
		want := cmp.Or(int(record), DefaultRecord)
		if off := len(sealed) - min(want, MaxFlightRecord); off < -1 || off > 1 || off != 0 && !shape.ECDSA {
			t.Errorf("a record of %d bytes, want %d", len(sealed), want)
		}
		if none, err := AppendFlight(before, NewMAC(), &testKey, &h, shape, iotest.ErrReader(errSeen)); err == nil || !bytes.Equal(none, before) {
			t.Errorf("without randomness: %x, %v", none, err)
		}
	})
}

// FuzzName: a name in small letters differs in the case of ASCII alone, and stays as it is.
func FuzzName(f *testing.F) {
	f.Add([]byte("Front.Example"))
	f.Add([]byte("a\xc3\x84"))
	f.Add([]byte("@[`{"))
	f.Fuzz(func(t *testing.T, name []byte) {
		small := string(AppendLower(nil, name))
		if string(AppendLower(nil, []byte(small))) != small || len(small) != len(name) || strings.ContainsAny(small, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") {
			t.Errorf("%q is %q in small letters", name, small)
		}
		if utf8.Valid(name) && !strings.EqualFold(small, string(name)) {
			t.Errorf("%q in small letters is %q", name, small)
		}
	})
}

// checkPrefix: a part of what was accepted is short, a part of what was rejected is rejected or short.
func checkPrefix(t *testing.T, part []byte, n int, err error) {
	_, missing, partErr := ParseHello(part, make([]byte, MaxHello))
	switch {
	case partErr == ErrShort && missing > 0 && (err != nil || len(part)+missing <= n):
	case partErr == nil && err == nil && missing == n && len(part) >= n:
	case partErr != nil && partErr != ErrShort && err != nil && err != ErrShort:
	default:
		t.Errorf("a prefix of %d bytes: %d, %v; the whole: %d, %v", len(part), missing, partErr, n, err)
	}
}

func checkSame(t *testing.T, h *Hello, info *tls.ClientHelloInfo) {
	if info == nil {
		return // an extension we pass over is malformed, or there twice, or the name ends with a dot
	}
	var suites []byte
	for _, s := range info.CipherSuites {
		suites = binary.BigEndian.AppendUint16(suites, s)
	}
	if string(h.Name) != info.ServerName || !bytes.Equal(h.CipherSuites, suites) || !slices.Contains(info.SupportedVersions, version13) {
		t.Errorf("name %q, suites %x; crypto/tls has %q, %x, versions %x", h.Name, h.CipherSuites, info.ServerName, suites, info.SupportedVersions)
	}
}

func checkReject(t *testing.T, r Reject, b []byte, info *tls.ClientHelloInfo) {
	if info == nil {
		return
	}
	suite := slices.ContainsFunc(info.CipherSuites, func(s uint16) bool { return s >= firstSuite && s <= lastSuite })
	legacy := len(b) < 11 || binary.BigEndian.Uint16(b[3:]) < 6 || binary.BigEndian.Uint16(b[9:]) != version12 // or cannot tell
	switch {
	case r == NotClientHello, r == NotHandshake && bytes.HasPrefix(b, []byte{typeHandshake, 3}):
		t.Errorf("crypto/tls has a hello, we have %v", r)
	case r == NoName && info.ServerName != "":
		t.Errorf("crypto/tls has the name %q, we have %v", info.ServerName, r)
	case r == NoTLS13 && suite && !legacy && slices.Contains(info.SupportedVersions, version13):
		t.Errorf("crypto/tls has TLS 1.3, we have %v", r)
	}
}

// checkSplit: cut into records anywhere, it is the same hello.
func checkSplit(t *testing.T, h *Hello, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0))
	var sizes []int
	for range 1 + r.IntN(8) {
		sizes = append(sizes, 1+r.IntN(len(h.Message)))
	}
	wire := split(h.Message, sizes...)
	if len(wire) > MaxHello {
		return
	}
	got, n, err := ParseHello(wire, make([]byte, MaxHello))
	if err != nil || n != len(wire) {
		t.Fatalf("in records of %v: %d, %v", sizes, n, err)
	}
	if !bytes.Equal(got.Message[HeaderLen:], h.Message[HeaderLen:]) || !bytes.Equal(got.Name, h.Name) || got.X25519 != h.X25519 || got.Hybrid != h.Hybrid {
		t.Errorf("in records of %v it is another hello", sizes)
	}
}
