package e2e

import (
	"crypto/sha256"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"sluice/bench/client"
	"sluice/bench/stand"
)

// leafSeenAt is the digest of the certificate that a TLS client is shown at addr.
func leafSeenAt(t testing.TB, addr netip.AddrPort) [sha256.Size]byte {
	t.Helper()
	d := net.Dialer{Timeout: patience}
	c, err := tls.DialWithDialer(&d, "tcp", addr.String(), &tls.Config{ServerName: secret.Host, InsecureSkipVerify: true})
	if err != nil {
		t.Fatalf("TLS at %v: %v", addr, err)
	}
	defer c.Close()
	return sha256.Sum256(c.ConnectionState().PeerCertificates[0].Raw)
}

// A relay to the front carries both directions and either end first.
func TestFronted(t *testing.T) {
	r := startRig(t, nil)
	c := stranger(t, r.proxy.Addr())
	for range 3 {
		if err := down(c, 3<<20); err != nil {
			t.Fatalf("down: %v", err)
		}
		if err := up(c, 3<<20); err != nil {
			t.Fatalf("up: %v", err)
		}
	}
	request(t, c, stand.Request{Op: stand.Echo})
	if err := echo(c, 100_000); err != nil {
		t.Fatal(err)
	}
	_ = c.CloseWrite()
	if n, err := io.Copy(io.Discard, c); n != 0 || err != nil {
		t.Fatalf("the end: %d bytes, %v", n, err)
	}
	wantMetric(t, r.proxy, `sluice_connections{state="front"}`, 0)
}

// The front's first bytes reach a stranger who has not finished his hello: the front decides how long it waits.
func TestFrontSpeaksFirst(t *testing.T) {
	const banner = "220 a front that is in a hurry\r\n"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, banner)
			_ = c.(*net.TCPConn).CloseWrite()
			go func() {
				defer c.Close()
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
	p := startProxy(t, env{"SLUICE_FRONT": l.Addr().String(), "SLUICE_DC_2": "127.0.0.1:9"})
	hello := client.Hello{Host: secret.Host}.Foreign()
	for _, n := range []int{0, 1, 5, 100, len(hello) - 1} {
		began := time.Now()
		c := stranger(t, p.Addr())
		if _, err := c.Write(hello[:n]); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c)
		if string(got) != banner || err != nil {
			t.Errorf("after %d bytes of a hello: %q, %v", n, got, err)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("after %d bytes of a hello the front was heard %v later", n, took)
		}
	}
}

// A good hello is still good when it took long enough for the front to have been called, and the front's connection goes.
func TestSlowGoodHello(t *testing.T) {
	site, dc := startSite(t), startDC(t, "127.0.0.1:0")
	r := &rig{dc: dc, proxy: startProxy(t, env{"SLUICE_FRONT": site.Addr().String(), "SLUICE_DC_2": dc.Addr().String()})}
	c := r.dial(t, client.Config{Cuts: []int{100, 300}, Gap: 700 * time.Millisecond})
	if err := down(c, 100_000); err != nil {
		t.Fatal(err)
	}
	wantMetric(t, r.proxy, `sluice_connections{state="front"}`, 0)
	wantMetric(t, r.proxy, `sluice_front_dials_total{result="ok"}`, 1)
	if err := down(c, 100_000); err != nil {
		t.Fatal(err)
	}
}

// A whole hello and the end of the stream right behind it: the front answers, and the answer arrives.
func TestHalfCloseBehindTheHello(t *testing.T) {
	r := startRig(t, nil)
	seed := uint64(5)
	c := stranger(t, r.proxy.Addr())
	request(t, c, stand.Request{Op: stand.DownClose, Size: 300_000, Seed: seed})
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := stand.CheckRest(c, seed, 300_000); err != nil {
		t.Error(err)
	}
}

// Without a front that answers, strangers are closed and clients are served.
func TestFrontIsDown(t *testing.T) {
	r := startRig(t, nil)
	r.front.Close()
	c := stranger(t, r.proxy.Addr())
	_, _ = io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
	if got, err := io.ReadAll(c); len(got) != 0 || isTimeout(err) {
		t.Errorf("%q, %v", got, err)
	}
	if err := down(r.dial(t, client.Config{}), 1000); err != nil {
		t.Error(err)
	}
}

func TestFrontOnUnixSocket(t *testing.T) {
	path := shortDir(t) + "/front.sock"
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	p := startProxy(t, env{"SLUICE_FRONT": "unix:" + path, "SLUICE_DC_2": "127.0.0.1:9"})
	c := stranger(t, p.Addr())
	for _, n := range []int{10, 100_000} {
		if err := echo(c, n); err != nil {
			t.Fatal(err)
		}
	}
}
