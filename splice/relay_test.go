package splice

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/faketls"
	"sluice/obfs"
)

// keys are the four streams of a session, as both ends know them.
type keys struct{ fromClient, toDC, fromDC, toClient obfs.Keys }

func someKeys(seed uint64) (k keys) {
	for i, x := range []*obfs.Keys{&k.fromClient, &k.toDC, &k.fromDC, &k.toClient} {
		b := pattern(seed*4+uint64(i), 48)
		copy(x.Key[:], b)
		copy(x.IV[:], b[32:])
	}
	return k
}

func crypted(k obfs.Keys, offset uint64, b []byte) []byte {
	out := make([]byte, len(b))
	k.Stream(offset).XORKeyStream(out, b)
	return out
}

// records puts payload into client records of the given sizes, in turn, after a CCS.
func records(payload []byte, sizes ...int) []byte {
	out := []byte{0x14, 3, 3, 0, 1, 1}
	for i := 0; len(payload) > 0; i++ {
		n := min(sizes[i%len(sizes)], len(payload))
		var h [5]byte
		faketls.PutHeader(h[:], n)
		out = append(append(out, h[:]...), payload[:n]...)
		payload = payload[n:]
	}
	return out
}

// session is a relay of the given mode with both its ends in the test's hands.
type session struct {
	*owner
	client *net.TCPConn
	dc     *net.TCPConn
	keys   keys
}

func newSession(t testing.TB, l *Loop, up *sink, mode Mode) *session {
	t.Helper()
	s := &session{owner: newOwner(), keys: someKeys(uint64(mode) + 7)}
	c, fd := tcpPair(t)
	s.client = c
	_ = c.SetDeadline(time.Now().Add(patience))
	r := Relay{Client: fd, Mode: mode, Addrs: []netip.AddrPort{up.addr}, Owner: s.owner}
	if mode != Raw {
		r.Skip, r.Preface = 64, bytes.Repeat([]byte{9}, 64)
		r.FromClient, r.ToDC, r.FromDC, r.ToClient = s.keys.fromClient, s.keys.toDC, s.keys.fromDC, s.keys.toClient
		r.Early = records(crypted(s.keys.fromClient, 0, make([]byte, 64)), 64)
	}
	mustAdd(t, l, r)
	s.dc = up.accept(t).(*net.TCPConn)
	if mode != Raw {
		mustRead(t, s.dc, r.Preface)
	}
	return s
}

// fromDC is what the DC has to send for the client to see b.
func (s *session) fromDC(mode Mode, b []byte) []byte {
	if mode == Recrypt {
		return crypted(s.keys.fromDC, 0, b)
	}
	return b
}

// received reads what the client gets, to the end of the stream.
func (s *session) received(mode Mode) ([]byte, error) {
	if mode == Raw {
		return io.ReadAll(s.client)
	}
	b, err := readRecords(s.client)
	if mode == Recrypt {
		b = crypted(s.keys.toClient, 0, b)
	}
	return b, err
}

var modes = map[string]Mode{"raw": Raw, "aligned": Aligned, "recrypt": Recrypt}

// eachMode runs f for every mode, with and without pipes.
func eachMode(t *testing.T, f func(t *testing.T, l *Loop, mode Mode)) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) { f(t, startLoop(t, Config{}), mode) })
		t.Run(name+"/copied", func(t *testing.T) { f(t, startLoop(t, Config{NoSplice: true}), mode) })
	}
}

var sizes = []int{1, 2, 5, 100, 1448, 16384, 16400, 16401, 16402, 32802, 65536, 262144, 262145, 1 << 20, 4 << 20}

// Whatever the DC sends before it closes arrives, and the end of stream after it.
func TestTailDown(t *testing.T) {
	eachMode(t, func(t *testing.T, l *Loop, mode Mode) {
		up := listen(t)
		for _, n := range sizes {
			s := newSession(t, l, up, mode)
			want := pattern(uint64(n), n)
			go func() {
				_, _ = s.dc.Write(s.fromDC(mode, want))
				_ = s.dc.Close()
			}()
			got, err := s.received(mode)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%d bytes: got %d, %v", n, len(got), err)
			}
			_ = s.client.Close()
			if e := s.end(t); e.Cause != Finished || e.Down != uint64(n) {
				t.Fatalf("%d bytes: ended %v with %d down", n, e.Cause, e.Down)
			}
		}
	})
}

// The same towards the DC, and the download still works after the client's end of stream.
func TestTailUpAndHalfClose(t *testing.T) {
	eachMode(t, func(t *testing.T, l *Loop, mode Mode) {
		up := listen(t)
		for _, n := range sizes {
			s := newSession(t, l, up, mode)
			want := pattern(uint64(n), n)
			go func() {
				if mode == Raw {
					_, _ = s.client.Write(want)
				} else {
					_, _ = s.client.Write(records(crypted(s.keys.fromClient, 64, want), 2878, 4, 16408, 1, 0, 40000))
				}
				_ = s.client.CloseWrite()
			}()
			got, err := io.ReadAll(s.dc)
			if mode != Raw {
				got = crypted(s.keys.toDC, 64, got)
			}
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%d bytes: got %d, %v", n, len(got), err)
			}
			answer := pattern(3, 700)
			mustWrite(t, s.dc, s.fromDC(mode, answer))
			_ = s.dc.Close()
			if got, err = s.received(mode); err != nil || !bytes.Equal(got, answer) {
				t.Fatalf("answer after the half-close: %d bytes, %v", len(got), err)
			}
			if e := s.end(t); e.Cause != Finished || e.Up != uint64(n) {
				t.Fatalf("%d bytes: ended %v with %d up", n, e.Cause, e.Up)
			}
		}
	})
}

// However the DC cuts what it sends, every path gives the client the same bytes.
func TestEquality(t *testing.T) {
	eachMode(t, func(t *testing.T, l *Loop, mode Mode) {
		up := listen(t)
		for seed := range uint64(4) {
			s := newSession(t, l, up, mode)
			want := pattern(seed, 3<<20)
			sent := s.fromDC(mode, want)
			go func() {
				for i := 0; len(sent) > 0; i++ {
					n := min(len(sent), 1+int(pattern(seed+uint64(i)*77, 1)[0])*[]int{1, 40, 400, 3000}[i%4])
					_, _ = s.dc.Write(sent[:n])
					sent = sent[n:]
					if i%7 == 0 {
						time.Sleep(100 * time.Microsecond) // lets the relay catch up, so that bursts begin and end
					}
				}
				_ = s.dc.Close()
			}()
			if got, err := s.received(mode); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("seed %d: got %d bytes, %v", seed, len(got), err)
			}
		}
	})
}

// Requests and replies in both directions at once, for long enough that every path is taken.
func TestBothDirectionsAtOnce(t *testing.T) {
	eachMode(t, func(t *testing.T, l *Loop, mode Mode) {
		up := listen(t)
		s := newSession(t, l, up, mode)
		want := pattern(5, 8<<20)
		var busy sync.WaitGroup
		busy.Go(func() {
			if mode == Raw {
				_, _ = s.client.Write(want)
			} else {
				_, _ = s.client.Write(records(crypted(s.keys.fromClient, 64, want), 2878, 65535, 9))
			}
			_ = s.client.CloseWrite()
		})
		busy.Go(func() {
			_, _ = s.dc.Write(s.fromDC(mode, want))
			_ = s.dc.CloseWrite()
		})
		var upGot []byte
		busy.Go(func() { upGot, _ = io.ReadAll(s.dc) })
		got, err := s.received(mode)
		busy.Wait()
		if mode != Raw {
			upGot = crypted(s.keys.toDC, 64, upGot)
		}
		if err != nil || !bytes.Equal(got, want) || !bytes.Equal(upGot, want) {
			t.Fatalf("down %d, up %d of %d bytes, %v", len(got), len(upGot), len(want), err)
		}
		if e := s.end(t); e.Cause != Finished {
			t.Fatalf("ended %v", e.Cause)
		}
	})
}

func TestResetIsMirroredAfterTheTail(t *testing.T) {
	eachMode(t, func(t *testing.T, l *Loop, mode Mode) {
		up := listen(t)
		t.Run("upstream", func(t *testing.T) {
			s := newSession(t, l, up, mode)
			want := pattern(1, 30000)
			mustWrite(t, s.dc, s.fromDC(mode, want))
			var err error
			eventually(t, "the tail has arrived at the relay", func() bool { return unsentOf(s.dc) == 0 })
			_ = s.dc.SetLinger(0)
			_ = s.dc.Close()
			var got []byte
			got, err = s.received(mode)
			if !errors.Is(err, unix.ECONNRESET) || !bytes.Equal(got, want) {
				t.Fatalf("client saw %d of %d bytes, then %v", len(got), len(want), err)
			}
			if e := s.end(t); e.Cause != UpstreamReset {
				t.Fatalf("ended %v", e.Cause)
			}
		})
		t.Run("client", func(t *testing.T) {
			s := newSession(t, l, up, mode)
			_ = s.client.SetLinger(0)
			_ = s.client.Close()
			if _, err := io.ReadAll(s.dc); !errors.Is(err, unix.ECONNRESET) {
				t.Fatalf("the upstream saw %v", err)
			}
			if e := s.end(t); e.Cause != ClientReset {
				t.Fatalf("ended %v", e.Cause)
			}
		})
	})
}

func unsentOf(c *net.TCPConn) (n int) {
	raw, _ := c.SyscallConn()
	_ = raw.Control(func(fd uintptr) { n = sysUnsent(int32(fd)) })
	return n
}

// A front that answers and then resets, because the client goes on sending, is heard out.
func TestAnswerBeforeResetIsDelivered(t *testing.T) {
	l, up := startLoop(t, Config{}), listen(t)
	for range 20 {
		s := newSession(t, l, up, Raw)
		answer := pattern(2, 5000)
		mustWrite(t, s.client, pattern(1, 1000))
		mustRead(t, s.dc, pattern(1, 500)) // the rest stays unread: closing resets
		mustWrite(t, s.dc, answer)
		_ = s.dc.Close()
		_, _ = s.client.Write(pattern(1, 1000))
		got, _ := io.ReadAll(s.client)
		if !bytes.Equal(got, answer) {
			t.Fatalf("got %d of %d bytes", len(got), len(answer))
		}
		s.end(t)
	}
}

func TestClientProtocol(t *testing.T) {
	l, up := startLoop(t, Config{}), listen(t)
	for name, bad := range map[string][]byte{
		"alert":     {0x15, 3, 3, 0, 2, 1, 0},
		"handshake": {0x16, 3, 3, 0, 1, 0},
		"version":   {0x17, 2, 3, 0, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSession(t, l, up, Aligned)
			want := pattern(1, 500)
			mustWrite(t, s.client, append(records(crypted(s.keys.fromClient, 64, want), 100), bad...))
			got, err := io.ReadAll(s.dc)
			if err != nil || !bytes.Equal(crypted(s.keys.toDC, 64, got), want) {
				t.Errorf("the DC got %d bytes, %v; want those before the bad record", len(got), err)
			}
			if e := s.end(t); e.Cause != ClientProtocol {
				t.Errorf("ended %v", e.Cause)
			}
		})
	}
}

func TestDialing(t *testing.T) {
	l := startLoop(t, Config{Dial: 200 * time.Millisecond})
	up := listen(t)
	full := fullBacklog(t)
	add := func(t *testing.T, addrs ...netip.AddrPort) (*owner, *net.TCPConn) {
		c, fd := tcpPair(t)
		o := newOwner()
		mustAdd(t, l, Relay{Client: fd, Addrs: addrs, Owner: o, Early: []byte("early")})
		_ = c.SetDeadline(time.Now().Add(patience))
		return o, c
	}
	t.Run("next address", func(t *testing.T) {
		o, c := add(t, refusing(t), full, up.addr)
		d := up.accept(t)
		mustRead(t, d, []byte("early"))
		_, _ = c.Close(), d.Close()
		o.end(t)
		if len(o.dials) != 3 || o.dials[0] != unix.ECONNREFUSED || o.dials[1] != unix.ETIMEDOUT || o.dials[2] != nil {
			t.Errorf("dials: %v", o.dials)
		}
	})
	t.Run("all fail", func(t *testing.T) {
		o, c := add(t, refusing(t), refusing(t))
		if e := o.end(t); e.Cause != DialFailed || len(o.dials) != 2 {
			t.Errorf("ended %v after %v", e.Cause, o.dials)
		}
		if _, err := io.ReadAll(c); err != nil {
			t.Errorf("the client saw %v, want a close", err)
		}
	})
	t.Run("no address", func(t *testing.T) {
		o, _ := add(t)
		if e := o.end(t); e.Cause != DialFailed {
			t.Errorf("ended %v", e.Cause)
		}
	})
	t.Run("client gone meanwhile", func(t *testing.T) {
		o, c := add(t, full, full, full, full, full, full, full, full, full)
		_ = c.SetLinger(0)
		_ = c.Close()
		if e := o.end(t); e.Cause != ClientReset {
			t.Errorf("ended %v", e.Cause)
		}
	})
	t.Run("unix socket", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "front.sock")
		ln, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		s := serve(t, ln)
		c, fd := tcpPair(t)
		o := newOwner()
		mustAdd(t, l, Relay{Client: fd, Path: path, Owner: o, Early: []byte("early")})
		d := s.accept(t)
		mustRead(t, d, []byte("early"))
		want := pattern(1, 1<<20)
		go func() {
			_, _ = d.Write(want)
			_ = d.Close()
		}()
		_ = c.SetDeadline(time.Now().Add(patience))
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
		_ = c.Close()
		o.end(t)
	})
}

// A unix socket whose backlog is full has those wait who come, as one of TCP has.
func TestUnixBacklogIsFull(t *testing.T) {
	l := startLoop(t, Config{Dial: 700 * time.Millisecond})
	for name, shadow := range map[string]bool{"client": false, "shadow": true} {
		t.Run(name, func(t *testing.T) {
			path, c, o := filepath.Join(t.TempDir(), "front.sock"), (*net.TCPConn)(nil), newOwner()
			ln := fullUnix(t, path)
			r := Relay{Client: -1, Path: path, Owner: o, Early: []byte("early ")}
			if !shadow {
				c, r.Client = tcpPair(t)
			}
			id := mustAdd(t, l, r)
			if shadow {
				l.Feed(id, []byte("fed "))
				var fd int
				c, fd = tcpPair(t)
				if err := l.Adopt(id, fd, []byte("last")); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(250 * time.Millisecond) // some tries
			_ = c.SetDeadline(time.Now().Add(patience))
			for {
				fd, _, err := unix.Accept(ln)
				if err != nil {
					t.Fatal(err)
				}
				b := make([]byte, 64)
				n, _ := unix.Read(fd, b) // those that filled it say nothing and have gone
				if n > 0 {
					if want := map[bool]string{false: "early ", true: "early fed last"}[shadow]; string(b[:n]) != want {
						t.Errorf("it heard %q", b[:n])
					}
					_, _ = unix.Write(fd, []byte("answer"))
				}
				_ = unix.Close(fd)
				if n > 0 {
					break
				}
			}
			mustRead(t, c, []byte("answer"))
			_ = c.Close()
			o.end(t)
			if len(o.dials) != 1 || o.dials[0] != nil {
				t.Errorf("dials: %v", o.dials)
			}
		})
	}
	t.Run("for too long", func(t *testing.T) {
		path, o := filepath.Join(t.TempDir(), "front.sock"), newOwner()
		fullUnix(t, path)
		_, fd := tcpPair(t)
		began := time.Now()
		mustAdd(t, l, Relay{Client: fd, Path: path, Owner: o})
		if e := o.end(t); e.Cause != DialFailed || len(o.dials) != 1 || o.dials[0] != unix.ETIMEDOUT || time.Since(began) < 600*time.Millisecond {
			t.Errorf("ended %v after %v and %v", e.Cause, o.dials, time.Since(began))
		}
	})
	t.Run("client gone meanwhile", func(t *testing.T) {
		path, o := filepath.Join(t.TempDir(), "front.sock"), newOwner()
		fullUnix(t, path)
		c, fd := tcpPair(t)
		mustAdd(t, l, Relay{Client: fd, Path: path, Owner: o})
		_ = c.SetLinger(0)
		_ = c.Close()
		if e := o.end(t); e.Cause != ClientReset {
			t.Errorf("ended %v", e.Cause)
		}
	})
}

// fullUnix listens at path without accepting; those that fill its backlog have gone, which leaves it full.
func fullUnix(t testing.TB, path string) (fd int) {
	t.Helper()
	socket := func() int {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		return fd
	}
	fd = socket()
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 1), unix.SetNonblock(fd, false)); err != nil {
		t.Fatal(err)
	}
	for range 9 {
		c := socket()
		err := unix.Connect(c, &unix.SockaddrUnix{Name: path})
		_ = unix.Close(c)
		if err == unix.EAGAIN {
			return fd
		}
	}
	t.Fatal("the backlog takes them all")
	return fd
}

// fullBacklog is an address whose connects hang: its queue is full and nobody accepts.
func fullBacklog(t testing.TB) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err == nil {
		err = unix.Listen(fd, 0)
	}
	sa, _ := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(sa.(*unix.SockaddrInet4).Port))
	for range 4 {
		if c, err := net.DialTimeout("tcp", addr.String(), 50*time.Millisecond); err == nil {
			t.Cleanup(func() { _ = c.Close() })
		}
	}
	return addr
}

func TestIdle(t *testing.T) {
	l, up := startLoop(t, Config{Idle: 150 * time.Millisecond, FrontIdle: time.Hour}), listen(t)
	s, raw := newSession(t, l, up, Aligned), newSession(t, l, up, Raw)
	began := time.Now()
	for range 5 { // not idle: every byte counts
		mustWrite(t, s.dc, []byte{1})
		mustRead(t, s.client, []byte{0x17, 3, 3, 0, 1, 1})
		time.Sleep(60 * time.Millisecond)
	}
	if e := s.end(t); e.Cause != Idle || time.Since(began) < 400*time.Millisecond {
		t.Errorf("ended %v after %v", e.Cause, time.Since(began))
	}
	mustWrite(t, raw.dc, []byte("still here"))
	mustRead(t, raw.client, []byte("still here"))
}

func TestShadow(t *testing.T) {
	l, up := startLoop(t, Config{Dial: 200 * time.Millisecond}), listen(t)
	t.Run("adopted", func(t *testing.T) {
		o := newOwner()
		id := mustAdd(t, l, Relay{Client: -1, Addrs: []netip.AddrPort{up.addr}, Owner: o, Preface: []byte("PROXY "), Early: []byte("one ")})
		l.Feed(id, []byte("two "))
		d := up.accept(t)
		mustRead(t, d, []byte("PROXY one two "))
		l.Feed(id, []byte("three "))
		mustRead(t, d, []byte("three "))
		mustWrite(t, d, []byte("answer"))
		<-o.spoke
		c, fd := tcpPair(t)
		if err := l.Adopt(id, fd, []byte("four")); err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		mustRead(t, d, []byte("four"))
		mustRead(t, c, []byte("answer"))
		_ = d.Close()
		if b, err := io.ReadAll(c); err != nil || len(b) != 0 {
			t.Errorf("%q, %v", b, err)
		}
		_ = c.Close()
		if e := o.end(t); e.Cause != Finished || e.Up != 18 || e.Down != 6 {
			t.Errorf("%+v", e)
		}
	})
	t.Run("aborted", func(t *testing.T) {
		o := newOwner()
		id := mustAdd(t, l, Relay{Client: -1, Addrs: []netip.AddrPort{up.addr}, Owner: o, Early: []byte("half")})
		d := up.accept(t)
		mustRead(t, d, []byte("half"))
		l.Abort(id)
		if _, err := d.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("%v, not a reset", err)
		}
		if e := o.end(t); e.Cause != ClientReset || e.Up != 4 {
			t.Errorf("%+v", e)
		}
		l.Abort(id)
		o = newOwner() // and while it is being dialled
		l.Abort(mustAdd(t, l, Relay{Client: -1, Addrs: []netip.AddrPort{listen(t).addr}, Owner: o}))
		if e := o.end(t); e.Cause != ClientReset {
			t.Errorf("ended %v", e.Cause)
		}
	})
	t.Run("dropped", func(t *testing.T) {
		o := newOwner()
		id := mustAdd(t, l, Relay{Client: -1, Addrs: []netip.AddrPort{up.addr}, Owner: o, Early: []byte("half")})
		d := up.accept(t)
		mustRead(t, d, []byte("half"))
		l.Drop(id)
		if b, err := io.ReadAll(d); err != nil || len(b) != 0 {
			t.Errorf("%q, %v", b, err)
		}
		if e := o.end(t); e.Cause != Dropped {
			t.Errorf("ended %v", e.Cause)
		}
		l.Drop(id)
		l.Feed(id, []byte("nobody"))
		c, fd := tcpPair(t)
		if err := l.Adopt(id, fd, nil); err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		if _, err := io.ReadAll(c); err != nil {
			t.Errorf("a client that comes too late is closed, not %v", err)
		}
	})
	t.Run("front closes first", func(t *testing.T) {
		o := newOwner()
		mustAdd(t, l, Relay{Client: -1, Addrs: []netip.AddrPort{up.addr}, Owner: o})
		_ = up.accept(t).Close()
		<-o.spoke
	})
	t.Run("front unreachable", func(t *testing.T) {
		o := newOwner()
		id := mustAdd(t, l, Relay{Client: -1, Addrs: []netip.AddrPort{refusing(t)}, Owner: o})
		<-o.spoke
		c, fd := tcpPair(t)
		if err := l.Adopt(id, fd, []byte("x")); err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		_, _ = io.ReadAll(c)
		if e := o.end(t); e.Cause != DialFailed {
			t.Errorf("ended %v", e.Cause)
		}
	})
}

func TestCloseEndsEverything(t *testing.T) {
	l, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- l.Run() }()
	up := listen(t)
	s := newSession(t, l, up, Aligned)
	l.Close()
	if e := s.end(t); e.Cause != Dropped {
		t.Errorf("ended %v", e.Cause)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := l.Stats().Descriptors(); n != 0 {
		t.Errorf("%d descriptors left", n)
	}
	if _, err := l.Add(Relay{}); !errors.Is(err, ErrClosed) {
		t.Errorf("Add after Close: %v", err)
	}
	l.Close()
}
