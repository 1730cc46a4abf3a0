package interop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sluice/bench/client"
	"sluice/bench/stand"
)

// edgeStyle is how a load balancer treats the addresses of clients.
type edgeStyle int

const (
	plain       edgeStyle = iota // it connects from its own address and says nothing
	transparent                  // it connects from the client's address
	headed                       // it connects from its own address and sends a PROXY header
)

// standBefore starts a load balancer of a kind before a listener of the proxy and returns where clients reach it.
func standBefore(t testing.TB, kind string, style edgeStyle, to netip.AddrPort) netip.AddrPort {
	t.Helper()
	edge := freePort(t, "127.0.0.1")
	switch kind {
	case "haproxy":
		lines := []string{"frontend f", "\tbind LISTEN", "\tdefault_backend b", "backend b"}
		if style == transparent {
			lines = append(lines, "\tsource 0.0.0.0 usesrc clientip")
		}
		server := fmt.Sprintf("\tserver s %s", to)
		if style == headed {
			server += " send-proxy-v2"
		}
		startHAProxy(t, edge, append(lines, server)...)
	case "nginx":
		more := map[edgeStyle]string{plain: "", transparent: "proxy_bind $remote_addr transparent;", headed: "proxy_protocol on;"}[style]
		startStream(t, []netip.AddrPort{edge}, fmt.Sprintf("server { listen %s; proxy_pass %s; %s }", edge, to, more))
	default:
		t.Fatalf("no load balancer %q", kind)
	}
	return edge
}

// session opens a session from an address, moves some bytes, and leaves it open until the test ends.
func session(t testing.TB, at netip.AddrPort, from string) *client.Conn {
	t.Helper()
	c, err := client.Dial(context.Background(), client.Config{
		Addr: at, Local: netip.MustParseAddr(from), Secret: secret, DC: 2, Hello: client.Hello{Hybrid: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	for range 3 {
		if err := down(c, 2<<20); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// wantSource waits for a session in the log whose peer and client are one, at the given address.
func wantSource(t testing.TB, p *stand.Proxy, address string) {
	t.Helper()
	line, err := p.AwaitLog(patience, func(l stand.Line) bool { return l.Get("msg") == "handshake" && l.Get("result") == "ok" })
	if err != nil {
		t.Fatal(err)
	}
	peer, err := netip.ParseAddrPort(line.Get("peer"))
	if err != nil {
		t.Fatalf("the peer in the log: %v", err)
	}
	if line.Get("client") != line.Get("peer") || peer.Addr().String() != address {
		t.Errorf("peer %s, client %s; want one and the same, from %s", line.Get("peer"), line.Get("client"), address)
	}
}

// neverNamed fails the test if an address is a peer or a client anywhere in the log.
func neverNamed(t testing.TB, p *stand.Proxy, address string) {
	t.Helper()
	for _, l := range p.Lines() {
		for _, key := range []string{"peer", "client"} {
			if a, err := netip.ParseAddrPort(l.Get(key)); err == nil && a.Addr().String() == address {
				t.Errorf("%s is %s in %v", key, a, l)
			}
		}
	}
}

var bothEdges = []string{"haproxy", "nginx"}

// modeSettings are ways to configure the modes without a header for an edge on 127.0.0.1.
var modeSettings = []struct {
	name  string
	style edgeStyle
	set   env
}{
	{"opaque", plain, env{"SLUICE_EDGE": "haproxy", "SLUICE_PROXY_PROTOCOL": "off"}},
	{"opaque, by mode", plain, env{"SLUICE_EDGE": "haproxy", "SLUICE_EDGE_MODE": "opaque"}},
	{"opaque, custom", plain, env{"SLUICE_EDGE": "custom", "SLUICE_EDGE_MODE": "opaque", "SLUICE_EDGE_RANGES": "127.0.0.1"}},
	{"preserved", transparent, env{"SLUICE_EDGE": "haproxy", "SLUICE_EDGE_MODE": "preserved"}},
	{"preserved, custom", transparent, env{"SLUICE_EDGE": "custom", "SLUICE_EDGE_MODE": "preserved"}},
	{"preserved, none", transparent, env{"SLUICE_EDGE": "none"}},
}

// Real load balancers that send no header: in mode opaque the log has their address for peer and client, in mode preserved the
// client's for both. (Of 127.0.0.0/8 every address is local, so that a transparent bind needs no routes.)
func TestModesWithoutHeader(t *testing.T) {
	for _, m := range modeSettings {
		for _, kind := range bothEdges {
			t.Run(m.name+", "+kind, func(t *testing.T) {
				const from = "127.0.0.5"
				f := startFront(t, m.set)
				edge := standBefore(t, kind, m.style, f.proxy.Addr())
				session(t, edge, from)
				strangerThrough(t, f, edge)
				if m.style == transparent {
					wantSource(t, f.proxy, from)
				} else {
					wantSource(t, f.proxy, "127.0.0.1")
					neverNamed(t, f.proxy, from)
				}
				if n, err := f.proxy.SumMetric("sluice_proxy_headers_total"); err != nil || n != 0 {
					t.Errorf("PROXY headers: %v, %v", n, err)
				}
				quiet(t, f.proxy)
			})
		}
	}
}

// SLUICE_EDGE=custom in the third mode is what haproxy's own profile is.
func TestCustomProxyMode(t *testing.T) {
	for _, kind := range bothEdges {
		t.Run(kind, func(t *testing.T) {
			f := startFront(t, env{"SLUICE_EDGE": "custom", "SLUICE_EDGE_MODE": "proxy", "SLUICE_EDGE_RANGES": "127.0.0.1/32"})
			edge := standBefore(t, kind, headed, f.proxy.Addr())
			throughEdge(t, f, edge, "127.0.0.6")
			strangerThrough(t, f, edge)
			quiet(t, f.proxy)
		})
	}
}

// In mode opaque, who connects past the load balancer gets nothing, whatever it says, while the load balancer's clients are served.
func TestOpaqueOutsiders(t *testing.T) {
	f := startFront(t, env{
		"SLUICE_EDGE": "custom", "SLUICE_EDGE_MODE": "opaque", "SLUICE_EDGE_RANGES": "127.0.0.1", "SLUICE_EDGE_GUARD": "off",
	})
	edge := standBefore(t, "haproxy", plain, f.proxy.Addr())
	hello := client.Hello{Host: secret.Host}.Sign(secret.Key)
	said := map[string][]byte{
		"nothing": nil, "a signed hello": hello, "a page": []byte("GET / HTTP/1.0\r\n\r\n"),
		"a header that names the edge": append([]byte("PROXY TCP4 127.0.0.1 127.0.0.1 5555 443\r\n"), hello...),
	}
	for name, b := range said {
		d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}
		c, err := d.Dial("tcp", f.proxy.Addr().String())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		_, _ = c.Write(b)
		got, err := io.ReadAll(c)
		var late net.Error
		if len(got) != 0 || errors.As(err, &late) && late.Timeout() {
			t.Errorf("%s: an outsider gets %q, %v", name, got, err)
		}
		_ = c.Close()
	}
	wantMetric(t, f.proxy, `sluice_refused_total{cause="outsider"}`, float64(len(said)))
	session(t, edge, "127.0.0.9") // the address is no hindrance to who comes by the right way
	quiet(t, f.proxy)
}

// refusedSession tries a session that must not come to be: the front answers it, or it is closed.
func refusedSession(t testing.TB, at netip.AddrPort) {
	t.Helper()
	c, err := client.Dial(context.Background(), client.Config{Addr: at, Secret: secret, DC: 2})
	if err == nil {
		_ = c.Close()
		t.Error("a session came to be")
	}
}

// wantTries waits until so many connections are counted with a result. One more is the look whether the load balancer listens already.
func wantTries(t testing.TB, p *stand.Proxy, result string, want float64) {
	t.Helper()
	series := fmt.Sprintf(`sluice_proxy_headers_total{result=%q}`, result)
	eventually(t, series, func() error {
		got, err := p.Metric(series)
		if err == nil && (got < want || got > want+1) {
			err = fmt.Errorf("%v, want %v or one more", got, want)
		}
		return err
	})
}

// hints are the log's lines above info that name a setting.
func hints(p *stand.Proxy) (all []string) {
	for _, l := range p.Lines() {
		if level := l.Get("level"); level == "WARN" || level == "ERROR" {
			all = append(all, l.Get("msg"))
		}
	}
	return all
}

// When the two sides disagree about the header nobody is served, each connection is counted by what was wrong with it, the front
// still answers, and one line tells which settings to change.
func TestModeMismatches(t *testing.T) {
	const tries = 5
	for _, m := range []struct {
		name, result string
		style        edgeStyle
		set          env
		says         []string
	}{
		{
			"header in mode opaque", "unexpected", headed,
			env{"SLUICE_EDGE": "haproxy", "SLUICE_EDGE_MODE": "opaque"},
			[]string{"SLUICE_PROXY_PROTOCOL", "SLUICE_EDGE_MODE=proxy"},
		},
		{
			"header in mode preserved", "unexpected", headed,
			env{"SLUICE_EDGE": "none"},
			[]string{"SLUICE_PROXY_PROTOCOL", "SLUICE_EDGE_MODE=proxy"},
		},
		{
			"none where required", "missing", plain,
			env{"SLUICE_EDGE": "haproxy"},
			[]string{"SLUICE_PROXY_PROTOCOL", "SLUICE_EDGE_MODE=opaque"},
		},
	} {
		for _, kind := range bothEdges {
			t.Run(m.name+", "+kind, func(t *testing.T) {
				f := startFront(t, m.set)
				edge := standBefore(t, kind, m.style, f.proxy.Addr())
				for range tries {
					refusedSession(t, edge)
				}
				wantTries(t, f.proxy, m.result, tries)
				if m.result == "missing" {
					strangerThrough(t, f, edge) // with a header before the hello, a front of TLS has no answer to give
				}
				told := hints(f.proxy)
				if len(told) != 1 {
					t.Fatalf("%d lines: %q", len(told), told)
				}
				for _, word := range m.says {
					if !strings.Contains(told[0], word) {
						t.Errorf("the hint does not say %s: %s", word, told[0])
					}
				}
			})
		}
	}
}

// Two listeners of one process, each with an edge of its own: what holds for one does not for the other.
func TestListenersOfTwoEdges(t *testing.T) {
	f := startFront(t, env{"SLUICE_LISTEN": "127.0.0.1:0=haproxy,127.0.0.1:0=none"})
	at := f.proxy.Addrs()
	if len(at) != 2 {
		t.Fatalf("it listens on %v", at)
	}
	edge := standBefore(t, "haproxy", headed, at[0])
	throughEdge(t, f, edge, "127.0.0.7")
	strangerThrough(t, f, edge)
	wantHeaders(t, f, "v2")

	direct := session(t, at[1], "127.0.0.8")
	line, err := f.proxy.AwaitLog(patience, func(l stand.Line) bool {
		return l.Get("msg") == "handshake" && l.Get("client") == direct.LocalAddr().String()
	})
	if err != nil {
		t.Fatal(err)
	}
	if line.Get("peer") != line.Get("client") {
		t.Errorf("the direct client's peer is %s", line.Get("peer"))
	}
	strangerThrough(t, f, at[1])
	quiet(t, f.proxy)

	refusedSession(t, at[0]) // no header
	wantMetric(t, f.proxy, `sluice_proxy_headers_total{result="missing"}`, 1)
	refusedSession(t, standBefore(t, "nginx", headed, at[1]))
	wantTries(t, f.proxy, "unexpected", 1)
}
