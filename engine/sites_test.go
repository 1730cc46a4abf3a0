package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/bench/client"
	"sluice/bench/stand"
	"sluice/engine/config"
	"sluice/engine/edge"
	"sluice/engine/front"
)

// elsewhere is a front of its own: it says its name to everybody who has sent something.
func elsewhere(t *testing.T, name string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
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
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(patience))
				if n, _ := c.Read(make([]byte, 1<<10)); n > 0 {
					_, _ = io.WriteString(c, name)
				}
			}()
		}
	}()
	return l.Addr().String()
}

// Each server name leads to its own front, however the hello comes, and whatever is wrong with it.
func TestSeveralFronts(t *testing.T) {
	p := start(t)
	other := client.Secret{Key: [16]byte{7}, Host: "other.example"}
	a, b, rest := elsewhere(t, "a"), elsewhere(t, "b"), elsewhere(t, "rest")
	cfg := p.config("SLUICE_SECRET="+secret.String()+","+other.String(), "SLUICE_FRONT="+rest+","+other.Host+"="+a+",*.b.example="+b)
	if err := p.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	hello := func(host string) []byte { return client.Hello{Host: host}.Foreign() }
	long := 2 * moment
	for _, c := range []struct {
		what  string
		said  []byte
		cut   int
		pause time.Duration
		want  string
	}{
		{"the other name", hello("other.example"), 0, 0, "a"},
		{"the other name, in capitals", hello("OTHER.example"), 0, 0, "a"},
		{"a name below", hello("x.b.example"), 0, 0, "b"},
		{"any name", hello("b.example"), 0, 0, "rest"},
		{"no name", hello(""), 0, 0, "rest"},
		{"no hello", []byte("GET / HTTP/1.1\r\nHost: other.example\r\n\r\n"), 0, 0, "rest"},
		{"an older hello", []byte(strings.Replace(string(hello("other.example")), "\x03\x04", "\x03\x02", 1)), 0, 0, "a"},
		{"slowly, the name at first", hello("other.example"), 300, long, "a"},
		{"slowly, the name at last", hello("other.example"), 60, long, "a"},
		{"in pieces", hello("other.example"), 60, 0, "a"},
	} {
		s := p.dial()
		mustWrite(t, s, c.said[:c.cut])
		time.Sleep(c.pause)
		mustWrite(t, s, c.said[c.cut:])
		if got, err := io.ReadAll(s); string(got) != c.want || err != nil {
			t.Errorf("%s leads to %q (%v), want %q", c.what, got, err, c.want)
		}
		_ = s.Close()
	}
	for _, s := range []client.Secret{secret, other} {
		p.download(p.session(client.Config{Secret: s}), 1000)
	}
	p.eventually("every place is given back", func() bool { return p.places.Used() == 0 })
}

// A client's handshake looks like that of its own name's front, and a reload does not forget what was learned.
func TestEachFrontIsLearned(t *testing.T) {
	p := start(t)
	other := client.Secret{Key: [16]byte{7}, Host: "a-name-that-is-longer.other.example"} // in the certificate, thrice
	settings := []string{"SLUICE_SECRET=" + secret.String() + "," + other.String()}
	fronts := "SLUICE_FRONT="
	for i, host := range []string{secret.Host, other.Host} {
		site, err := stand.ListenSite("127.0.0.1:0", host)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(site.Close)
		if i > 0 {
			fronts += ",*.other.example="
		}
		fronts += site.Addr().String()
	}
	if err := p.Reload(p.config(append(settings, fronts)...)); err != nil {
		t.Fatal(err)
	}
	sites := p.live.Load().sites.all
	p.eventually("both are learned", func() bool { return sites[0].match.Load() != nil && sites[1].match.Load() != nil })
	records := []int{sites[0].shape.Load().Record, sites[1].shape.Load().Record}
	if records[0] == records[1] {
		t.Fatalf("two fronts whose handshakes have the same size, %d: the test shows nothing", records[0])
	}
	for range 2 {
		for i, s := range []client.Secret{secret, other} {
			if got := p.session(client.Config{Secret: s}).Flight.Final; got != records[i] {
				t.Errorf("%s: a last record of %d bytes, its front's has %d", s.Host, got, records[i])
			}
		}
		if err := p.Reload(p.config(append(settings, fronts, "SLUICE_HANDSHAKE_TIMEOUT=11s")...)); err != nil {
			t.Fatal(err)
		}
	}
}

// The look tries each of a front's addresses, like the dials for strangers.
func TestLookAtAnotherAddress(t *testing.T) {
	p := start(t)
	web, err := stand.ListenSite("127.0.0.1:0", secret.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(web.Close)
	resolved := make(chan struct{})
	f, err := front.New(front.Config{
		Host: "front.example", Port: web.Addr().Port(),
		Resolve: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.1")}, nil
		},
		Resolved: func(bool, error) { close(resolved) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { f.Run(ctx) })
	defer running.Wait()
	defer stop()
	<-resolved
	if flight, err := p.lookAt(ctx, p.live.Load().cfg, &site{Front: f, host: secret.Host}); err != nil || len(flight.Records) == 0 {
		t.Errorf("%+v, %v", flight, err)
	}
}

// A reload in the moment of the start does not leave two of those who look at the front.
func TestReloadAtTheStart(t *testing.T) {
	p := start(t)
	if err := p.Reload(p.config()); err != nil {
		t.Fatal(err)
	}
	p.startUpkeep() // which a slower start comes to only now
	p.eventually("one looks at the front", func() bool {
		b := make([]byte, 1<<20)
		return strings.Count(string(b[:runtime.Stack(b, true)]), "engine.(*Engine).learn(") == 1
	})
}

// A front is looked at by the name of a secret that leads to it: another's, it may refuse.
func TestEachFrontIsLookedAtByAName(t *testing.T) {
	p := start(t)
	at := elsewhere(t, "site")
	for _, c := range []struct{ fronts, want string }{
		{at, "front.exam.test"},
		{at + ",a.example=" + at, "front.exam.test a.example"},
		{at + ",front.exam.test=" + at, "other.example front.exam.test"},
		{at + ",front.exam.test=" + at + ",*.example=" + at, "front.exam.test front.exam.test other.example"},
		{"site.invalid," + "front.exam.test=" + at + ",*.example=" + at, "site.invalid front.exam.test other.example"},
		{at + ",*.exam.test=" + at + ",front.exam.test=" + at, "other.example www.exam.test front.exam.test"},
	} {
		other := client.Secret{Key: [16]byte{7}, Host: "other.example"}
		mine := client.Secret{Key: secret.Key, Host: "front.exam.test"}
		if err := p.Reload(p.config("SLUICE_SECRET="+mine.String()+","+other.String(), "SLUICE_FRONT="+c.fronts)); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, s := range p.live.Load().sites.all {
			names = append(names, s.host)
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%s: looked at by %s, want %s", c.fronts, got, c.want)
		}
	}
}

// fillPlaces takes every place at the front, and gives one back each time it is called.
func (p *proxy) fillPlaces() (release func()) {
	for p.places.Take() {
	}
	return p.places.Release
}

// When all places at the front are taken strangers wait, unread, and are served in the order they came. Who comes when the line is full is
// closed. Clients notice nothing.
func TestLineAtTheFront(t *testing.T) {
	p := start(t, "SLUICE_MAX_CONNECTIONS=24") // 6 places, 3 in line
	release := p.fillPlaces()
	p.download(p.session(client.Config{}), 1000)
	p.download(p.session(client.Config{Cuts: []int{10}, Gap: 2 * moment}), 1000) // no place for its shadow

	var line []*net.TCPConn
	for i := range 3 {
		s := p.dial()
		mustWrite(t, s, []byte{'G', 'E', 'T', byte('0' + i)})
		p.eventually("it waits", func() bool { return p.places.Waiting() == i+1 })
		line = append(line, s)
	}
	late := p.dial()
	mustWrite(t, late, []byte("GET?"))
	mustEnd(t, late)
	if n := p.frontRefused[frontFull].Value(); n != 1 {
		t.Errorf("%d were refused, want the one for whom there was no room", n)
	}
	big := bytes.Repeat([]byte("more "), 100_000)
	go func() { _, _ = line[0].Write(big) }() // what it says meanwhile is kept by the kernel
	for i, s := range line {
		release()
		f := p.atFront()
		mustRead(t, f, []byte{'G', 'E', 'T', byte('0' + i)})
		if i == 0 {
			mustRead(t, f, big)
		}
		mustWrite(t, f, []byte("answer"))
		mustRead(t, s, []byte("answer"))
	}
	if p.places.Waiting() != 0 || p.budget.waiting() != 0 {
		t.Error("somebody still waits")
	}
}

// Who waits too long is closed; who has gone meanwhile costs the next nothing.
func TestLineEnds(t *testing.T) {
	p := start(t, "SLUICE_MAX_CONNECTIONS=24")
	release := p.fillPlaces()
	gone, stays := p.dial(), p.dial()
	mustWrite(t, gone, []byte("GET gone"))
	p.eventually("it waits", func() bool { return p.places.Waiting() == 1 })
	mustWrite(t, stays, []byte("GET stays"))
	p.eventually("it waits, too", func() bool { return p.places.Waiting() == 2 })
	_ = gone.SetLinger(0)
	_ = gone.Close()
	release()
	release()
	for {
		f := p.atFront()
		if b, _ := io.ReadAll(io.LimitReader(f, 9)); string(b) == "GET stays" {
			break
		}
	}
	p.eventually("who has gone gives the place back", func() bool { return p.places.Used() == p.places.Count()-1 })
	p.places.Take()
	late := p.dial()
	mustWrite(t, late, []byte("GET late"))
	p.eventually("it waits", func() bool { return p.places.Waiting() == 1 })
	p.places.Sweep(time.Now().Add(lineTime / 2))
	if p.places.Waiting() != 1 {
		t.Error("half of the time was too much")
	}
	p.places.Sweep(time.Now().Add(lineTime + time.Second))
	mustEnd(t, late)
	if n := p.frontRefused[frontLate].Value(); n != 1 {
		t.Errorf("%d were late, want 1", n)
	}
}

// parked is how many connections wait for the end of a look.
func (p *proxy) parked() (n int) {
	p.looks.mu.Lock()
	defer p.looks.mu.Unlock()
	for _, k := range p.looks.all {
		n += len(k.parked)
	}
	return n
}

// exchange carries bytes between c and another address, where early was said already, and closes c.
func exchange(c net.Conn, addr string, early []byte) {
	defer c.Close()
	back, err := net.DialTimeout("tcp", addr, 2*time.Second)
	if err != nil {
		return
	}
	defer back.Close()
	_, _ = back.Write(early)
	go func() {
		_, _ = io.Copy(struct{ io.Writer }{back}, c) // not by the pipes that Go keeps for later
		_ = back.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(struct{ io.Writer }{c}, back)
}

// A front that leads back here by a way that cannot be seen is found out by the proxy's own look at it: strangers are then closed at once
// instead of going round, and the loop is over when the front is mended.
func TestLoopIsFound(t *testing.T) {
	for name, settings := range map[string][]string{
		"plain":                                 nil,
		"with a header v1 that is not expected": {"SLUICE_FRONT_PROXY_PROTOCOL=v1"},
		"with a header v2 that is not expected": {"SLUICE_FRONT_PROXY_PROTOCOL=v2"},
		"with a header v1":                      {"SLUICE_FRONT_PROXY_PROTOCOL=v1", "SLUICE_PROXY_PROTOCOL=required"},
		"with a header v2":                      {"SLUICE_FRONT_PROXY_PROTOCOL=v2", "SLUICE_PROXY_PROTOCOL=required"},
		"without the header that is expected":   {"SLUICE_PROXY_PROTOCOL=required"},
	} {
		t.Run(name, func(t *testing.T) { testLoop(t, settings) })
	}
}

func testLoop(t *testing.T, settings []string) {
	p := start(t, settings...)
	round, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer round.Close()
	go func() { // a load balancer that leads to the proxy
		for {
			c, err := round.Accept()
			if err != nil {
				return
			}
			go exchange(c, p.addr.String(), nil)
		}
	}()
	if err := p.Reload(p.config(append(settings, "SLUICE_FRONT="+round.Addr().String())...)); err != nil {
		t.Fatal(err)
	}
	site := p.live.Load().sites.all[0]
	p.eventually("the loop is found", site.looped.Load)
	p.eventually("and told of", func() bool { return strings.Contains(p.log.String(), "come back to this proxy") })
	for range 2 { // the next looks find it, too
		seen := site.looked.Load()
		site.lookAgain()
		p.eventually("it has looked again", func() bool { return site.looked.Load() > seen })
		p.eventually("the look is over", func() bool { return p.looks.some.Load() == 0 })
		if !site.looped.Load() {
			t.Fatal("the loop is forgotten")
		}
	}
	before := p.frontRefused[frontLoops].Value()
	for _, said := range []string{"GET / HTTP/1.1\r\n\r\n", string(client.Hello{Host: secret.Host}.Foreign())} {
		s := p.dial()
		mustWrite(t, s, []byte(said))
		if b, _ := io.ReadAll(s); len(b) > 0 {
			t.Errorf("%q", b)
		}
	}
	if n := p.frontRefused[frontLoops].Value() - before; n < 2 { // a look is cut, too
		t.Errorf("%d strangers were cut, want 2", n)
	}
	if p.live.Load().cfg.Edges[0].Header == config.Off {
		p.download(p.session(client.Config{}), 1000)
	}
	p.eventually("every place is given back", func() bool { return p.places.Used() == 0 && p.places.Waiting() == 0 })
	if err := p.Reload(p.config("SLUICE_FRONT=" + elsewhere(t, "site"))); err != nil {
		t.Fatal(err)
	}
	s := p.dial()
	mustWrite(t, s, []byte("GET / HTTP/1.1\r\n\r\n"))
	mustRead(t, s, []byte("site"))
}

// A front that begins to lead back here: a single stranger soon holds all places. The proxy looks when somebody has to wait, though its own look finds
// no place, either; the loop then comes apart but for the stranger himself, who stays; and its end is noticed.
func TestLoopFillsEveryPlace(t *testing.T) {
	p := start(t, "SLUICE_MAX_CONNECTIONS=40") // 10 places, 5 in line
	real, err := stand.ListenSite("127.0.0.1:0", secret.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(real.Close)
	balancer, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer balancer.Close()
	var looping atomic.Bool
	go func() {
		for {
			c, err := balancer.Accept()
			if err != nil {
				return
			}
			to := real.Addr().String()
			if looping.Load() {
				to = p.addr.String()
			}
			go exchange(c, to, nil)
		}
	}()
	if err := p.Reload(p.config("SLUICE_FRONT="+balancer.Addr().String(), "SLUICE_MAX_CONNECTIONS=40")); err != nil {
		t.Fatal(err)
	}
	front := p.live.Load().sites.all[0]
	p.eventually("the front is known", func() bool { return front.match.Load() != nil })
	looping.Store(true)
	first := p.dial()
	mustWrite(t, first, []byte("GET / HTTP/1.1\r\n\r\n"))
	p.eventually("all places are taken", p.places.Full)
	p.eventually("the loop is found", front.looped.Load)
	p.eventually("nobody else holds a place or waits for one", func() bool { return p.places.Used() == 1 && p.places.Waiting() == 0 })
	mustEnd(t, first)
	_ = first.Close()
	p.eventually("the place is given back", func() bool { return p.places.Used() == 0 })
	looping.Store(false)
	p.eventually("the loop's end is noticed", func() bool { return !front.looped.Load() })
	s := p.dial()
	mustWrite(t, s, client.Hello{Host: secret.Host}.Foreign())
	mustRead(t, s, []byte{0x16, 3, 3})
}

// Who sees the proxy look at its front and says the same sees the front like anybody else, and makes nobody believe in a loop.
func TestLookSaidAgain(t *testing.T) {
	p := start(t)
	site, err := stand.ListenSite("127.0.0.1:0", secret.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(site.Close)
	way, err := net.Listen("tcp", "127.0.0.1:0") // to the site, on which somebody listens
	if err != nil {
		t.Fatal(err)
	}
	defer way.Close()
	heard, goOn := make(chan []byte, 1), make(chan struct{})
	go func() {
		for first := true; ; first = false {
			c, err := way.Accept()
			if err != nil {
				return
			}
			hello := make([]byte, 5)
			_, _ = io.ReadFull(c, hello)
			hello = append(hello, make([]byte, binary.BigEndian.Uint16(hello[3:]))...)
			_, _ = io.ReadFull(c, hello[5:])
			go func() {
				if first {
					heard <- hello
					<-goOn
				}
				exchange(c, site.Addr().String(), hello)
			}()
		}
	}()
	if err := p.Reload(p.config("SLUICE_FRONT=" + way.Addr().String())); err != nil {
		t.Fatal(err)
	}
	hello, front := <-heard, p.live.Load().sites.all[0]
	same := p.dial()
	mustWrite(t, same, hello)
	mustRead(t, same, []byte{0x16, 3, 3})
	again := p.dial()
	mustWrite(t, again, hello)
	p.eventually("it waits", func() bool { return p.parked() == 1 })
	if front.looped.Load() {
		t.Error("it is taken for a loop")
	}
	close(goOn)
	p.eventually("the look is over", func() bool { return front.match.Load() != nil })
	if front.looped.Load() {
		t.Error("it is taken for a loop when the look is over")
	}
	mustRead(t, again, []byte{0x16, 3, 3})
}

// A connection to the front that comes back with our own mark in its header is cut. Of the marks of others, which anybody can write, the last are
// handed on.
func TestMarks(t *testing.T) {
	p := start(t, "SLUICE_PROXY_PROTOCOL=required", "SLUICE_FRONT_PROXY_PROTOCOL=v2")
	from, to := netip.MustParseAddrPort("192.0.2.1:1234"), netip.MustParseAddrPort("198.51.100.1:443")
	visit := func(marks string) *net.TCPConn {
		s := p.dial()
		mustWrite(t, s, append(edge.AppendHeader(nil, 2, from, to, []byte(marks)), "GET / HTTP/1.0\r\n\r\n"...))
		return s
	}
	const other = "another-"
	own := string(p.marker[:])
	for _, marks := range []string{own, other + own, own + other} {
		mustEnd(t, visit(marks))
	}
	if n := p.handshakes[looped].Value(); n != 3 {
		t.Errorf("%d were cut, want 3", n)
	}
	for _, marks := range []string{"", other, strings.Repeat(other, maxPassed+3), own[:edge.MarkerLen-1]} {
		s := visit(marks)
		f := p.atFront()
		whole := marks[:min(len(marks)/edge.MarkerLen, maxPassed-1)*edge.MarkerLen]
		want := append(edge.AppendHeader(nil, 2, from, addrPort(s.RemoteAddr()), []byte(whole+own)), "GET / HTTP/1.0\r\n\r\n"...)
		mustRead(t, f, want)
	}
}
