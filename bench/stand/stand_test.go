package stand

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"syscall"
	"testing"
	"time"
)

// upstream is the proxy's side of a connection to a data centre.
type upstream struct {
	*net.TCPConn
	streams
}

func (u *upstream) Read(b []byte) (int, error)  { return u.streams.Read(b) }
func (u *upstream) Write(b []byte) (int, error) { return u.streams.Write(b) }

// connect opens a connection to a data centre as protocol.md 3.2 says a proxy does.
func connect(t *testing.T, dc *DC, tag uint32, id int16) *upstream {
	t.Helper()
	var f [FrameLen]byte
	for ok := false; !ok; ok = !reserved(f) {
		_, _ = rand.Read(f[:])
	}
	binary.LittleEndian.PutUint32(f[56:], tag)
	binary.LittleEndian.PutUint16(f[60:], uint16(id))
	reversed := slices.Clone(f[8:56])
	slices.Reverse(reversed)
	var up, down cipher.Stream = ctr(f[8:40], f[40:56]), ctr(reversed[:32], reversed[32:])
	wire := f
	up.XORKeyStream(wire[:], f[:])
	copy(wire[:56], f[:56])
	c, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(dc.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write(wire[:]); err != nil {
		t.Fatal(err)
	}
	return &upstream{TCPConn: c, streams: streams{conn: c, in: down, out: up}}
}

func listenDC(t *testing.T) *DC {
	t.Helper()
	dc, err := ListenDC("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dc.Close)
	return dc
}

func ask(t *testing.T, w io.Writer, r Request) {
	t.Helper()
	if _, err := w.Write(r.Bytes()); err != nil {
		t.Fatal(err)
	}
}

func TestRequests(t *testing.T) {
	dc := listenDC(t)
	t.Run("down, up, echo", func(t *testing.T) {
		c := connect(t, dc, 0xdddddddd, -4)
		ask(t, c, Request{Op: Down, Size: 200_000, Seed: 7})
		if err := CheckStream(c, 7, 200_000); err != nil {
			t.Fatal(err)
		}
		ask(t, c, Request{Op: Up, Size: 200_000})
		if _, err := io.CopyN(struct{ io.Writer }{c}, NewPattern(8), 200_000); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadReceipt(c); err != nil || got != PatternReceipt(8, 200_000) {
			t.Fatalf("%d bytes, %v", got.Size, err)
		}
		ask(t, c, Request{Op: Echo})
		if _, err := io.WriteString(c, "hello"); err != nil {
			t.Fatal(err)
		}
		_ = c.CloseWrite()
		if b, err := io.ReadAll(struct{ io.Reader }{c}); string(b) != "hello" || err != nil {
			t.Errorf("echo %q, %v", b, err)
		}
	})
	t.Run("down and close", func(t *testing.T) {
		c := connect(t, dc, 0xeeeeeeee, 2)
		ask(t, c, Request{Op: DownClose, Size: 100_001, Seed: 9})
		if err := CheckRest(c, 9, 100_001); err != nil {
			t.Error(err)
		}
	})
	t.Run("up to the end", func(t *testing.T) {
		c := connect(t, dc, 0xefefefef, 203)
		ask(t, c, Request{Op: UpToEnd})
		_, _ = io.CopyN(struct{ io.Writer }{c}, NewPattern(1), 5000)
		_ = c.CloseWrite()
		if got, err := ReadReceipt(c); err != nil || got != PatternReceipt(1, 5000) {
			t.Errorf("%d bytes, %v", got.Size, err)
		}
	})
	t.Run("reset", func(t *testing.T) {
		c := connect(t, dc, 0xdddddddd, 2)
		ask(t, c, Request{Op: Reset})
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Error(err)
		}
	})
	t.Run("hang up", func(t *testing.T) {
		c := connect(t, dc, 0xdddddddd, 2)
		ask(t, c, Request{Op: Hangup})
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Error(err)
		}
	})
	want := []Session{{Tag: 0xdddddddd, DC: -4}, {Tag: 0xeeeeeeee, DC: 2}, {Tag: 0xefefefef, DC: 203}}
	for i, s := range dc.Sessions()[:len(want)] {
		if s.Tag != want[i].Tag || s.DC != want[i].DC {
			t.Errorf("session %d: %x to %d, want %x to %d", i, s.Tag, s.DC, want[i].Tag, want[i].DC)
		}
	}
}

func TestBadFrames(t *testing.T) {
	for name, wire := range map[string][FrameLen]byte{
		"HTTP":      frameOf([]byte("GET /abc")),
		"abridged":  frameOf([]byte{0xef, 1, 2, 3, 4}),
		"zeros":     frameOf([]byte{1, 2, 3, 4, 0, 0, 0, 0}),
		"TLS":       frameOf([]byte{0x16, 3, 1, 2, 5}),
		"wrong tag": frameOf([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9}),
	} {
		if _, err := parseServerFrame(wire); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func frameOf(b []byte) (wire [FrameLen]byte) {
	copy(wire[:], b)
	return wire
}

func TestCheckFindsTheWrongByte(t *testing.T) {
	b := make([]byte, 1000)
	_, _ = NewPattern(3).Read(b)
	if err := CheckRest(bytes.NewReader(b), 3, 1000); err != nil {
		t.Error(err)
	}
	for name, r := range map[string]io.Reader{
		"too short": bytes.NewReader(b[:999]),
		"too long":  bytes.NewReader(append(slices.Clone(b), 0)),
		"another":   bytes.NewReader(append(slices.Clone(b[:500]), make([]byte, 500)...)),
	} {
		if err := CheckRest(r, 3, 1000); err == nil {
			t.Errorf("%s: not noticed", name)
		}
	}
}

// Closing a stand-in ends connections in every state, and waits for them.
func TestCloseWhileBusy(t *testing.T) {
	dc := listenDC(t)
	for _, op := range []Op{Hold, Echo, Finish, Up} {
		ask(t, connect(t, dc, 0xdddddddd, 2), Request{Op: op, Size: 10})
	}
	ask(t, connect(t, dc, 0xdddddddd, 2), Request{Op: Down, Size: 1 << 40})
	dc.Close()
	if n := dc.Open(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

func TestSite(t *testing.T) {
	s, err := ListenSite("127.0.0.1:0", "site.example")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{ServerName: "site.example", InsecureSkipVerify: true},
	}}
	r, err := c.Get("https://" + s.Addr().String() + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil || string(b) != SiteBody {
		t.Errorf("%q, %v", b, err)
	}
	if !r.TLS.PeerCertificates[0].Equal(s.Certificate) {
		t.Error("another certificate")
	}
}
