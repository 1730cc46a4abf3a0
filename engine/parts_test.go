package engine

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"sluice/bench/client"
	"sluice/engine/config"
	"sluice/splice"
)

func TestLabelsAreWhole(t *testing.T) {
	if n := len(config.Profiles()); n > splice.Lanes {
		t.Errorf("%d edges, and accounts for %d", n, splice.Lanes)
	}
	seen := map[string]bool{}
	check := func(kind string, name string) {
		if name == "" || seen[kind+name] || strings.ToLower(name) != name || strings.Contains(name, " ") {
			t.Errorf("%s %q: empty, doubled, or no label", kind, name)
		}
		seen[kind+name] = true
	}
	for c := range causes {
		check("cause", c.String())
	}
	for h := range headerResults {
		check("header", h.String())
	}
	for _, c := range splice.Causes() {
		check("end", c.String())
	}
	for _, name := range dialNames {
		check("dial", name)
	}
}

func TestDialResults(t *testing.T) {
	for err, want := range map[error]dial{
		nil: dialOK, unix.ECONNREFUSED: dialRefused, unix.ENOENT: dialRefused, unix.ETIMEDOUT: dialTimeout,
		unix.ENETUNREACH: dialUnreachable, unix.EMFILE: dialExhausted, unix.EADDRNOTAVAIL: dialExhausted, unix.EACCES: dialError,
	} {
		if got := dialResult(err); got != want {
			t.Errorf("%v: %s, want %s", err, dialNames[got], dialNames[want])
		}
	}
}

// TestNeeds: what the proxy says it needs is what it takes.
func TestNeeds(t *testing.T) {
	for _, loops := range []int{1, 2, 3, 4, 5, 16, 112, 200} {
		n := NeedsOf(loops)
		if n.Pipes != loops*pipesOf(loops) || n.Pipes > max(allPipes, loops) {
			t.Errorf("%d loops: %d pipes", loops, n.Pipes)
		}
		for _, clients := range []int64{8, 9, 2000} {
			descriptors := n.Base + clients*n.PerClient
			if b := newBudget(descriptors, loops, n.Pipes, 0); b.connections != clients {
				t.Errorf("%d loops, %d descriptors: %d clients, want %d", loops, descriptors, b.connections, clients)
			}
			if b := newBudget(descriptors-1, loops, n.Pipes, 0); b.connections != max(clients-1, 8) {
				t.Errorf("%d loops, %d descriptors: %d clients, want one less", loops, descriptors-1, b.connections)
			}
		}
		if b := newBudget(n.Base, loops, n.Pipes, 0); b.descriptors != n.Base-n.Reserve {
			t.Errorf("%d loops: sluice_fds_limit is %d of %d", loops, b.descriptors, n.Base)
		}
	}
}

func TestBudget(t *testing.T) {
	var relays, relayed, waiting int64
	b := newBudget(1000, 2, 10, 0)
	b.relays, b.relayed = func() int64 { return relays }, func() int64 { return relayed }
	b.waiting = func() int64 { return waiting }
	if b.connections != (1000-reserve-baseDescriptors-2*perLoop-20)/2-perRelay {
		t.Errorf("%d connections fit", b.connections)
	}
	b.pending.Store(b.connections)
	if why := b.admit(); why != "" {
		t.Errorf("at the limit: %q", why)
	}
	b.pending.Add(1)
	if why := b.admit(); why != refusedConnections {
		t.Errorf("beyond the limit of connections: %q", why)
	}
	b.pending.Add(-2)
	waiting = 2
	if why := b.admit(); why != refusedConnections {
		t.Errorf("beyond the limit with those who wait: %q", why)
	}
	b.pending.Store(1)
	waiting = 0
	relayed = b.descriptors - baseDescriptors - 2*perLoop - 1 - perRelay
	if why := b.admit(); why != "" {
		t.Errorf("at the limit of descriptors: %q", why)
	}
	relayed++
	if why := b.admit(); why != refusedDescriptors {
		t.Errorf("beyond the limit of descriptors: %q", why)
	}
	if b := newBudget(1000, 2, 10, 5000); b.connections >= 1000 {
		t.Errorf("%d connections for 1000 descriptors", b.connections)
	}
	if b := newBudget(20000, 2, 10, 50); b.connections != 50 || b.handshakes != 25 {
		t.Errorf("%d connections, %d handshakes", b.connections, b.handshakes)
	}
}

func TestLimitedLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		dropped := 0
		l := newLimited(slog.New(slog.NewTextHandler(&out, nil)), time.Minute, func() { dropped++ })
		for range 5 {
			l.line("a", slog.LevelWarn, "first kind")
		}
		l.line("b", slog.LevelWarn, "second kind")
		l.line("c", slog.LevelDebug, "not enabled")
		if n := strings.Count(out.String(), "\n"); n != 2 || dropped != 4 {
			t.Errorf("%d lines, %d dropped\n%s", n, dropped, &out)
		}
		time.Sleep(time.Minute)
		l.line("a", slog.LevelWarn, "first kind")
		if !strings.Contains(out.String(), "not_logged=4") {
			t.Errorf("the next line does not say what was left out\n%s", &out)
		}
	})
}

func TestListenErrors(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	taken := netip.MustParseAddrPort(ln.Addr().String())
	if _, _, err := reservePorts([]netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0"), taken}); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("a taken port: %v", err)
	}
	if _, _, err := reservePorts([]netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:443")}); !errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Errorf("somebody else's address: %v", err)
	}
	p := start(t)
	if _, _, err := reservePorts([]netip.AddrPort{p.addr}); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("the port of a proxy that runs: %v", err)
	}
}

// What a connection has said is kept in one buffer of one of two sizes, whatever it is cut into, and given back.
func TestBuffers(t *testing.T) {
	e := offline(t)
	s := newShard(&handler{engine: e}, 0, nil)
	said := bytes.Repeat([]byte("0123456789"), largeBuffer/10)
	c := &conn{}
	for i := 0; i < len(said); i += 700 {
		s.keep(c, said[i:min(i+700, len(said))])
		if size := cap(c.said); size != smallBuffer && size != largeBuffer {
			t.Fatalf("a buffer of %d bytes", size)
		}
	}
	if !bytes.Equal(c.said, said) {
		t.Fatal("not what was said")
	}
	s.keep(c, said)
	if len(c.said) != 2*len(said) {
		t.Fatal("what is too much is still kept for the verdict")
	}
	s.release(c)
	if len(s.small) != 1 || len(s.large) != 1 || c.said != nil {
		t.Errorf("%d small, %d large buffers given back", len(s.small), len(s.large))
	}
}

// offline is an engine that never runs.
func offline(t testing.TB) *Engine {
	t.Helper()
	cfg, err := config.Load([]string{"SLUICE_SECRET=" + secret.String(), "SLUICE_FRONT=127.0.0.1:9"})
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(cfg, slog.New(slog.NewTextHandler(io.Discard, nil)), "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.discard)
	return e
}

// wired is a gnet connection that is nothing but a descriptor.
type wired struct {
	gnet.Conn
	fd int
}

func (w wired) Fd() int              { return w.fd }
func (w wired) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443} }
func (w wired) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1234} }

// A client that shows the secret and is gone before the flight has left is no fault of ours: not in the counters, and not in the log.
func TestFlightToNobody(t *testing.T) {
	e := offline(t)
	var log bytes.Buffer
	e.limited = newLimited(slog.New(slog.NewTextHandler(&log, nil)), 0, func() {})
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	_ = unix.Close(pair[1])
	h := &handler{engine: e}
	s := newShard(h, 0, nil)
	c := h.newConn(wired{fd: pair[0]}, s)
	s.admit(c)
	s.keep(c, client.Hello{Host: secret.Host}.Sign(secret.Key))
	if action := c.advance(); action != gnet.Close || e.handshakes[frameEnd].Value() != 1 || log.Len() > 0 {
		t.Errorf("%v, %d counted as %s, log: %s", action, e.handshakes[frameEnd].Value(), frameEnd, &log)
	}
}

// A handshake, from the first byte to the hand-off, costs a fixed and small number of allocations, and a refused stranger fewer.
func TestAllocationsPerHandshake(t *testing.T) {
	e := offline(t)
	var pair [2]int
	var err error
	if pair, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = unix.Close(pair[0]), unix.Close(pair[1]) }()
	h := &handler{engine: e}
	s := newShard(h, 0, nil)
	drain := make([]byte, 64<<10)
	handshake := func(hello []byte) *conn {
		c := h.newConn(wired{fd: pair[0]}, s)
		s.admit(c)
		s.keep(c, hello)
		c.advance()
		_, _ = unix.Read(pair[1], drain)
		return c
	}
	var hellos [][]byte
	for range 300 {
		hellos = append(hellos, client.Hello{Host: secret.Host, Hybrid: true}.Sign(secret.Key))
	}
	next := 0
	good := testing.AllocsPerRun(200, func() {
		if c := handshake(hellos[next]); c.stage != inFrame {
			t.Fatalf("hello %d was refused", next)
		} else {
			c.leave(stopped)
		}
		next++
	})
	stranger := client.Hello{Host: secret.Host, Hybrid: true}.Foreign()
	// Strangers are counted, and never dialled for: the loop does not run.
	refused := testing.AllocsPerRun(200, func() { handshake(stranger) })
	t.Logf("%v allocations for an answered hello, %v for a stranger sent to the front", good, refused)
	if good > 20 || refused > 20 {
		t.Errorf("%v allocations for an answered hello, %v for a stranger", good, refused)
	}
}
