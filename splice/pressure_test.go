package splice

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A client that does not read stops its DC being read: what is held for it is one pipe or one burst, and everything goes on
// when it does.
func TestStalledClientsHoldLittleAndGoOn(t *testing.T) {
	const clients, size = 12, 12 << 20
	eachMode(t, func(t *testing.T, l *Loop, mode Mode) {
		up := listen(t)
		want := pattern(3, size)
		var all []*session
		for range clients {
			s := newSession(t, l, up, mode)
			_ = s.client.SetReadBuffer(256 << 10) // less than loopback's MSS would have the kernel stall for minutes
			all = append(all, s)
		}
		sent := make([][]byte, clients)
		for i, s := range all {
			sent[i] = want
			if mode == Recrypt {
				sent[i] = s.fromDC(mode, want)
			}
		}
		var busy sync.WaitGroup
		for i, s := range all {
			_ = s.dc.SetWriteDeadline(time.Now().Add(time.Minute))
			_ = s.client.SetReadDeadline(time.Now().Add(time.Minute))
			busy.Go(func() {
				_, _ = s.dc.Write(sent[i])
				_ = s.dc.Close()
			})
		}
		var last uint64
		eventually(t, "the downloads stall", func() bool {
			n := downBytes(l)
			still := n == last && n > 0
			last = n
			time.Sleep(20 * time.Millisecond)
			return still
		})
		st := l.Stats()
		if held := st.HeldBytes.Load() + st.PipesBusy.Load()*burstSize; held > clients*(scratchSize+chunkSize) {
			t.Errorf("%d KiB held for %d stalled clients", held>>10, clients)
		}
		for _, s := range all {
			busy.Go(func() {
				if got, err := s.received(mode); err != nil || !bytes.Equal(got, want) {
					t.Errorf("after the stall: %d of %d bytes, %v", len(got), len(want), err)
				}
				_ = s.client.Close()
			})
		}
		busy.Wait()
		for _, s := range all {
			s.end(t)
		}
		if held := st.HeldBytes.Load(); held != 0 {
			t.Errorf("%d bytes still held", held)
		}
	})
}

func downBytes(l *Loop) (n uint64) {
	for lane := range Lanes {
		for kind := range Kinds {
			for p := range Paths {
				n += l.Stats().Bytes[lane][kind][down][p].Load()
			}
		}
	}
	return n
}

// With fewer pipes than downloads, bursts are copied; not a byte differs.
func TestPipesRunOut(t *testing.T) {
	const stalled, reading, size = 4, 6, 24 << 20
	for name, mode := range map[string]Mode{"raw": Raw, "aligned": Aligned} {
		t.Run(name, func(t *testing.T) {
			l, up := startLoop(t, Config{Pipes: 2}), listen(t)
			want := pattern(9, size)
			var busy sync.WaitGroup
			begin := func() *session {
				s := newSession(t, l, up, mode)
				_ = s.dc.SetWriteDeadline(time.Now().Add(time.Minute))
				_ = s.client.SetReadDeadline(time.Now().Add(time.Minute))
				busy.Go(func() {
					_, _ = s.dc.Write(want)
					_ = s.dc.Close()
				})
				return s
			}
			finish := func(s *session) {
				if got, err := s.received(mode); err != nil || !bytes.Equal(got, want) {
					t.Errorf("got %d of %d bytes, %v", len(got), len(want), err)
				}
				_ = s.client.Close()
				s.end(t)
			}
			st := l.Stats()
			var waiting []*session
			for range stalled {
				waiting = append(waiting, begin())
			}
			for range reading {
				s := begin()
				busy.Go(func() { finish(s) })
			}
			time.Sleep(2 * reclaimAfter) // so that stalled pipes, if there are any, are there for the taking
			for _, s := range waiting {
				busy.Go(func() { finish(s) })
			}
			busy.Wait()
			if st.NoPipe.Load() == 0 {
				t.Error("there was a pipe every time: the test did not test it")
			}
			eventually(t, "both pipes are back", func() bool { return st.PipesBusy.Load() == 0 && st.PipesIdle.Load() <= 2 })
		})
	}
}

// A stalled pipe that is drained into memory leaves there exactly what would have gone to the wire.
func TestReclaim(t *testing.T) {
	body := pattern(4, 100_000)
	for name, rest := range map[string]string{"alone": "", "behind a rest": "rest"} {
		t.Run(name, func(t *testing.T) {
			l, r := idleRelay(t, Aligned)
			x := &r.half[down]
			p := l.pipes.borrow(r, down, l.now)
			if n, err := unix.Write(int(p.w), body); n != len(body) || err != nil {
				t.Fatal(n, err)
			}
			p.held, x.pipe = len(body), p
			if rest != "" {
				x.rest = l.chunks.keep([]byte(rest))
			}
			if l.pipes.stalest(l.now+1) != p || l.pipes.stalest(l.now) != nil {
				t.Error("a pipe is stale when it has not moved since before the given time")
			}
			l.reclaim(p)
			if !bytes.Equal(x.rest.b, append([]byte(rest), body...)) || x.pipe != nil || len(l.pipes.idle) != 1 {
				t.Errorf("%d bytes, want %d; pipe %v, %d idle", len(x.rest.b), len(rest)+len(body), x.pipe, len(l.pipes.idle))
			}
		})
	}
}

// idleRelay is an open relay of a loop with one pipe that nobody runs.
func idleRelay(t *testing.T, mode Mode) (*Loop, *relay) {
	t.Helper()
	l := alone(t, Config{Pipes: 1})
	_, _ = byHand(t, l, mode)
	return l, l.slab.at(0)
}

// A client that is gone while its DC still offers bytes takes the relay with it, pipes and all; so does a DC whose client
// does not read.
func TestGoneWhileStalled(t *testing.T) {
	eachMode(t, func(t *testing.T, l *Loop, mode Mode) {
		up := listen(t)
		s := newSession(t, l, up, mode)
		go func() { _, _ = s.dc.Write(make([]byte, 64<<20)) }()
		eventually(t, "bytes flow", func() bool { return downBytes(l) > 100000 })
		_ = s.client.SetLinger(0)
		_ = s.client.Close()
		if e := s.end(t); e.Cause != ClientReset {
			t.Errorf("ended %v", e.Cause)
		}
		if l.Stats().Relays[mode.kind()].Load() != 0 {
			t.Error("the relay is still counted")
		}
	})
}

// Moving a burst allocates nothing, by whichever path. The loop is turned by hand, so that nobody else runs.
func TestNoAllocationPerChunk(t *testing.T) {
	for name, mode := range modes {
		for _, size := range []int{1000, 100 << 10} {
			t.Run(name+"/"+strconv.Itoa(size), func(t *testing.T) {
				l, err := New(Config{})
				if err != nil {
					t.Fatal(err)
				}
				defer func() {
					l.Close()
					_ = l.Run()
				}()
				clientEnd, dcEnd := byHand(t, l, mode)
				down, buf := make([]byte, size), make([]byte, 256<<10)
				upward := records(make([]byte, 1000), 1000)[6:]
				turn := func() {
					_, _ = unix.Write(dcEnd, down)
					_, _ = unix.Write(clientEnd, upward)
					for got := 0; got < size; {
						if err := l.once(); err != nil {
							t.Fatal(err)
						}
						n, _ := unix.Read(clientEnd, buf)
						got += max(n, 0)
					}
					_, _ = unix.Read(dcEnd, buf)
				}
				for range 50 {
					turn()
				}
				if n := testing.AllocsPerRun(200, turn); n > 0 {
					t.Errorf("%v allocations for %d bytes down and 1000 up", n, size)
				}
			})
		}
	}
}

// byHand adds a relay to a loop that nobody runs and turns it until it is open. It returns the non-blocking far ends.
func byHand(t testing.TB, l *Loop, mode Mode) (clientEnd, dcEnd int) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, fd := tcpPair(t)
	k := someKeys(1)
	mustAdd(t, l, Relay{
		Client: fd, Mode: mode, Owner: newOwner(), Addrs: []netip.AddrPort{netip.MustParseAddrPort(ln.Addr().String())},
		FromClient: k.fromClient, ToDC: k.toDC, FromDC: k.fromDC, ToClient: k.toClient, Early: []byte{},
	})
	opened := make(chan net.Conn, 1)
	go func() {
		d, _ := ln.Accept()
		opened <- d
	}()
	for l.stats.Relays[mode.kind()].Load() == 0 || l.slab.at(0).state != open {
		if err := l.once(); err != nil {
			t.Fatal(err)
		}
	}
	d := <-opened
	clientEnd, dcEnd = dupOf(t, c), dupOf(t, d.(*net.TCPConn))
	_ = d.Close()
	t.Cleanup(func() { _, _ = unix.Close(clientEnd), unix.Close(dcEnd) })
	return clientEnd, dcEnd
}

// A fault of ours costs the connection it happens in, and no other.
func TestPanicCostsOneConnection(t *testing.T) {
	l, up := startLoop(t, Config{}), listen(t)
	other := newSession(t, l, up, Raw)
	c, fd := tcpPair(t)
	mustAdd(t, l, Relay{Client: fd, Addrs: []netip.AddrPort{up.addr}, Owner: &faulty{owner: newOwner()}})
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.ReadAll(c); err != nil {
		t.Errorf("the client saw %v", err)
	}
	mustWrite(t, other.dc, []byte("unharmed"))
	mustRead(t, other.client, []byte("unharmed"))
	if l.Stats().Panics.Load() != 1 {
		t.Errorf("%d panics counted", l.Stats().Panics.Load())
	}
}

type faulty struct{ *owner }

func (f *faulty) Dialed(netip.AddrPort, error, time.Duration) { panic("a fault") }

// Thousands of relays of every kind, closed in every order, leave no descriptor and no pipe (TestMain counts the former).
func TestChurn(t *testing.T) {
	// A busy kernel may drop a reset on loopback, and nobody sends it again: then the idle time ends the relay.
	l, up := startLoop(t, Config{Pipes: 4, Dial: time.Second, Idle: 5 * time.Second, FrontIdle: 5 * time.Second}), listen(t)
	const rounds, each = 40, 25
	var busy sync.WaitGroup
	for round := range rounds {
		for i := range each {
			mode := Mode(i % 3)
			s := newSession(t, l, up, mode)
			busy.Go(func() {
				defer s.end(t)
				switch (i + round) % 6 {
				case 0:
					_ = s.client.Close()
					_ = s.dc.Close()
				case 1:
					_ = s.dc.SetLinger(0)
					_ = s.dc.Close()
				case 2:
					_ = s.client.SetLinger(0)
					_ = s.client.Close()
				case 3:
					_, _ = s.dc.Write(make([]byte, 200<<10))
					_ = s.client.Close()
					_ = s.dc.Close()
				case 4:
					_ = s.client.CloseWrite()
					_, _ = io.Copy(io.Discard, s.dc)
					_ = s.dc.Close()
					_ = s.client.Close()
				case 5:
					_ = s.dc.CloseWrite()
					_ = s.client.Close()
					_ = s.dc.Close()
				}
			})
		}
		busy.Wait()
	}
	st := l.Stats()
	eventually(t, "everything is given back", func() bool {
		return st.Relays[ToDC].Load() == 0 && st.Relays[ToFront].Load() == 0 && st.PipesBusy.Load() == 0 && st.HeldBytes.Load() == 0
	})
	if n := st.Descriptors() - 2*st.PipesIdle.Load(); n != 0 {
		t.Errorf("%d descriptors left", n)
	}
}
