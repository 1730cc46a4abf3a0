package splice

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/bench/leak"
)

// patience bounds every wait of these tests; nothing passes or fails by it but what would hang.
const patience = 20 * time.Second

// TestMain fails the package when its tests leave a descriptor, a goroutine or a process behind.
func TestMain(m *testing.M) { os.Exit(leak.Check(m).Run()) }

// startLoop runs a loop until the test ends.
func startLoop(t testing.TB, cfg Config) *Loop {
	t.Helper()
	l, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	runLoop(t, l)
	return l
}

func runLoop(t testing.TB, l *Loop) {
	t.Helper()
	var running sync.WaitGroup
	running.Go(func() { _ = l.Run() })
	t.Cleanup(func() {
		l.Close()
		running.Wait()
	})
}

// owner records a relay's life.
type owner struct {
	mu     sync.Mutex
	dials  []error
	spoke  chan bool
	closed chan End
}

func newOwner() *owner { return &owner{spoke: make(chan bool, 9), closed: make(chan End, 9)} }

func (o *owner) Dialed(_ netip.AddrPort, err error, _ time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dials = append(o.dials, err)
}
func (o *owner) Spoke(reached bool) { o.spoke <- reached }
func (o *owner) Closed(e End)       { o.closed <- e }

func (o *owner) end(t testing.TB) End {
	t.Helper()
	select {
	case e := <-o.closed:
		return e
	case <-time.After(patience):
		t.Fatal("the relay did not end")
		return End{}
	}
}

// tcpPair is a TCP connection on loopback: the client's end, and the accepted descriptor that a loop is given.
func tcpPair(t testing.TB) (*net.TCPConn, int) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	t.Cleanup(func() { _ = c.Close() })
	return c.(*net.TCPConn), dupOf(t, s.(*net.TCPConn))
}

func dupOf(t testing.TB, c *net.TCPConn) (fd int) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var dupErr error
	if err = raw.Control(func(p uintptr) { fd, dupErr = unix.FcntlInt(p, unix.F_DUPFD_CLOEXEC, 0) }); err != nil || dupErr != nil {
		t.Fatal(err, dupErr)
	}
	return fd
}

// sink is an upstream that hands its connections to the test.
type sink struct {
	addr  netip.AddrPort
	ln    net.Listener
	conns chan net.Conn
}

func listen(t testing.TB) *sink {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, ln)
}

func serve(t testing.TB, ln net.Listener) *sink {
	s := &sink{ln: ln, conns: make(chan net.Conn, 1024)}
	s.addr, _ = netip.ParseAddrPort(ln.Addr().String())
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = c.Close() })
			s.conns <- c
		}
	}()
	return s
}

func (s *sink) accept(t testing.TB) net.Conn {
	t.Helper()
	select {
	case c := <-s.conns:
		_ = c.SetDeadline(time.Now().Add(patience))
		return c
	case <-time.After(patience):
		t.Fatal("nobody connected to the upstream")
		return nil
	}
}

// refusing is an address nobody listens on.
func refusing(t testing.TB) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return netip.MustParseAddrPort(ln.Addr().String())
}

// pattern is n bytes that repeat nowhere near.
func pattern(seed uint64, n int) []byte {
	b := make([]byte, n+8)
	x := seed*0x9e3779b97f4a7c15 + 1
	for i := 0; i < n; i += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		binary.LittleEndian.PutUint64(b[i:], x)
	}
	return b[:n]
}

// readRecords reads TLS application data records to the end of the stream and returns their payload. A record that real
// stacks would not send is an error.
func readRecords(r io.Reader) (payload []byte, err error) {
	header := make([]byte, 5)
	for {
		if _, err = io.ReadFull(r, header); errors.Is(err, io.EOF) {
			return payload, nil
		} else if err != nil {
			return payload, fmt.Errorf("record header: %w", err)
		}
		n := int(binary.BigEndian.Uint16(header[3:]))
		if !bytes.Equal(header[:3], []byte{0x17, 3, 3}) || n == 0 || n > 16401 {
			return payload, fmt.Errorf("record %x", header)
		}
		at := len(payload)
		payload = append(payload, make([]byte, n)...)
		if _, err = io.ReadFull(r, payload[at:]); err != nil {
			return payload, fmt.Errorf("record body: %w", err)
		}
	}
}

func mustAdd(t testing.TB, l *Loop, r Relay) ID {
	t.Helper()
	id, err := l.Add(r)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func mustWrite(t testing.TB, w io.Writer, b []byte) {
	t.Helper()
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
}

func mustRead(t testing.TB, r io.Reader, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(r, got); err != nil {
		t.Fatalf("read %d of %d bytes: %v", n, len(want), err)
	}
	if !bytes.Equal(got, want) {
		t.Fatal("the bytes are not those that were sent")
	}
}

// eventually waits for what a loop does in its own time.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("never: " + what)
}
