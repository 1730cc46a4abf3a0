package e2e

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"sluice/bench/client"
	"sluice/bench/stand"
)

// modes are the two ways to bring a download to the client.
var modes = []struct {
	name string
	env  env
}{
	{"aligned", env{"SLUICE_ALIGNED_DOWNLOADS": "on"}},
	{"re-encrypted", env{"SLUICE_ALIGNED_DOWNLOADS": "off"}},
}

func eachMode(t *testing.T, f func(t *testing.T, mode env)) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) { f(t, m.env) })
	}
}

func TestSession(t *testing.T) {
	eachMode(t, func(t *testing.T, mode env) {
		r := startRig(t, mode)
		for name, cfg := range map[string]client.Config{
			"plain hello":           {},
			"hybrid hello":          {Hello: client.Hello{Hybrid: true}},
			"frame in its record":   {AloneFrame: true},
			"frame in many records": {MaxRecord: 7},
			"long records":          {MaxRecord: 65535},
			"hello in 30 records":   {HelloRecords: 30},
			"hello in many writes":  {Cuts: []int{1, 5, 6, 11, 43, 44, 76, 300, 516}, Gap: time.Millisecond},
			"name in capitals":      {Hello: client.Hello{Host: "FRONT.Example"}},
			"intermediate":          {Tag: client.Intermediate},
			"abridged":              {Tag: client.Abridged},
			"clock behind":          {Hello: client.Hello{Time: time.Now().Add(-4 * time.Minute)}},
			"clock ahead":           {Hello: client.Hello{Time: time.Now().Add(20 * time.Second)}},
		} {
			t.Run(name, func(t *testing.T) {
				c := r.dial(t, cfg)
				if err := down(c, 300_000); err != nil {
					t.Fatalf("down: %v", err)
				}
				if err := up(c, 300_000); err != nil {
					t.Fatalf("up: %v", err)
				}
				request(t, c, stand.Request{Op: stand.Echo})
				for _, n := range []int{1, 2, 15, 16, 17, 4096, 16401, 16402, 100_000} {
					if err := echo(c, n); err != nil {
						t.Fatalf("echo of %d bytes: %v", n, err)
					}
				}
				if err := c.CloseWrite(); err != nil {
					t.Fatal(err)
				}
				if n, err := io.Copy(io.Discard, c); n != 0 || err != nil {
					t.Fatalf("the end: %d bytes, %v", n, err)
				}
			})
		}
		if n := r.dc.BadFrames(); n != 0 {
			t.Errorf("%d frames that no data centre takes", n)
		}
		wantMetric(t, r.proxy, `sluice_connections{state="relay"}`, 0)
		wantMetric(t, r.proxy, `sluice_handshakes_total{result="ok"}`, 12)
		if r.front.Accepted() > 8 { // the proxy's own look at the front's handshake, and its retries
			t.Errorf("the front was called %d times", r.front.Accepted())
		}
		quiet(t, r.proxy)
	})
}

// A hello may arrive cut anywhere.
func TestHelloCutAtEveryByte(t *testing.T) {
	r := startRig(t, nil)
	for _, hybrid := range []bool{false, true} {
		n := len(client.Hello{Host: secret.Host, Hybrid: hybrid}.Foreign())
		step := 1
		if hybrid {
			step = 7
		}
		for cut := 1; cut < n; cut += step {
			c, err := r.open(client.Config{Hello: client.Hello{Hybrid: hybrid}, Cuts: []int{cut}, Gap: 200 * time.Microsecond})
			if err != nil {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			if err := down(c, 10); err != nil {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			_ = c.Close()
		}
	}
}

// Nothing may follow the flight before the client has spoken.
func TestNothingAfterTheFlight(t *testing.T) {
	site := startSite(t)
	dc := startDC(t, "127.0.0.1:0")
	r := &rig{dc: dc, proxy: startProxy(t, env{"SLUICE_FRONT": site.Addr().String(), "SLUICE_DC_2": dc.Addr().String()})}
	for range 5 {
		c := r.dial(t, client.Config{})
		time.Sleep(300 * time.Millisecond) // time for tickets, which no client could bear
		if c.Waiting() {
			t.Fatal("something came after the flight")
		}
		if err := down(c, 1); err != nil {
			t.Fatal(err)
		}
	}
}

// The flight's last record takes the size that the front's own handshake has, once that is known.
func TestFlightIsLearned(t *testing.T) {
	site := startSite(t)
	dc := startDC(t, "127.0.0.1:0")
	r := &rig{dc: dc, proxy: startProxy(t, env{"SLUICE_FRONT": site.Addr().String(), "SLUICE_DC_2": dc.Addr().String()})}
	if _, err := r.proxy.AwaitLog(patience, func(l stand.Line) bool { return l.Get("msg") == "learned the front's handshake" }); err != nil {
		t.Fatal(err)
	}
	want, err := r.proxy.Metric(`sluice_flight_record_bytes{front="1"}`)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if c := r.dial(t, client.Config{}); c.Flight.Final != int(want) {
			t.Errorf("the flight's last record has %d bytes, the front's has %v", c.Flight.Final, want)
		}
	}
}

func TestHybridKeyShare(t *testing.T) {
	site := startSite(t) // of Go: it answers X25519MLKEM768
	dc := startDC(t, "127.0.0.1:0")
	for setting, want := range map[string]uint16{"on": 0x11ec, "off": 0x001d} {
		r := &rig{dc: dc, proxy: startProxy(t, env{
			"SLUICE_FRONT": site.Addr().String(), "SLUICE_DC_2": dc.Addr().String(), "SLUICE_HYBRID_KEY_SHARE": setting,
		})}
		if _, err := r.proxy.AwaitLog(patience, func(l stand.Line) bool { return l.Get("msg") == "learned the front's handshake" }); err != nil {
			t.Fatal(err)
		}
		if c := r.dial(t, client.Config{Hello: client.Hello{Hybrid: true}}); c.Flight.Group != want {
			t.Errorf("%s: the flight answers group %#x, want %#x", setting, c.Flight.Group, want)
		}
		if c := r.dial(t, client.Config{}); c.Flight.Group != 0x001d {
			t.Errorf("%s: a client without the hybrid share gets group %#x", setting, c.Flight.Group)
		}
	}
}

// Every data centre has its own addresses, the id is passed on as it was signed, and so is the tag.
func TestDataCentres(t *testing.T) {
	eachMode(t, func(t *testing.T, mode env) {
		settings := env{"SLUICE_FRONT": startPlain(t).Addr().String()}
		dcs := map[int]*stand.DC{}
		for n, name := range map[int]string{
			1: "DC_1", 2: "DC_2", 3: "DC_3", 4: "DC_4", 5: "DC_5", 203: "DC_203",
			10001: "DC_TEST_1", 10002: "DC_TEST_2", 10003: "DC_TEST_3",
		} {
			addr := "127.0.0.1:0"
			if n%2 == 1 {
				addr = "[::1]:0"
			}
			dcs[n] = startDC(t, addr)
			settings["SLUICE_"+name] = dcs[n].Addr().String()
		}
		r := &rig{proxy: startProxy(t, settings.with(mode))}
		tags := []uint32{client.Padded, client.Intermediate, client.Abridged}
		for i, id := range []int16{1, 2, 3, 4, 5, 203, -1, -2, -3, -4, -5, -203, 10001, 10002, 10003, -10001, -10002, -10003} {
			n := int(id)
			if n < 0 {
				n = -n
			}
			before := len(dcs[n].Sessions())
			c := r.dial(t, client.Config{DC: id, Tag: tags[i%len(tags)]})
			if err := down(c, 100_000); err != nil {
				t.Fatalf("data centre %d: %v", id, err)
			}
			got := dcs[n].Sessions()[before:]
			if len(got) != 1 || got[0].DC != id || got[0].Tag != tags[i%len(tags)] {
				t.Errorf("data centre %d, tag %x: it was told %+v", id, tags[i%len(tags)], got)
			}
		}
	})
}

// A client that names no data centre gets the default one; one that names an unknown one is closed without a word.
func TestDataCentreZeroAndUnknown(t *testing.T) {
	r := startRig(t, nil)
	zero, err := client.Dial(context.Background(), client.Config{Addr: r.proxy.Addr(), Secret: secret, DC: 0})
	if err != nil {
		t.Fatal(err)
	}
	defer zero.Close()
	if err := down(zero, 10); err != nil {
		t.Errorf("data centre 0: %v", err)
	}
	c := r.dial(t, client.Config{DC: 77})
	_ = c.Flush()
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("data centre 77 answers")
	}
	wantMetric(t, r.proxy, `sluice_handshakes_total{result="unknown_dc"}`, 1)
}

// The aligned frame lets the DC cipher with the client's keys: what it sends must reach the client unchanged. Both frames
// must be ones that a DC accepts, and two sessions must never share one.
func TestFramesAreFresh(t *testing.T) {
	eachMode(t, func(t *testing.T, mode env) {
		r := startRig(t, mode)
		for range 50 {
			c := r.dial(t, client.Config{})
			if err := down(c, 3); err != nil {
				t.Fatal(err)
			}
		}
		seen := map[[stand.FrameLen]byte]bool{}
		for _, s := range r.dc.Sessions() {
			seen[s.Wire] = true
		}
		if len(seen) != 50 || r.dc.BadFrames() != 0 {
			t.Errorf("%d different frames for 50 sessions, %d bad ones", len(seen), r.dc.BadFrames())
		}
	})
}

// The next address is tried when the first one refuses, and preferred for a while after that.
func TestFailover(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refuses := dead.Addr().String()
	_ = dead.Close()
	dc := startDC(t, "[::1]:0")
	r := &rig{dc: dc, proxy: startProxy(t, env{
		"SLUICE_FRONT": startPlain(t).Addr().String(), "SLUICE_DC_2": refuses + "," + dc.Addr().String(),
	})}
	for i := range 10 {
		if err := down(r.dial(t, client.Config{}), 1000); err != nil {
			t.Fatalf("session %d: %v", i, err)
		}
	}
	wantMetric(t, r.proxy, `sluice_dc_dials_total{dc="2",result="refused"}`, 1)
	wantMetric(t, r.proxy, `sluice_dc_dials_total{dc="2",result="ok"}`, 10)
	wantMetric(t, r.proxy, fmt.Sprintf(`sluice_dc_address_healthy{dc="2",address=%q}`, refuses), 0)
}

// When no address answers, the client is closed: it then tries again by itself.
func TestNoDataCentre(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = dead.Close()
	r := &rig{proxy: startProxy(t, env{"SLUICE_FRONT": startPlain(t).Addr().String(), "SLUICE_DC_2": dead.Addr().String()})}
	c := r.dial(t, client.Config{})
	_ = c.Flush()
	if _, err := c.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("without a data centre: %v", err)
	}
	wantMetric(t, r.proxy, `sluice_connections{state="relay"}`, 0)
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

func TestIPv6(t *testing.T) {
	r := startRig(t, env{"SLUICE_LISTEN": "[::1]:0"})
	if !r.proxy.Addr().Addr().Is6() {
		t.Fatalf("listening at %v", r.proxy.Addr())
	}
	if err := down(r.dial(t, client.Config{}), 100_000); err != nil {
		t.Fatal(err)
	}
}

// ":port" takes clients of both families.
func TestBothFamilies(t *testing.T) {
	r := startRig(t, env{"SLUICE_LISTEN": ":0"})
	for _, ip := range []string{"127.0.0.1", "::1"} {
		addr := netip.AddrPortFrom(netip.MustParseAddr(ip), r.proxy.Addr().Port())
		if err := down(r.dial(t, client.Config{Addr: addr}), 100_000); err != nil {
			t.Errorf("%s: %v", ip, err)
		}
	}
}

// Whoever the secret does not vouch for is at the front, whatever it is that is wrong.
func TestToTheFront(t *testing.T) {
	site := startSite(t)
	dc := startDC(t, "127.0.0.1:0")
	r := &rig{dc: dc, proxy: startProxy(t, env{"SLUICE_FRONT": site.Addr().String(), "SLUICE_DC_2": dc.Addr().String()})}
	other := secret
	other.Key[0]++
	replayed := r.dial(t, client.Config{})
	for name, cfg := range map[string]client.Config{
		"wrong key":        {Secret: other},
		"another name":     {Hello: client.Hello{Host: "other.example"}},
		"no TLS 1.3":       {Hello: client.Hello{TLS12: true}},
		"clock behind":     {Hello: client.Hello{Time: time.Now().Add(-time.Hour)}},
		"clock ahead":      {Hello: client.Hello{Time: time.Now().Add(time.Hour)}},
		"replay":           {Raw: replayed.HelloSent},
		"replay, 30 parts": {Raw: replayed.HelloSent, HelloRecords: 30},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := r.open(cfg)
			if err == nil {
				_ = c.Close()
				t.Fatal("served as a client")
			}
			if isTimeout(err) {
				t.Fatalf("no answer: %v", err)
			}
		})
	}
	for result, want := range map[string]float64{"bad_digest": 1, "unknown_name": 1, "no_tls13": 1, "clock_skew": 2, "replay": 2, "ok": 0} {
		wantMetric(t, r.proxy, fmt.Sprintf(`sluice_handshakes_total{result=%q}`, result), want)
	}
	if got := leafSeenAt(t, r.proxy.Addr()); got != sha256.Sum256(site.Certificate.Raw) {
		t.Error("the proxy shows another certificate than the front")
	}
}

// Of one hello that comes many times at once, exactly one is served.
func TestOneHelloManyTimes(t *testing.T) {
	site := startSite(t)
	dc := startDC(t, "127.0.0.1:0")
	r := &rig{dc: dc, proxy: startProxy(t, env{"SLUICE_FRONT": site.Addr().String(), "SLUICE_DC_2": dc.Addr().String()})}
	for round := range 10 {
		hello := client.Hello{Host: secret.Host}.Sign(secret.Key)
		served, start := make(chan bool), make(chan struct{})
		const copies = 20
		for range copies {
			go func() {
				<-start
				c, err := r.open(client.Config{Raw: hello})
				if err == nil {
					_ = c.Close()
				}
				served <- err == nil
			}()
		}
		close(start)
		n := 0
		for range copies {
			if <-served {
				n++
			}
		}
		if n != 1 {
			t.Fatalf("round %d: %d of %d copies were served", round, n, copies)
		}
	}
}
