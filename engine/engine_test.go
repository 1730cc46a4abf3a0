package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/bench/client"
	"sluice/bench/stand"
	"sluice/engine/edge"
)

func TestSessions(t *testing.T) {
	for _, aligned := range []string{"on", "off"} {
		t.Run("aligned "+aligned, func(t *testing.T) {
			p := start(t, "SLUICE_ALIGNED_DOWNLOADS="+aligned)
			for name, cfg := range map[string]client.Config{
				"classic":                 {},
				"hybrid":                  {Hello: client.Hello{Hybrid: true}},
				"frame alone":             {AloneFrame: true},
				"media":                   {DC: -2},
				"dc not said":             {DC: 0},
				"tiny records":            {MaxRecord: 1},
				"long records":            {MaxRecord: 65535},
				"intermediate":            {Tag: client.Intermediate},
				"abridged":                {Tag: client.Abridged},
				"thirty records":          {HelloRecords: 30},
				"cut":                     {Cuts: []int{1, 5, 43, 44, 516}, Gap: time.Millisecond},
				"host in other case":      {Hello: client.Hello{Host: "FRONT.Example"}},
				"clock behind":            {Hello: client.Hello{Time: time.Now().Add(-4 * time.Minute)}},
				"clock ahead":             {Hello: client.Hello{Time: time.Now().Add(20 * time.Second)}},
				"slower than a moment":    {Cuts: []int{100}, Gap: moment + 200*time.Millisecond},
				"slow, with thirty parts": {HelloRecords: 30, Cuts: []int{50, 300}, Gap: moment},
			} {
				t.Run(name, func(t *testing.T) {
					q := *p
					q.t = t
					c := q.session(cfg)
					q.download(c, 300_000)
				})
			}
			p.eventually("every relay is closed", func() bool { return p.budget.relays() == 0 })
			for _, s := range p.dc.Sessions() {
				if s.DC != 0 && s.DC != -2 {
					t.Errorf("the DC was told %d", s.DC)
				}
			}
			if p.dc.BadFrames() != 0 {
				t.Errorf("%d bad frames reached the DC", p.dc.BadFrames())
			}
		})
	}
}

// Every "no" before the flight goes to the front with every byte.
func TestRefusals(t *testing.T) {
	p := start(t)
	good := client.Hello{Host: secret.Host}
	used := p.session(client.Config{}).HelloSent
	record := func(b ...byte) []byte { return b }
	for name, c := range map[string]struct {
		sent   []byte
		result cause
	}{
		"http":              {[]byte("GET / HTTP/1.1\r\n\r\n"), notTLS},
		"one odd byte":      {record(0), notTLS},
		"alert":             {record(0x15, 3, 1, 0, 2, 1, 0), notTLS},
		"record of 65535":   {record(0x16, 3, 1, 0xff, 0xff), badHello},
		"no server hello":   {record(0x16, 3, 1, 0, 4, 2, 0, 0, 0), badHello},
		"stranger":          {good.Foreign(), badDigest},
		"unknown name":      {client.Hello{Host: "other.example"}.Sign(secret.Key), unknownName},
		"TLS 1.2":           {client.Hello{Host: secret.Host, TLS12: true}.Sign(secret.Key), noTLS13},
		"clock too slow":    {client.Hello{Host: secret.Host, Time: time.Now().Add(-6 * time.Minute)}.Sign(secret.Key), clockSkew},
		"clock too fast":    {client.Hello{Host: secret.Host, Time: time.Now().Add(40 * time.Second)}.Sign(secret.Key), clockSkew},
		"hours off":         {client.Hello{Host: secret.Host, Time: time.Now().Add(9 * time.Hour)}.Sign(secret.Key), clockSkew},
		"replay":            {used, replayed},
		"more than a hello": {append([]byte{0x16, 3, 1, 0x40, 0, 1, 0, 0x7f, 0xff}, make([]byte, 17<<10)...), helloTooLong},
	} {
		t.Run(name, func(t *testing.T) {
			q := *p
			q.t = t
			before := q.handshakes[c.result].Value()
			s := q.dial()
			mustWrite(t, s, c.sent)
			f := q.atFront()
			mustRead(t, f, c.sent)
			mustWrite(t, f, []byte("the front's answer"))
			_ = s.CloseWrite()
			mustEnd(t, f)
			_ = f.Close()
			mustRead(t, s, []byte("the front's answer"))
			mustEnd(t, s)
			if got := q.handshakes[c.result].Value() - before; got != 1 {
				t.Errorf("counted %d times as %v\n%v", got, c.result, q.log)
			}
		})
	}
}

// A client that is slow to say who it is has the front's clock running, and the front may speak first.
func TestShadows(t *testing.T) {
	p := start(t)
	hello := client.Hello{Host: secret.Host}.Foreign()
	t.Run("half a hello, then the rest", func(t *testing.T) {
		q := *p
		q.t = t
		s := q.dial()
		mustWrite(t, s, hello[:100])
		f := q.atFront()
		mustRead(t, f, hello[:100])
		mustWrite(t, s, hello[100:200])
		mustRead(t, f, hello[100:200])
		mustWrite(t, s, hello[200:])
		mustRead(t, f, hello[200:])
		mustWrite(t, f, []byte("answer"))
		mustRead(t, s, []byte("answer"))
	})
	t.Run("half a hello, then the front hangs up", func(t *testing.T) {
		q := *p
		q.t = t
		s := q.dial()
		mustWrite(t, s, hello[:100])
		f := q.atFront()
		mustRead(t, f, hello[:100])
		mustWrite(t, f, []byte("too slow"))
		_ = f.Close()
		mustRead(t, s, []byte("too slow"))
		mustEnd(t, s)
	})
	t.Run("half a hello, then the end", func(t *testing.T) {
		q := *p
		q.t = t
		for _, pause := range []time.Duration{0, 2 * moment} {
			s := q.dial()
			mustWrite(t, s, hello[:100])
			time.Sleep(pause)
			_ = s.CloseWrite()
			f := q.atFront()
			mustRead(t, f, hello[:100])
			mustEnd(t, f)
			mustWrite(t, f, []byte("answer"))
			_ = f.Close()
			mustRead(t, s, []byte("answer"))
			mustEnd(t, s)
		}
	})
	t.Run("silence", func(t *testing.T) {
		q := *p
		q.t = t
		s := q.dial()
		f := q.atFront()
		mustWrite(t, f, []byte("hello?"))
		mustRead(t, s, []byte("hello?"))
	})
	t.Run("one of ours after all", func(t *testing.T) {
		q := *p
		q.t = t
		c := q.session(client.Config{Cuts: []int{10}, Gap: 2 * moment})
		f := q.atFront()
		if b, _ := io.ReadAll(f); len(b) != 10 {
			t.Errorf("the front saw %d bytes, want the 10 that came before the verdict", len(b))
		}
		q.download(c, 1000)
	})
	t.Run("reset", func(t *testing.T) {
		q := *p
		q.t = t
		s := q.dial()
		mustWrite(t, s, hello[:100])
		f := q.atFront()
		mustRead(t, f, hello[:100])
		_ = s.SetLinger(0)
		_ = s.Close()
		if _, err := io.ReadAll(f); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("the front sees %v, want a reset", err)
		}
	})
	p.eventually("no place at the front is taken", func() bool { return p.places.Used() <= 2 })
}

func TestSlowHelloEndsAtTheFront(t *testing.T) {
	p := start(t, "SLUICE_HANDSHAKE_TIMEOUT=1s")
	s := p.dial()
	mustWrite(t, s, []byte{0x16, 3, 1})
	f := p.atFront()
	mustRead(t, f, []byte{0x16, 3, 1})
	p.eventually("its time is over", func() bool { return p.handshakes[helloTimeout].Value() == 1 })
	mustWrite(t, s, []byte("later"))
	mustRead(t, f, []byte("later"))
	mustWrite(t, f, []byte("answer"))
	mustRead(t, s, []byte("answer"))
}

// Whoever has proved the secret and then sends nonsense is closed quietly, and never sees the front.
func TestBadFrames(t *testing.T) {
	p := start(t, "SLUICE_HANDSHAKE_TIMEOUT=1s")
	for name, c := range map[string]struct {
		cfg    client.Config
		after  []byte
		result cause
	}{
		"unknown tag":   {client.Config{Tag: 0x12345678}, nil, badFrame},
		"unknown dc":    {client.Config{DC: 77}, nil, unknownDC},
		"handshake":     {client.Config{}, []byte{0x16, 3, 3, 0, 1, 0}, badFrame},
		"nothing":       {client.Config{}, []byte{}, frameTimeout},
		"half a frame":  {client.Config{}, append([]byte{0x17, 3, 3, 0, 64}, make([]byte, 30)...), frameTimeout},
		"only records":  {client.Config{}, bytes.Repeat([]byte{0x17, 3, 3, 0, 0}, 8000), badFrame},
		"close at once": {client.Config{}, nil, frameEnd},
	} {
		t.Run(name, func(t *testing.T) {
			q := *p
			q.t = t
			s := q.session(c.cfg)
			switch {
			case c.result == frameEnd:
				_ = s.Close()
			case c.after != nil:
				_, _ = s.TCPConn.Write(c.after)
			default:
				_ = s.Flush()
			}
			if c.result != frameEnd {
				if b, _ := io.ReadAll(s.TCPConn); len(b) != 0 {
					t.Errorf("answered with %x", b)
				}
			}
			q.eventually("counted as "+c.result.String(), func() bool { return q.handshakes[c.result].Value() > 0 })
		})
	}
	select {
	case <-p.fronts:
		t.Error("somebody was sent to the front")
	default:
	}
}

func TestProxyHeaders(t *testing.T) {
	from, to := netip.MustParseAddrPort("192.0.2.1:1234"), netip.MustParseAddrPort("198.51.100.1:443")
	for _, c := range []struct {
		policy string
		prefix []byte
		result headerResult
		good   bool
	}{
		{"off", nil, headerResults, true},
		{"off", edge.AppendHeader(nil, 1, from, to, nil), headerUnexpected, false},
		{"off", edge.AppendHeader(nil, 2, from, to, nil), headerUnexpected, false},
		{"optional", nil, headerResults, true},
		{"optional", edge.AppendHeader(nil, 1, from, to, nil), headerV1, true},
		{"optional", edge.AppendHeader(nil, 2, from, to, nil), headerV2, true},
		{"required", nil, headerAbsent, false},
		{"required", edge.AppendHeader(nil, 1, from, to, nil), headerV1, true},
		{"required", edge.AppendHeader(nil, 2, from, to, nil), headerV2, true},
		{"required", []byte("PROXY UNKNOWN\r\n"), headerLocal, true},
		{"required", []byte("PROXY NONSENSE\r\n"), headerMalformed, false},
		{"required", []byte("\r\n\r\n\x00\r\nQUIT\n\x21\x12\x00\x0c0123456789ab"), headerBadFamily, false},
	} {
		t.Run(c.policy+"/"+strconv.Quote(string(c.prefix)), func(t *testing.T) {
			p := start(t, "SLUICE_PROXY_PROTOCOL="+c.policy)
			if c.good {
				p.download(p.session(client.Config{Prefix: c.prefix}), 5000)
			} else {
				sent := append(bytes.Clone(c.prefix), client.Hello{Host: secret.Host}.Sign(secret.Key)...)
				s := p.dial()
				mustWrite(t, s, sent)
				mustRead(t, p.atFront(), sent)
			}
			if c.result < headerResults && p.headers[c.result].Value() != 1 {
				t.Errorf("not counted as %v\n%v", c.result, p.log)
			}
			if c.result == headerV1 || c.result == headerV2 {
				p.eventually("the client is in the log", func() bool { return strings.Contains(p.log.String(), "client=192.0.2.1:1234") })
			}
		})
	}
	t.Run("a health check", func(t *testing.T) {
		p := start(t, "SLUICE_PROXY_PROTOCOL=required")
		_ = p.dial().Close()
		p.eventually("counted as silent", func() bool { return p.handshakes[silent].Value() == 1 })
	})
	t.Run("no header in time", func(t *testing.T) {
		p := start(t, "SLUICE_PROXY_PROTOCOL=required", "SLUICE_HANDSHAKE_TIMEOUT=1s")
		s := p.dial()
		mustWrite(t, s, []byte("PRO"))
		f := p.atFront()
		mustRead(t, f, []byte("PRO"))
		_ = f.Close()
		mustEnd(t, s)
		if p.headers[headerLate].Value() != 1 || p.handshakes[headerTimeout].Value() != 1 {
			t.Errorf("not counted\n%v", p.log)
		}
	})
}

func TestFrontIsToldTheClient(t *testing.T) {
	from, to := netip.MustParseAddrPort("192.0.2.1:1234"), netip.MustParseAddrPort("198.51.100.1:443")
	p := start(t, "SLUICE_PROXY_PROTOCOL=optional", "SLUICE_FRONT_PROXY_PROTOCOL=v1")
	s := p.dial()
	mustWrite(t, s, append(edge.AppendHeader(nil, 2, from, to, nil), "GET / HTTP/1.0\r\n\r\n"...))
	mustRead(t, p.atFront(), []byte("PROXY TCP4 192.0.2.1 127.0.0.1 1234 "+strconv.Itoa(int(p.addr.Port()))+"\r\nGET / HTTP/1.0\r\n\r\n"))
}

// Behind an unspecified listener the front is told the address that the client really dialled.
func TestFrontIsToldTheAddressDialled(t *testing.T) {
	p := start(t, "SLUICE_LISTEN=0.0.0.0:0", "SLUICE_FRONT_PROXY_PROTOCOL=v1")
	p.addr = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.3"), p.addr.Port())
	s := p.dial()
	mustWrite(t, s, []byte("GET / HTTP/1.0\r\n\r\n"))
	from := s.LocalAddr().(*net.TCPAddr).Port
	mustRead(t, p.atFront(), fmt.Appendf(nil, "PROXY TCP4 127.0.0.1 127.0.0.3 %d %d\r\nGET / HTTP/1.0\r\n\r\n", from, p.addr.Port()))
}

// A front that is down costs no client of ours anything, however slow its hello.
func TestFrontDown(t *testing.T) {
	p := start(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	if err := p.Reload(p.config("SLUICE_FRONT=" + ln.Addr().String())); err != nil {
		t.Fatal(err)
	}
	p.download(p.session(client.Config{}), 1000)
	p.download(p.session(client.Config{Cuts: []int{100}, Gap: 2 * moment}), 1000)
	s := p.dial()
	mustWrite(t, s, []byte("GET / HTTP/1.0\r\n\r\n"))
	mustEnd(t, s)
	p.eventually("every place at the front is given back", func() bool { return p.places.Used() == 0 })
}

// A limit that cannot be had is not cut in silence.
func TestLimitBeyondDescriptors(t *testing.T) {
	const said = "SLUICE_MAX_CONNECTIONS is more than"
	if p := start(t, "SLUICE_MAX_CONNECTIONS=8"); strings.Contains(p.log.String(), said) {
		t.Errorf("what is there is said to be missing:\n%s", p.log)
	}
	p := start(t, "SLUICE_MAX_CONNECTIONS=10000000")
	if !strings.Contains(p.log.String(), fmt.Sprintf("connections_limit=%d ", p.budget.connections)) || !strings.Contains(p.log.String(), said) {
		t.Errorf("the log does not say what the limit is:\n%s", p.log)
	}
}

// Too many unfinished handshakes cost the oldest their place, not the newcomers; and a limit of connections is a limit.
func TestLimits(t *testing.T) {
	t.Run("connections", func(t *testing.T) {
		p := start(t, "SLUICE_MAX_CONNECTIONS=8")
		var open []*client.Conn
		for range 8 {
			c := p.session(client.Config{})
			mustWrite(t, c, stand.Request{Op: stand.Down, Size: 10, Seed: 1}.Bytes())
			if err := stand.CheckStream(c, 1, 10); err != nil {
				t.Fatal(err)
			}
			open = append(open, c)
		}
		if _, err := p.try(client.Config{}); err == nil {
			t.Error("a ninth session was let in")
		}
		if p.refused[refusedConnections].Value() != 1 {
			t.Errorf("not counted\n%v", p.log)
		}
		_ = open[0].Close()
		p.eventually("there is room again", func() bool { return p.budget.relays() < 8 })
		p.download(p.session(client.Config{}), 1000)
	})
	t.Run("handshakes", func(t *testing.T) {
		p := start(t, "SLUICE_MAX_CONNECTIONS=40")
		for range 30 { // more than half of 40 may be in their handshake
			mustWrite(t, p.dial(), []byte{0x16})
		}
		p.eventually("some were evicted", func() bool { return p.handshakes[evicted].Value() > 0 })
		p.download(p.session(client.Config{}), 1000)
	})
}

func TestReloadTouchesNoSession(t *testing.T) {
	p := start(t)
	old := p.session(client.Config{})
	mustWrite(t, old, stand.Request{Op: stand.Echo}.Bytes())
	other := client.Secret{Key: [16]byte{9}, Host: "other.example"}
	if err := p.Reload(p.config("SLUICE_SECRET=" + other.String())); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, old, []byte("still here"))
	mustRead(t, old, []byte("still here"))
	p.download(p.session(client.Config{Secret: other}), 1000)
	if _, err := p.try(client.Config{Timeout: time.Second}); err == nil {
		t.Error("the old secret still works")
	}
	if err := p.Reload(p.config("SLUICE_FRONT=" + p.addr.String())); err == nil {
		t.Error("a front that is ourselves was accepted")
	}
	p.download(p.session(client.Config{Secret: other}), 1000)
}

func TestDrain(t *testing.T) {
	p := start(t, "SLUICE_DRAIN_TIMEOUT=10s")
	c := p.session(client.Config{})
	mustWrite(t, c, stand.Request{Op: stand.Echo}.Bytes())
	mustWrite(t, c, []byte("before"))
	mustRead(t, c, []byte("before"))
	done := make(chan struct{})
	go func() {
		p.stop()
		close(done)
	}()
	p.eventually("it drains", func() bool { return p.isReady() == errDraining })
	mustWrite(t, c, []byte("meanwhile"))
	mustRead(t, c, []byte("meanwhile"))
	_ = c.CloseWrite()
	mustEnd(t, c)
	_ = c.Close()
	<-done
}
