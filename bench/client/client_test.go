package client

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

var testSecret = Secret{Key: [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, Host: "front.example"}

// serve takes one connection, answers its hello with what flight makes of it, and goes on with then. It returns the address.
func serve(t *testing.T, flight func(hello []byte) []byte, then func(c net.Conn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		header := make([]byte, recordHdr)
		if _, err := io.ReadFull(c, header); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint16(header[3:]))
		if _, err := io.ReadFull(c, body); err != nil {
			return
		}
		if _, err := c.Write(flight(append(header, body...))); err == nil && then != nil {
			then(c)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-ended
	})
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func record(kind byte, body []byte) []byte {
	return append([]byte{kind, 3, 3, byte(len(body) >> 8), byte(len(body))}, body...)
}

// flightWith is a good flight with a last record of so many bytes, changed before it is signed.
func flightWith(final int, change func(flight []byte) []byte) func(hello []byte) []byte {
	return func(hello []byte) []byte {
		m := message{2, 0, 0, 0, 3, 3}
		m = append(m, make([]byte, 32)...)
		m = append(append(m, 32), hello[44:76]...)
		m.u16(0x1301)
		m = append(m, 0)
		m.list16(func(m *message) {
			m.extension(0x2b, func(m *message) { m.u16(0x0304) })
			m.extension(0x33, func(m *message) {
				m.u16(0x001d)
				m.list16(func(m *message) { *m = append(*m, make([]byte, 32)...) })
			})
		})
		m[3] = byte(len(m) - 4)
		b := slices.Concat(record(handshakeRecord, m), record(changeRecord, []byte{1}), record(applicationRecord, make([]byte, final)))
		if change != nil {
			b = change(b)
		}
		mac := hmac.New(sha256.New, testSecret.Key[:])
		mac.Write(hello[randomAt:randomEnd])
		mac.Write(b)
		copy(b[randomAt:], mac.Sum(nil))
		return b
	}
}

func TestFlightIsCheckedAsClientsDo(t *testing.T) {
	good := flightWith(3000, nil)
	for name, c := range map[string]struct {
		flight func(hello []byte) []byte
		want   string // in the error; empty for none
	}{
		"good":                 {good, ""},
		"longest":              {flightWith(10240, nil), ""},
		"too long":             {flightWith(10241, nil), errLongFinal.Error()},
		"more behind it":       {func(h []byte) []byte { return append(good(h), record(applicationRecord, make([]byte, 250))...) }, errExtra.Error()},
		"another key":          {func(h []byte) []byte { b := good(h); b[randomAt] ^= 1; return b }, ErrNotOurs.Error()},
		"changed later":        {func(h []byte) []byte { b := good(h); b[len(b)-1] ^= 1; return b }, ErrNotOurs.Error()},
		"an alert":             {func([]byte) []byte { return record(0x15, []byte{2, 40}) }, errShape.Error()},
		"no ChangeCipherSpec":  {func(h []byte) []byte { b := good(h); return slices.Delete(b, 127, 133) }, errShape.Error()},
		"cut off":              {func(h []byte) []byte { return good(h)[:400] }, "EOF"},
		"another session id":   {flightWith(100, func(b []byte) []byte { b[50] ^= 1; return b }), "session id"},
		"a cipher of TLS 1.2":  {flightWith(100, func(b []byte) []byte { b[76], b[77] = 0xc0, 0x2f; return b }), "cipher suite"},
		"version 1.2":          {flightWith(100, func(b []byte) []byte { b[86] = 3; return b }), "version"},
		"a group nobody asked": {flightWith(100, func(b []byte) []byte { b[92] = 0x17; return b }), "group"},
	} {
		t.Run(name, func(t *testing.T) {
			var hold func(net.Conn)
			if c.want == "" {
				hold = func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }
			}
			s, err := Dial(context.Background(), Config{Addr: serve(t, c.flight, hold), Secret: testSecret})
			if err == nil {
				_ = s.Close()
			}
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestRecordsAreChecked(t *testing.T) {
	for name, c := range map[string]struct {
		sent []byte
		want string
		got  int // bytes before the error
	}{
		"the longest":     {record(applicationRecord, make([]byte, 16401)), "EOF", 16401},
		"one too long":    {record(applicationRecord, make([]byte, 16402)), "16402 bytes", 0},
		"an empty one":    {record(applicationRecord, nil), "0 bytes", 0},
		"an alert":        {append(record(applicationRecord, []byte{1}), record(0x15, []byte{1, 0})...), "begins with 15", 1},
		"half a record":   {record(applicationRecord, make([]byte, 100))[:50], "unexpected EOF", 0},
		"half a header":   {append(record(applicationRecord, []byte{1}), applicationRecord, 3), "unexpected EOF", 1},
		"another version": {[]byte{applicationRecord, 3, 1, 0, 1, 0}, "begins with 170301", 0},
	} {
		t.Run(name, func(t *testing.T) {
			addr := serve(t, flightWith(100, nil), func(n net.Conn) {
				_, _ = io.CopyN(io.Discard, n, 6+5+frameLen) // the client speaks first
				_, _ = n.Write(c.sent)
			})
			s, err := Dial(context.Background(), Config{Addr: addr, Secret: testSecret, AloneFrame: true})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			n, err := io.Copy(io.Discard, struct{ io.Reader }{s})
			if err == nil {
				err = io.EOF
			}
			if int(n) != c.got || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%d bytes, then %v; want %d, then %q", n, err, c.got, c.want)
			}
		})
	}
}

func TestHelloForms(t *testing.T) {
	for name, c := range map[string]struct {
		hello    Hello
		min, max int
	}{
		"classic": {Hello{Host: testSecret.Host}, 517, 517},
		"hybrid":  {Hello{Host: testSecret.Host, Hybrid: true}, 1700, 1821},
		"TLS 1.2": {Hello{Host: testSecret.Host, TLS12: true}, 517, 517},
		"unnamed": {Hello{}, 517, 517},
	} {
		t.Run(name, func(t *testing.T) {
			b := c.hello.Sign(testSecret.Key)
			if len(b) < c.min || len(b) > c.max {
				t.Errorf("%d bytes", len(b))
			}
			if int(binary.BigEndian.Uint16(b[3:])) != len(b)-5 || int(b[6])<<16|int(b[7])<<8|int(b[8]) != len(b)-9 {
				t.Errorf("lengths in %x", b[:9])
			}
			zeroed := bytes.Clone(b)
			clear(zeroed[randomAt:randomEnd])
			mac := hmac.New(sha256.New, testSecret.Key[:])
			mac.Write(zeroed)
			digest := mac.Sum(nil)
			if !bytes.Equal(digest[:28], b[randomAt:randomEnd-4]) {
				t.Error("the digest is wrong")
			}
			at := binary.LittleEndian.Uint32(digest[28:]) ^ binary.LittleEndian.Uint32(b[randomEnd-4:])
			if d := time.Since(time.Unix(int64(at), 0)); d < -time.Second || d > time.Minute {
				t.Errorf("the time inside is off by %v", d)
			}
			joined := bytes.Clone(b[:5])
			rest := Records(b, 30)
			for n := 0; len(rest) > 0; n++ {
				length := int(binary.BigEndian.Uint16(rest[3:]))
				joined = append(joined, rest[5:5+length]...)
				rest = rest[5+length:]
			}
			if !bytes.Equal(joined, b) {
				t.Error("split over records it is another hello")
			}
		})
	}
}

// A hello that was made new and signed again is what its builder would have made, and nobody's before.
func TestResign(t *testing.T) {
	at := time.Now().Add(-time.Hour)
	first := Hello{Host: testSecret.Host, Time: at}.Sign(testSecret.Key)
	again := slices.Clone(first)
	Resign(again, testSecret.Key, at)
	if !bytes.Equal(first, again) {
		t.Error("signing again changes a hello")
	}
	Renew(again)
	if bytes.Equal(first[randomAt:randomEnd], again[randomAt:randomEnd]) || bytes.Equal(first[sessionAt:sessionAt+32], again[sessionAt:sessionAt+32]) {
		t.Error("a new hello has the old one's random or session id")
	}
	if again[sessionAt-1] != 32 || !bytes.Equal(first[:randomAt], again[:randomAt]) || !bytes.Equal(first[sessionAt+32:], again[sessionAt+32:]) {
		t.Error("more than these has changed")
	}
}

func TestSecretText(t *testing.T) {
	got, err := ParseSecret(testSecret.String())
	if err != nil || got != testSecret {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", "ee", "zz", "dd0102030405060708090a0b0c0d0e0f10", "0102030405060708090a0b0c0d0e0f10"} {
		if s, err := ParseSecret(bad); err == nil {
			t.Errorf("%q is %+v", bad, s)
		}
	}
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	_, err = Dial(context.Background(), Config{Addr: l.Addr().(*net.TCPAddr).AddrPort(), Secret: testSecret})
	var op *net.OpError
	if !errors.As(err, &op) {
		t.Errorf("%v", err)
	}
}
