package splice

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// alone makes a loop that only the test turns.
func alone(t *testing.T, cfg Config) *Loop {
	t.Helper()
	l, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Close()
		_ = l.Run()
	})
	return l
}

// poke wakes a loop for nothing, so that a turn of it does not wait.
func poke(l *Loop) {
	one := [8]byte{1}
	_, _ = unix.Write(l.intake.event, one[:])
}

// A turn that comes late, by more than a tick of the wheel, takes no relay its timer.
func TestLateTurnsLoseNoTimer(t *testing.T) {
	l := alone(t, Config{Idle: 20 * time.Second})
	_, _ = byHand(t, l, Aligned)
	r := l.slab.at(0)
	turn := func(now int64) {
		l.now = now
		l.wheel.Advance(l.now, l.timer)
	}
	r.active = l.now + int64(19*time.Second)
	turn(r.due + int64(120*time.Millisecond))
	for end := l.now + int64(2*time.Minute); l.now < end && r.state == open; {
		turn(l.now + int64(10*time.Millisecond))
	}
	if r.state == open {
		t.Errorf("open %v after its last byte; %d items in the wheel", time.Duration(l.now-r.active), l.wheel.Len())
	}
}

// A reset that comes between the event that says "connected" and the look at it is mirrored like any other.
func TestResetBeforeTheFirstLook(t *testing.T) {
	for _, what := range []string{"", "last words"} {
		l := alone(t, Config{})
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		c, fd := tcpPair(t)
		o := newOwner()
		mustAdd(t, l, Relay{Client: fd, Owner: o, Addrs: []netip.AddrPort{netip.MustParseAddrPort(ln.Addr().String())}})
		if err := l.once(); err != nil {
			t.Fatal(err)
		}
		d, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		for !l.slab.at(0).side[upstream].has(canWrite) {
			_ = l.wait()
		}
		_, _ = d.Write([]byte(what))
		_ = d.(*net.TCPConn).SetLinger(0)
		_ = d.Close()
		eventually(t, "the relay ends", func() bool {
			poke(l)
			_ = l.once()
			return len(o.closed) > 0
		})
		_ = c.SetDeadline(time.Now().Add(patience))
		if got, err := io.ReadAll(c); string(got) != what || !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("the client saw %q, then %v", got, err)
		}
		if e := o.end(t); e.Cause != UpstreamReset {
			t.Errorf("ended %v", e.Cause)
		}
	}
}

// An urgent byte stops a splice early; what lies behind it is not forgotten.
func TestUrgentByteBehindABurst(t *testing.T) {
	l := alone(t, Config{})
	clientEnd, dcEnd := byHand(t, l, Raw)
	_, _ = unix.Write(clientEnd, make([]byte, copyLimit))
	_ = unix.Sendto(clientEnd, []byte("!"), unix.MSG_OOB, nil)
	_, _ = unix.Write(clientEnd, []byte("the tail"))
	got, buf := 0, make([]byte, 64<<10)
	eventually(t, "all bytes arrive", func() bool {
		poke(l)
		_ = l.once()
		n, _ := unix.Read(dcEnd, buf)
		got += max(n, 0)
		return got == copyLimit+8
	})
}

// An owner's fault in its last call is contained, too.
func TestPanicInTheLastCall(t *testing.T) {
	l, up := startLoop(t, Config{}), listen(t)
	id := mustAdd(t, l, Relay{Client: -1, Addrs: []netip.AddrPort{up.addr}, Owner: &lastWords{newOwner()}})
	l.Drop(id)
	eventually(t, "it is counted", func() bool { return l.Stats().Panics.Load() == 1 })
}

type lastWords struct{ *owner }

func (o *lastWords) Closed(End) { panic("a fault") }
