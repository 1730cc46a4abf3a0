package e2e

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"sluice/bench/client"
	"sluice/bench/stand"
)

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const signature = "0d0a0d0a000d0a515549540a"

// goodHeaders are headers as load balancers send them, with the client they name; none for those that name nobody.
func goodHeaders(t testing.TB) []struct {
	name, result, client string
	header               []byte
} {
	nlb := unhex(t, signature+"20 11 0054 03 0004 bce5951f 04 004a")
	nlb = append(nlb, make([]byte, 74)...)
	long := fmt.Sprintf("PROXY TCP6 %s %s 65535 65535\r\n", "2001:0db8:1111:2222:3333:4444:5555:6666", "2001:0db8:1111:2222:3333:4444:5555:7777")
	return []struct {
		name, result, client string
		header               []byte
	}{
		{"v1, IPv4", "v1", "192.0.2.7:5555", []byte("PROXY TCP4 192.0.2.7 192.0.2.1 5555 443\r\n")},
		{"v1, IPv6", "v1", "[2001:db8::7]:5555", []byte("PROXY TCP6 2001:db8::7 2001:db8::1 5555 443\r\n")},
		{"v1, long", "v1", "[2001:db8:1111:2222:3333:4444:5555:6666]:65535", []byte(long)},
		{"v1, mixed by nginx", "v1", "[2001:db8::7]:5555", []byte("PROXY TCP6 2001:db8::7 127.0.0.1 5555 20014\r\n")},
		{"v1, unknown", "local", "", []byte("PROXY UNKNOWN\r\n")},
		{"v2, IPv4", "v2", "192.0.2.7:5555", unhex(t, signature+"21 11 000c c0000207 c0000201 15b3 01bb")},
		{
			"v2, IPv6", "v2", "[2001:db8::7]:5555",
			unhex(t, signature+"21 21 0024 20010db8000000000000000000000007 20010db8000000000000000000000001 15b3 01bb"),
		},
		{
			"v2, with more behind", "v2", "192.0.2.7:5555",
			unhex(t, signature+"21 11 001c c0000207 c0000201 15b3 01bb ea 0005 01 76706365 04 0005 0000000000"),
		},
		{"v2, local", "local", "", unhex(t, signature+"20 00 0000")},
		{"v2, health check of an NLB", "local", "", nlb},
	}
}

// The client that a header names is the client in the log; the peer is who connected.
func TestProxyHeaders(t *testing.T) {
	for _, policy := range []string{"required", "optional"} {
		t.Run(policy, func(t *testing.T) {
			r := startRig(t, env{"SLUICE_PROXY_PROTOCOL": policy, "SLUICE_EDGE_RANGES": "127.0.0.0/8"})
			results := map[string]float64{}
			for _, h := range goodHeaders(t) {
				c := r.dial(t, client.Config{Prefix: h.header})
				if err := down(c, 1000); err != nil {
					t.Fatalf("%s: %v", h.name, err)
				}
				peer := c.LocalAddr().String()
				_ = c.Close()
				want := h.client
				if want == "" {
					want = peer
				}
				for _, msg := range []string{"handshake", "relay closed"} {
					line, err := r.proxy.AwaitLog(patience, func(l stand.Line) bool { return l.Get("msg") == msg && l.Get("peer") == peer })
					if err != nil {
						t.Fatalf("%s: %s: %v", h.name, msg, err)
					}
					if line.Get("client") != want {
						t.Errorf("%s: %s names %s as the client, want %s", h.name, msg, line.Get("client"), want)
					}
				}
				results[h.result]++
			}
			for result, want := range results {
				wantMetric(t, r.proxy, fmt.Sprintf(`sluice_proxy_headers_total{result=%q}`, result), want)
			}
			quiet(t, r.proxy)
		})
	}
}

// A header may be cut anywhere, also from what follows it.
func TestProxyHeadersCutAtEveryByte(t *testing.T) {
	r := startRig(t, env{"SLUICE_PROXY_PROTOCOL": "required"})
	for _, h := range goodHeaders(t) {
		for cut := 1; cut <= len(h.header); cut++ {
			c, err := approach(r.proxy.Addr())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write(h.header[:cut]); err != nil {
				t.Fatal(err)
			}
			time.Sleep(300 * time.Microsecond) // so that they are two segments
			rest := append(bytes.Clone(h.header[cut:]), stand.Request{Op: stand.Down, Size: 3}.Bytes()...)
			if _, err := c.Write(rest); err != nil {
				t.Fatal(err)
			}
			if err := stand.CheckStream(c, 0, 3); err != nil {
				t.Fatalf("%s, cut at %d: the front does not answer: %v", h.name, cut, err)
			}
			_ = c.Close()
		}
	}
}

// What is no header, or a bad one, is at the front with every byte it has sent when one is required.
func TestBadProxyHeaders(t *testing.T) {
	r := startRig(t, env{"SLUICE_PROXY_PROTOCOL": "required"})
	hello := client.Hello{Host: secret.Host}.Sign(secret.Key)
	for name, c := range map[string]struct {
		header []byte
		result string
	}{
		"none":            {nil, "missing"},
		"no address":      {[]byte("PROXY TCP4\r\n"), "malformed"},
		"bad address":     {[]byte("PROXY TCP4 192.0.2.777 192.0.2.1 5555 443\r\n"), "malformed"},
		"too long a line": {[]byte("PROXY UNKNOWN " + strings.Repeat("x", 120) + "\r\n"), "too_long"},
		"UDP":             {unhex(t, signature+"21 12 000c c0000207 c0000201 15b3 01bb"), "bad_family"},
		"UDP, IPv6": {
			unhex(t, signature+"21 22 0024 20010db8000000000000000000000007 20010db8000000000000000000000001 15b3 01bb"),
			"bad_family",
		},
		"unix":     {append(unhex(t, signature+"21 31 00d8"), make([]byte, 216)...), "bad_family"},
		"bad CRC":  {unhex(t, signature+"21 11 0013 c0000207 c0000201 15b3 01bb 03 0004 00000001"), "bad_crc"},
		"version3": {unhex(t, signature+"31 11 000c c0000207 c0000201 15b3 01bb"), "malformed"},
		"too long": {unhex(t, signature+"21 11 1001 c0000207 c0000201 15b3 01bb"), "too_long"},
	} {
		t.Run(name, func(t *testing.T) {
			series := fmt.Sprintf(`sluice_proxy_headers_total{result=%q}`, c.result)
			before, err := r.proxy.Metric(series)
			if err != nil {
				t.Fatal(err)
			}
			s := stranger(t, r.proxy.Addr())
			if _, err := s.Write(append(bytes.Clone(c.header), hello...)); err != nil {
				t.Fatal(err)
			}
			if got, _ := io.ReadAll(s); len(got) != 0 {
				t.Errorf("an answer: %x", got)
			}
			wantMetric(t, r.proxy, series, before+1)
		})
	}
}

// With the policy off, a header is just what a stranger says, and the operator is told.
func TestUnexpectedProxyHeader(t *testing.T) {
	r := startRig(t, env{"SLUICE_PROXY_PROTOCOL": "off"})
	c, err := client.Dial(context.Background(), client.Config{
		Addr: r.proxy.Addr(), Secret: secret, DC: 2,
		Prefix: []byte("PROXY TCP4 192.0.2.7 192.0.2.1 5555 443\r\n"),
	})
	if err == nil {
		_ = c.Close()
		t.Fatal("served")
	}
	wantMetric(t, r.proxy, `sluice_proxy_headers_total{result="unexpected"}`, 1)
	if _, err := r.proxy.AwaitLog(patience, func(l stand.Line) bool {
		return l.Get("level") == "WARN" && strings.Contains(l.Get("msg"), "SLUICE_PROXY_PROTOCOL")
	}); err != nil {
		t.Error(err)
	}
}

// Without a header, optional serves all the same, and required does not.
func TestNoProxyHeader(t *testing.T) {
	r := startRig(t, env{"SLUICE_PROXY_PROTOCOL": "optional"})
	if err := down(r.dial(t, client.Config{}), 100); err != nil {
		t.Errorf("optional: %v", err)
	}
	r = startRig(t, env{"SLUICE_PROXY_PROTOCOL": "required"})
	if c, err := r.open(client.Config{}); err == nil {
		_ = c.Close()
		t.Error("required: served")
	}
}

// A load balancer's health checks are no errors: a connect and close, a LOCAL header and close, the same with a reset.
func TestHealthChecksAreQuiet(t *testing.T) {
	r := startRig(t, env{"SLUICE_PROXY_PROTOCOL": "required", "SLUICE_EDGE_RANGES": "127.0.0.0/8"})
	before := holdsDescriptors(t, r.proxy)
	for _, h := range append(goodHeaders(t)[8:], goodHeaders(t)[0]) {
		for _, e := range endings {
			c := stranger(t, r.proxy.Addr())
			_, _ = c.Write(h.header)
			e.end(c)
			c = stranger(t, r.proxy.Addr())
			e.end(c)
		}
	}
	sameDescriptors(t, r.proxy, before)
	quiet(t, r.proxy)
}

// The front is told the client's address when it is set to expect that.
func TestHeaderToTheFront(t *testing.T) {
	for _, version := range []string{"v1", "v2"} {
		t.Run(version, func(t *testing.T) {
			front := startSite(t) // only there to listen; it takes a header for bad TLS
			inner := startRig(t, env{"SLUICE_PROXY_PROTOCOL": "required", "SLUICE_FRONT": front.Addr().String()})
			p := startProxy(t, env{
				"SLUICE_FRONT": inner.proxy.Addr().String(), "SLUICE_FRONT_PROXY_PROTOCOL": version,
				"SLUICE_PROXY_PROTOCOL": "optional", "SLUICE_DC_2": "127.0.0.1:9", "SLUICE_SECRET": otherSecret().String(),
			})
			// A client of the inner proxy is a stranger to the outer one, which passes it on with its address.
			for name, c := range map[string]struct{ prefix, client string }{
				"named by a header": {"PROXY TCP4 192.0.2.7 192.0.2.1 5555 443\r\n", "192.0.2.7:5555"},
				"IPv6":              {"PROXY TCP6 2001:db8::7 2001:db8::1 5555 443\r\n", "[2001:db8::7]:5555"},
				"not named":         {"", ""},
			} {
				session := inner.dial(t, client.Config{Addr: p.Addr(), Prefix: []byte(c.prefix)})
				if err := down(session, 1000); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				want := c.client
				if want == "" {
					want = session.LocalAddr().String()
				}
				if _, err := inner.proxy.AwaitLog(patience, func(l stand.Line) bool { return l.Get("client") == want }); err != nil {
					t.Errorf("%s: the front does not hear of %s: %v", name, want, err)
				}
			}
		})
	}
}
