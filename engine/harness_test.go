package engine

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/bench/client"
	"sluice/bench/leak"
	"sluice/bench/stand"
	"sluice/engine/config"
)

// patience bounds every wait; nothing passes or fails by it but what would hang.
const patience = 20 * time.Second

// TestMain fails the package when its tests leave a descriptor, a goroutine or a process behind.
func TestMain(m *testing.M) { os.Exit(leak.Check(m).Run()) }

var secret = client.Secret{Key: [16]byte{1, 2, 3}, Host: "front.example"}

// proxy is an engine that runs for a test, a data centre behind it, and a front in the test's hands.
type proxy struct {
	*Engine
	t      *testing.T
	addr   netip.AddrPort
	dc     *stand.DC
	fronts chan *net.TCPConn
	front  string
	log    *logBuffer
	stop   func()
}

// logBuffer collects the log.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs an engine with the given settings on top of the test's own.
func start(t *testing.T, settings ...string) *proxy {
	t.Helper()
	p := &proxy{t: t, fronts: make(chan *net.TCPConn, 4096), log: &logBuffer{}}
	var err error
	if p.dc, err = stand.ListenDC("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.dc.Close)
	p.front = p.serveFront()
	cfg := p.config(settings...)
	if p.Engine, err = New(cfg, slog.New(slog.NewTextHandler(p.log, &slog.HandlerOptions{Level: slog.LevelDebug})), "test"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	select {
	case <-p.Ready():
	case err = <-ended:
		cancel()
		t.Fatal("the engine did not start: ", err)
	}
	p.addr = p.Listening()[0]
	p.eventually("it has looked at the front's handshake", func() bool { return strings.Contains(p.log.String(), "learned") })
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error("the engine ended with ", err)
		}
	})
	t.Cleanup(p.stop)
	return p
}

func (p *proxy) config(settings ...string) *config.Config {
	p.t.Helper()
	env := append([]string{
		"SLUICE_LISTEN=127.0.0.1:0", "SLUICE_ADMIN_LISTEN=off", "SLUICE_SECRET=" + secret.String(), "SLUICE_FRONT=" + p.front,
		"SLUICE_DC_2=" + p.dc.Addr().String(), "SLUICE_DRAIN_TIMEOUT=100ms", "SLUICE_STATE_DIR=" + p.t.TempDir(),
	}, settings...)
	cfg, err := config.Load(env)
	if err != nil {
		p.t.Fatal(err)
	}
	return cfg
}

// serveFront listens as the front. The engine's own look at the front's handshake (a hello by crypto/tls) is turned away, so
// that the test only sees what is sent there.
func (p *proxy) serveFront() string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = ln.Close() })
	go func() {
		learned := false
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if !learned {
				learned = true
				_ = c.Close()
				continue
			}
			p.t.Cleanup(func() { _ = c.Close() })
			_ = c.SetDeadline(time.Now().Add(patience))
			p.fronts <- c.(*net.TCPConn)
		}
	}()
	return ln.Addr().String()
}

// atFront is the next connection that the front gets.
func (p *proxy) atFront() *net.TCPConn {
	p.t.Helper()
	select {
	case c := <-p.fronts:
		return c
	case <-time.After(patience):
		p.t.Fatal("nobody came to the front\n", p.log)
		return nil
	}
}

// dial connects to the proxy as a stranger would.
func (p *proxy) dial() *net.TCPConn {
	p.t.Helper()
	c, err := net.Dial("tcp", p.addr.String())
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

// session is a client's good session.
func (p *proxy) session(cfg client.Config) *client.Conn {
	p.t.Helper()
	c, err := p.try(cfg)
	if err != nil {
		p.t.Fatal(err, "\n", p.log)
	}
	return c
}

func (p *proxy) try(cfg client.Config) (*client.Conn, error) {
	cfg.Addr = p.addr
	if cfg.Secret.Host == "" {
		cfg.Secret = secret
	}
	c, err := client.Dial(context.Background(), cfg)
	if err == nil {
		p.t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(patience))
	}
	return c, err
}

// download asks for n bytes and checks them, to the end of the stream.
func (p *proxy) download(c *client.Conn, n int) {
	p.t.Helper()
	if _, err := c.Write(stand.Request{Op: stand.DownClose, Size: uint64(n), Seed: 7}.Bytes()); err != nil {
		p.t.Fatal(err)
	}
	if err := stand.CheckRest(c, 7, int64(n)); err != nil {
		p.t.Fatal(err, "\n", p.log)
	}
}

// eventually waits for what the engine does in its own time.
func (p *proxy) eventually(what string, ok func() bool) {
	p.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if ok() {
			return
		}
	}
	p.t.Fatal("never: ", what, "\n", p.log)
}

func mustWrite(t *testing.T, w io.Writer, b []byte) {
	t.Helper()
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
}

func mustRead(t *testing.T, r io.Reader, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("read %s, %v; want %s", hex.EncodeToString(got[:n]), err, hex.EncodeToString(want))
	}
}

func mustEnd(t *testing.T, r io.Reader) {
	t.Helper()
	if b, err := io.ReadAll(r); err != nil || len(b) > 0 {
		t.Fatalf("%q, %v; want the end", b, err)
	}
}
