package baseline

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

// free is an address of loopback that nobody listens on.
func free(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return netip.MustParseAddrPort(l.Addr().String())
}

// lastWord answers each connection, once its end of stream has come, with everything it was sent.
func lastWord(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if all, err := io.ReadAll(c); err == nil {
					_, _ = c.Write(all)
				}
			}()
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

func dial(t *testing.T, to netip.AddrPort) *net.TCPConn {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("tcp", to.String())
		if err == nil {
			t.Cleanup(func() { _ = c.Close() })
			_ = c.SetDeadline(end)
			return c.(*net.TCPConn)
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// What a baseline is measured by must be what a relay does: the other half goes on, whole, after one has ended.
func TestHalfClose(t *testing.T) {
	far := lastWord(t)
	raw, plain := free(t), free(t)
	relay(t, "raw", raw, far)
	relay(t, "plain", plain, far)
	for name, at := range map[string]netip.AddrPort{"raw": raw, "plain, a stranger": plain} {
		for _, size := range []int{5, 70_000, 3 << 20} {
			c := dial(t, at)
			sent := bytes.Repeat([]byte("GET / HTTP/1.0\r\n"), size/16+1)[:size]
			go func() {
				_, _ = c.Write(sent)
				_ = c.CloseWrite()
			}()
			if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("%s: %d of %d bytes, %v", name, len(got), size, err)
			}
		}
	}
}
