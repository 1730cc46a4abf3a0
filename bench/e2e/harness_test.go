// Package e2e tests the proxy as a process: the real binary between the load client and the stand-ins, on loopback.
package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/bench/client"
	"sluice/bench/deny"
	"sluice/bench/leak"
	"sluice/bench/sandbox"
	"sluice/bench/stand"
)

// binary is the proxy under test, built once from this tree, and real the same without what [wrap] may have put around it.
var binary, real string

func TestMain(m *testing.M) {
	sandbox.Main()
	deny.Main()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sluice-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "sluice")
	build := exec.Command("go", "build", "-o", binary, "sluice/cmd/sluice")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "the proxy does not build: %v\n%s", err, out)
		return 1
	}
	real = binary
	if err := wrap(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return leak.Check(m).Run()
}

// wrap lets every proxy of the run start in another way, if that is asked for. With SLUICE_TRACE=folder strace leaves there, in a file for
// each, what system calls it made: so the list of bench/sandbox came to be. With SLUICE_SANDBOX=kill it runs under that list, and
// whatever is not on it ends it.
func wrap() error {
	into, verdict := os.Getenv("SLUICE_TRACE"), os.Getenv("SLUICE_SANDBOX")
	var how string
	inner := binary + ".real"
	switch {
	case into != "":
		how = fmt.Sprintf("strace -D -f -c -U name,calls,errors -o '%s'/$$ '%s'", into, inner)
	case verdict != "":
		how = "'" + strings.Join(sandbox.Argv(sandbox.Verdict(verdict), inner), "' '") + "'"
	default:
		return nil
	}
	if err := os.Rename(binary, inner); err != nil {
		return err
	}
	real = inner
	return os.WriteFile(binary, []byte("#!/bin/sh\nexec "+how+" \"$@\"\n"), 0o755)
}

// patience bounds every single wait of these tests.
const patience = 20 * time.Second

var secret = client.Secret{Key: [16]byte{1, 3, 5, 7, 9, 11, 13, 15, 2, 4, 6, 8, 10, 12, 14, 16}, Host: "front.example"}

// env is settings of the proxy.
type env map[string]string

// with is e and more, which wins.
func (e env) with(more env) env {
	all := env{}
	for _, m := range []env{e, more} {
		for k, v := range m {
			all[k] = v
		}
	}
	return all
}

// startProxy runs the proxy until the test ends. It must then end in good order, and must not have reported a fault of its own.
func startProxy(t testing.TB, settings env, command ...string) *stand.Proxy {
	t.Helper()
	if len(command) == 0 {
		command = []string{binary}
	}
	base := env{"SLUICE_SECRET": secret.String(), "SLUICE_DRAIN_TIMEOUT": "1s"}
	p, err := stand.StartProxy(shortDir(t), base.with(settings), command...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		select {
		case <-p.Exited():
		default:
			if n, err := p.Metric("sluice_loop_panics_total"); err != nil || n != 0 {
				t.Errorf("sluice_loop_panics_total is %v (%v)", n, err)
			}
		}
		if err := p.Stop(patience); err != nil {
			t.Errorf("the proxy's end: %v", err)
		}
		if t.Failed() {
			t.Logf("the proxy's log:\n%s", p.Log())
		}
	})
	return p
}

// shortDir is a directory for a unix socket, whose path must not be long.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func startDC(t testing.TB, addr string) *stand.DC {
	t.Helper()
	dc, err := stand.ListenDC(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dc.Close)
	return dc
}

func startPlain(t testing.TB) *stand.Plain {
	t.Helper()
	p, err := stand.ListenPlain("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func startSite(t testing.TB) *stand.Site {
	t.Helper()
	s, err := stand.ListenSite("127.0.0.1:0", secret.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// rig is a proxy between a data centre, number 2, and a plain front.
type rig struct {
	proxy *stand.Proxy
	dc    *stand.DC
	front *stand.Plain
}

func startRig(t testing.TB, settings env, command ...string) *rig {
	t.Helper()
	r := &rig{dc: startDC(t, "127.0.0.1:0"), front: startPlain(t)}
	base := env{"SLUICE_DC_2": r.dc.Addr().String(), "SLUICE_FRONT": r.front.Addr().String()}
	r.proxy = startProxy(t, base.with(settings), command...)
	return r
}

// dial opens a session as cfg says; address, secret and DC have defaults. It ends with the test.
func (r *rig) dial(t testing.TB, cfg client.Config) *client.Conn {
	t.Helper()
	c, err := r.open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (r *rig) open(cfg client.Config) (*client.Conn, error) {
	if !cfg.Addr.IsValid() {
		cfg.Addr = r.proxy.Addr()
	}
	if cfg.Secret == (client.Secret{}) {
		cfg.Secret = secret
	}
	if cfg.DC == 0 {
		cfg.DC = 2
	}
	c, err := client.Dial(context.Background(), cfg)
	if err == nil {
		err = c.SetDeadline(time.Now().Add(2 * patience))
	}
	return c, err
}

// stranger opens a connection that says nothing of a secret. It ends with the test.
func stranger(t testing.TB, addr netip.AddrPort) *net.TCPConn {
	t.Helper()
	c, err := approach(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func approach(addr netip.AddrPort) (*net.TCPConn, error) {
	c, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(addr))
	if err == nil {
		err = c.SetDeadline(time.Now().Add(2 * patience))
	}
	return c, err
}

func request(t testing.TB, c io.Writer, r stand.Request) {
	t.Helper()
	if _, err := c.Write(r.Bytes()); err != nil {
		t.Fatalf("request: %v", err)
	}
}

// echo says something and expects to hear it again. The session must have been asked for an echo.
func echo(c io.ReadWriter, n int) error {
	said := make([]byte, n)
	_, _ = stand.NewPattern(rand.Uint64()).Read(said)
	if _, err := c.Write(said); err != nil {
		return err
	}
	heard := make([]byte, n)
	if _, err := io.ReadFull(c, heard); err != nil {
		return err
	}
	if !bytes.Equal(said, heard) {
		return errors.New("the echo is not what was said")
	}
	return nil
}

// down asks for size bytes and checks them.
func down(c io.ReadWriter, size uint64) error {
	seed := rand.Uint64()
	if _, err := c.Write(stand.Request{Op: stand.Down, Size: size, Seed: seed}.Bytes()); err != nil {
		return err
	}
	return stand.CheckStream(c, seed, int64(size))
}

// up sends size bytes and checks what the far side says it took.
func up(c io.ReadWriter, size int64) error {
	seed := rand.Uint64()
	if _, err := c.Write(stand.Request{Op: stand.Up, Size: uint64(size)}.Bytes()); err != nil {
		return err
	}
	source := io.LimitReader(stand.NewPattern(seed), size)
	if _, err := io.CopyBuffer(struct{ io.Writer }{c}, source, make([]byte, 50_000)); err != nil {
		return err
	}
	got, err := stand.ReadReceipt(c)
	if err == nil && got != stand.PatternReceipt(seed, size) {
		err = fmt.Errorf("the far side took %d bytes, or others", got.Size)
	}
	return err
}

// eventually waits until f has nothing to object to.
func eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// wantMetric waits until a series has the value want.
func wantMetric(t testing.TB, p *stand.Proxy, series string, want float64) {
	t.Helper()
	eventually(t, series, func() error {
		got, err := p.Metric(series)
		if err == nil && got != want {
			err = fmt.Errorf("%v, want %v", got, want)
		}
		return err
	})
}

// quiet fails the test if the proxy has logged anything worse than info.
func quiet(t testing.TB, p *stand.Proxy) {
	t.Helper()
	for _, l := range p.Lines() {
		if level := l.Get("level"); level == "ERROR" || level == "WARN" && !strings.Contains(l.Get("msg"), "could not be learned") {
			t.Errorf("logged: %v", l)
		}
	}
}
