package load

import (
	"crypto/rand"
	"encoding/hex"
	randv2 "math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"sluice/bench/client"
	"sluice/bench/far"
	"sluice/bench/task"
	"sluice/engine/edge"
	"sluice/faketls"
	"sluice/obfs"
)

var secret = client.Secret{Key: [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9}, Host: "example.org"}

func testGroup(kind string) (*load, *group) {
	l := &load{rnd: seeded(), buf: make([]byte, bufLen), now: time.Now()}
	g := &group{Job: Job{Kind: kind, Record: 2878, Addr: netip.MustParseAddrPort("127.0.0.1:443")}, secret: secret, records: -1}
	g.prepare()
	return l, g
}

// TestSign: the proxy's own parser takes every hello that the load makes, each with a session id of its own.
func TestSign(t *testing.T) {
	l, g := testGroup(FakeTLS)
	g.Hybrid = true
	g.hellos = nil
	g.prepare()
	mac, seen := faketls.NewMAC(), map[string]bool{}
	for range 100 {
		b := l.sign(g)
		h, n, err := faketls.ParseHello(b, nil)
		if err != nil || n != len(b) || string(h.Name) != secret.Host || !h.Hybrid {
			t.Fatalf("%d of %d, %q, %v", n, len(b), h.Name, err)
		}
		at, ok := mac.Verify(&secret.Key, &h)
		if d := time.Now().Unix() - int64(at); !ok || d < -1 || d > 5 {
			t.Fatalf("signed %v, %d s ago", ok, d)
		}
		if id := string(h.SessionID); seen[id] {
			t.Fatal("the same session id twice")
		} else {
			seen[id] = true
		}
	}
	_, stranger := testGroup(Stranger)
	b := l.sign(stranger)
	h, _, err := faketls.ParseHello(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := mac.Verify(&secret.Key, &h); ok {
		t.Error("a stranger's hello is signed")
	}
}

// TestCheckFlight holds the check against the proxy's own flight, whole, cut anywhere, and spoilt.
func TestCheckFlight(t *testing.T) {
	l, g := testGroup(FakeTLS)
	hello := l.sign(g)
	h, _, err := faketls.ParseHello(hello, nil)
	if err != nil {
		t.Fatal(err)
	}
	flight, err := faketls.AppendFlight(nil, faketls.NewMAC(), &secret.Key, &h, faketls.Shape{}, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	check := func(b []byte) (bool, error) { return checkFlight(append([]byte(nil), b...), hello, secret.Key) }
	for i := range flight {
		if whole, err := check(flight[:i]); whole || err != nil {
			t.Fatalf("%d bytes of %d: %v, %v", i, len(flight), whole, err)
		}
	}
	if whole, err := check(flight); !whole || err != nil {
		t.Errorf("whole: %v, %v", whole, err)
	}
	if _, err := check(append(flight[:len(flight):len(flight)], 0x17)); err != errExtra {
		t.Errorf("with more behind it: %v", err)
	}
	for _, i := range []int{11, 60, len(flight) - 1} {
		bad := append([]byte(nil), flight...)
		bad[i] ^= 1
		if _, err := check(bad); err != errSigned {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
	for _, i := range []int{0, 1} {
		bad := append([]byte(nil), flight...)
		bad[i] ^= 1
		if _, err := check(bad); err != errFlight {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
}

// TestFrame: the proxy reads what the load says first, and a data centre what a client without a proxy does.
func TestFrame(t *testing.T) {
	for _, kind := range []string{FakeTLS, Direct} {
		l, g := testGroup(kind)
		c := &conn{group: g}
		l.makeFrame(c)
		b := task.Task{Op: task.Sink}.Append(nil)
		c.encipher(b)
		c.say(b)
		wire := c.out
		if kind == FakeTLS {
			const ccs = 6
			var d faketls.Deframer
			n, err := d.Deframe(wire)
			if err != nil || len(wire) != ccs+recordHeader+n {
				t.Fatalf("%d of %d, %v: the frame and the first words share one record", n, len(wire), err)
			}
			f, _, err := obfs.ParseFrame(wire[:n], &secret.Key)
			if err != nil || f.DC != 2 || f.Tag != obfs.Padded || f.Down != c.down {
				t.Fatalf("%+v, %v", f, err)
			}
			f.Up.Stream(obfs.FrameLen).XORKeyStream(wire[obfs.FrameLen:n], wire[obfs.FrameLen:n])
			wire = wire[:n]
		} else {
			in, out, _, dc, err := obfs.ParseServerFrame(wire)
			if err != nil || dc != 2 || out != c.down {
				t.Fatalf("DC %d, %v", dc, err)
			}
			in.Stream(obfs.FrameLen).XORKeyStream(wire[obfs.FrameLen:], wire[obfs.FrameLen:])
		}
		if got, err := task.Parse(wire[obfs.FrameLen:]); err != nil || got.Op != task.Sink {
			t.Errorf("%s: %+v, %v", kind, got, err)
		}
	}
}

// TestFeed: records cut anywhere are one stream of payload; wrong ones and wrong bytes are counted.
func TestFeed(t *testing.T) {
	const size = 50_000
	var wire []byte
	plain := make([]byte, size)
	keys := obfs.Keys{Key: [32]byte{7}, IV: [16]byte{8}}
	task.Fill(plain, 0, 0)
	keys.Stream(0).XORKeyStream(plain, plain)
	for rest, n := plain, 1; len(rest) > 0; n = min(n*3, maxRecord) {
		part := rest[:min(n, len(rest))]
		wire = append(appendHeader(wire, len(part)), part...)
		rest = rest[len(part):]
	}
	feed := func(wire []byte, cut func() int) Stats {
		l, g := testGroup(FakeTLS)
		g.Mode, g.Check, g.Think = Exchange, true, time.Hour // the next exchange never comes
		c := &conn{fd: -1, group: g, phase: exchanging, want: size, down: keys}
		l.keep(c)
		for len(wire) > 0 && l.conns[0] == c {
			n := min(cut(), len(wire))
			l.feed(c, append([]byte(nil), wire[:n]...))
			wire = wire[n:]
		}
		return g.stats
	}
	r := randv2.New(randv2.NewPCG(1, 1))
	for _, most := range []int{1, 2, 7, 5000, 100_000} {
		s := feed(wire, func() int { return 1 + r.IntN(most) })
		if s.Exchanges != 1 || s.Wrong != 0 {
			t.Errorf("cut at %d at most: %+v", most, s)
		}
	}
	for name, at := range map[string]int{"the first header": 0, "a payload byte": 5, "the last byte": len(wire) - 1} {
		bad := append([]byte(nil), wire...)
		bad[at] ^= 1
		if s := feed(bad, func() int { return 1000 }); s.Wrong != 1 || s.Exchanges != 0 {
			t.Errorf("%s changed: %+v", name, s)
		}
	}
	if s := feed(append(append([]byte(nil), wire...), 0x17, 3, 3, 0, 1, 9), func() int { return 1 << 20 }); s.Wrong != 1 {
		t.Errorf("more than asked for: %+v", s)
	}
}

// TestProxyHeader: the proxy's own parser reads both versions.
func TestProxyHeader(t *testing.T) {
	for _, version := range []int{1, 2} {
		l, g := testGroup(FakeTLS)
		g.Header = version
		b := l.appendProxyHeader(nil, &conn{group: g, index: 5})
		h, n, err := edge.ParseHeader(b)
		if err != nil || n != len(b) || int(h.Version) != version || h.Source != netip.MustParseAddrPort("203.0.113.5:1029") {
			t.Errorf("%s: %+v, %d, %v", hex.EncodeToString(b), h, n, err)
		}
	}
}

// TestFlightLen: what the load waits for is what the far side sends.
func TestFlightLen(t *testing.T) {
	l, g := testGroup(Stranger)
	c := &conn{fd: -1, group: g, phase: flight}
	l.keep(c)
	b := make([]byte, far.FlightLen+1)
	task.Fill(b, 0, 0)
	l.feedFlight(c, b)
	if g.stats.Wrong != 1 {
		t.Errorf("a byte too many: %+v", g.stats)
	}
}
