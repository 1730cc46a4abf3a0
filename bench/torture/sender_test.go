package main

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"sluice/bench/poll"
	"sluice/faketls"
)

// The hellos of each kind are what its name says.
func TestSource(t *testing.T) {
	now := time.Now()
	for k, want := range map[kind]struct {
		signed, fresh bool
		behind        time.Duration
	}{
		foreignKind:  {fresh: true},
		signedKind:   {signed: true, fresh: true},
		replayedKind: {signed: true},
		lateKind:     {signed: true, fresh: true, behind: time.Hour},
	} {
		t.Run(string(k), func(t *testing.T) {
			next, err := newSource(k, 0)
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			for range 3 * built {
				say, p := next(now)
				h, n, err := faketls.ParseHello(say, make([]byte, faketls.MaxHello))
				if err != nil || n != len(say) || p != onAnswer {
					t.Fatalf("%d of %d bytes, %v, left %d", n, len(say), err, p)
				}
				at, ok := faketls.NewMAC().Verify(&secret.Key, &h)
				if off := now.Add(-want.behind).Unix() - int64(at); ok != want.signed || ok && (off < -5 || off > 5) {
					t.Fatalf("signed: %v, %d s off", ok, off)
				}
				seen[string(h.Random)] = true
			}
			if fresh := len(seen) == 3*built; fresh != want.fresh || len(seen) < built {
				t.Errorf("%d different hellos of %d", len(seen), 3*built)
			}
		})
	}
	if _, err := newSource("none", 0); err == nil {
		t.Error("a kind that there is not")
	}
}

// listenFor answers every connection as told, and says where.
func listenFor(t *testing.T, serve func(c net.Conn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
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
				serve(c)
				_ = c.Close()
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// Everybody who is sent says all he has to say, and who is answered is counted.
func TestSend(t *testing.T) {
	const n = 300
	for name, tt := range map[string]struct {
		kind     kind
		answered bool
		serve    func(c net.Conn)
	}{
		"answered": {foreignKind, true, func(c net.Conn) {
			_, _ = io.ReadFull(c, make([]byte, 517))
			_, _ = c.Write([]byte{1})
			_, _ = c.Read(make([]byte, 1))
		}},
		"closed":            {signedKind, false, func(c net.Conn) { _, _ = io.ReadFull(c, make([]byte, 517)) }},
		"closed at once":    {lateKind, false, func(net.Conn) {}},
		"who does not wait": {headerKind, false, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := poll.New()
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			s := &sender{poller: p}
			if err := s.send(salvo{To: listenFor(t, tt.serve), Kind: tt.kind, Rate: 2000, Span: patience, Count: n}); err != nil {
				t.Fatal(err)
			}
			if h := s.hits; h.Sent != n || h.Took <= 0 || (h.Answered > 0) != tt.answered || h.Answered > n {
				t.Errorf("%+v", h)
			}
			if s.open() != 0 {
				t.Errorf("%d are left", s.open())
			}
		})
	}
}

// An order is over when its time or its number is.
func TestOver(t *testing.T) {
	for _, tt := range []struct {
		count, sent int
		since       time.Duration
		over        bool
	}{
		{0, 1 << 30, time.Second - 1, false},
		{0, 0, time.Second, true},
		{10, 9, 0, false},
		{10, 10, 0, true},
		{10, 9, time.Second, true},
	} {
		if got := (salvo{Span: time.Second, Count: tt.count}).over(tt.sent, tt.since); got != tt.over {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}

// Nobody is waited for longer than answerTime, nor forgotten sooner.
func TestForget(t *testing.T) {
	p, err := poll.New()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	s := &sender{poller: p}
	if s.source, err = newSource(foreignKind, 0); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if err := s.shoot(listenFor(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), now); err != nil {
		t.Fatal(err)
	}
	if s.forget(now.Add(answerTime)); s.open() != 1 {
		t.Error("forgotten in time")
	}
	if s.forget(now.Add(answerTime + 1)); s.open() != 0 {
		t.Error("waited for too long")
	}
}

// Wrong headers of the same seed are the same, of another others; few senders wait.
func TestHeaderSource(t *testing.T) {
	one, again, other := headerSource(7), headerSource(7), headerSource(8)
	waiting, different := 0, 0
	for i := range 1000 {
		a, p := one(time.Now())
		b, q := again(time.Now())
		c, _ := other(time.Now())
		if len(a) != len(b) || !bytes.HasPrefix(a, b[:max(len(b)-517, 0)]) || p != q {
			t.Fatalf("header %d is another the second time", i)
		}
		if !bytes.Equal(a, c) {
			different++
		}
		if p == halfClosed {
			waiting++
		}
	}
	if waiting < 10 || waiting > 200 || different < 900 {
		t.Errorf("%d of 1000 wait, %d differ from another seed's", waiting, different)
	}
}
