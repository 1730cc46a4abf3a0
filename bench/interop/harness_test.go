// Package interop tests the proxy against programs that others wrote: a Telegram client library and its server, nginx as the
// front, haproxy and nginx as load balancers, openssl and curl as probers, promtool. It is a module of its own so that none of
// it is a dependency of the proxy. SLUICE_BIN names the binary under test; what is missing fails the tests.
package interop

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
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/bench/client"
	"sluice/bench/leak"
	"sluice/bench/sandbox"
	"sluice/bench/stand"
)

// patience bounds every single wait of these tests.
const patience = 20 * time.Second

// TestMain fails the package when its tests leave a descriptor, a goroutine or a process behind.
func TestMain(m *testing.M) {
	sandbox.Main()
	os.Exit(leak.Check(m).Run())
}

var secret = client.Secret{Key: [16]byte{9, 8, 7, 6, 5, 4, 3, 2, 1, 2, 3, 4, 5, 6, 7, 8}, Host: "front.example"}

type env map[string]string

func (e env) with(more env) env {
	all := env{}
	for _, m := range []env{e, more} {
		for k, v := range m {
			all[k] = v
		}
	}
	return all
}

// startProxy runs the proxy until the test ends.
func startProxy(t testing.TB, settings env) *stand.Proxy {
	t.Helper()
	binary := os.Getenv("SLUICE_BIN")
	if binary == "" {
		t.Fatal("SLUICE_BIN must name the proxy's binary")
	}
	binary, err := filepath.Abs(binary)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(binary); err != nil {
		t.Fatalf("SLUICE_BIN: %v", err)
	}
	base := env{"SLUICE_SECRET": secret.String(), "SLUICE_DRAIN_TIMEOUT": "1s"}
	p, err := stand.StartProxy(shortDir(t), base.with(settings), binary)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if n, err := p.Metric("sluice_loop_panics_total"); err != nil || n != 0 {
			t.Errorf("sluice_loop_panics_total is %v (%v)", n, err)
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

// shortDir is a directory for unix sockets, whose paths must not be long.
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

// freePort is a port of an address that nobody listens on.
func freePort(t testing.TB, ip string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// startProgram runs a server until the test ends, and waits until it answers at each of the addresses.
func startProgram(t testing.TB, listens []netip.AddrPort, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	var out lockedBuffer
	cmd.Stdout, cmd.Stderr = &out, &out
	// Nothing that a test starts outlives it, however it ends.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s must be installed: %v", name, err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-exited
		if t.Failed() && out.String() != "" {
			t.Logf("%s said:\n%s", name, out.String())
		}
	})
	for _, addr := range listens {
		eventually(t, name, func() error {
			select {
			case <-exited:
				t.Fatalf("%s has ended:\n%s", name, out.String())
			default:
			}
			c, err := net.DialTimeout("tcp", addr.String(), time.Second)
			if err == nil {
				_ = c.Close()
			}
			return err
		})
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// run runs a program to its end, which must come in time, and returns what it said.
func run(t testing.TB, input string, name string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(input)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("%s: %v, %v", name, err, ctx.Err())
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
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

// down asks for size bytes and checks them.
func down(c io.ReadWriter, size uint64) error {
	seed := rand.Uint64()
	if _, err := c.Write(stand.Request{Op: stand.Down, Size: size, Seed: seed}.Bytes()); err != nil {
		return err
	}
	return stand.CheckStream(c, seed, int64(size))
}

// quiet fails the test if the proxy has logged anything worse than info.
func quiet(t testing.TB, p *stand.Proxy) {
	t.Helper()
	for _, l := range p.Lines() {
		if level := l.Get("level"); level == "ERROR" || level == "WARN" {
			t.Errorf("logged: %v", l)
		}
	}
}
