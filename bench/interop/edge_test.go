package interop

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/bench/client"
	"sluice/bench/stand"
)

// behind is a proxy that expects PROXY headers, for load balancers to stand before.
func behind(t testing.TB, settings env) *front {
	t.Helper()
	base := env{"SLUICE_EDGE": "haproxy"}
	return startFront(t, base.with(settings))
}

// startHAProxy runs haproxy until the test ends. Its configuration is the given lines, LISTEN standing for where it listens.
func startHAProxy(t testing.TB, listen netip.AddrPort, lines ...string) {
	t.Helper()
	dir := t.TempDir()
	conf := "global\n\tmaxconn 500\ndefaults\n\tmode tcp\n\ttimeout connect 5s\n\ttimeout client 60s\n\ttimeout server 60s\n" +
		strings.ReplaceAll(strings.Join(lines, "\n"), "LISTEN", listen.String()) + "\n"
	path := filepath.Join(dir, "haproxy.cfg")
	writeFile(t, path, conf)
	startProgram(t, []netip.AddrPort{listen}, "haproxy", "-db", "-f", path)
}

// startStream runs nginx with the given servers of its stream module until the test ends.
func startStream(t testing.TB, listens []netip.AddrPort, servers ...string) {
	t.Helper()
	dir := t.TempDir()
	conf := "load_module /usr/lib/nginx/modules/ngx_stream_module.so;" + fmt.Sprintf(nginxMain, dir) +
		"stream {\n" + strings.Join(servers, "\n") + "\n}\n"
	path := filepath.Join(dir, "nginx.conf")
	writeFile(t, path, conf)
	startProgram(t, listens, "nginx", "-p", dir, "-c", path)
}

// throughEdge opens a session through a load balancer, from an address of its own, moves some bytes, and checks that the proxy
// knows who the client is.
func throughEdge(t testing.TB, f *front, edge netip.AddrPort, from string) {
	t.Helper()
	c, err := client.Dial(context.Background(), client.Config{
		Addr: edge, Local: netip.MustParseAddr(from), Secret: secret, DC: 2, Hello: client.Hello{Hybrid: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	for range 3 {
		if err := down(c, 2<<20); err != nil {
			t.Fatal(err)
		}
	}
	wantClient(t, f, c.LocalAddr().String())
}

// wantClient waits for the handshake of a client in the log. Its peer must be another: the load balancer.
func wantClient(t testing.TB, f *front, want string) {
	t.Helper()
	line, err := f.proxy.AwaitLog(patience, func(l stand.Line) bool { return l.Get("msg") == "handshake" && l.Get("client") == want })
	if err != nil {
		t.Fatalf("client %s: %v", want, err)
	}
	if line.Get("peer") == want || line.Get("peer") == "" {
		t.Errorf("client %s: the peer in the log is %s", want, line.Get("peer"))
	}
	if line.Get("result") != "ok" {
		t.Errorf("client %s: %v", want, line)
	}
}

func TestHAProxy(t *testing.T) {
	for _, c := range []struct{ name, server, result, ip, from string }{
		{"v1", "send-proxy", "v1", "127.0.0.1", "127.0.0.5"},
		{"v1, IPv6", "send-proxy", "v1", "::1", "::1"},
		{"v2", "send-proxy-v2", "v2", "127.0.0.1", "127.0.0.5"},
		{"v2, IPv6", "send-proxy-v2", "v2", "::1", "::1"},
		{"v2, CRC", "send-proxy-v2 proxy-v2-options crc32c", "v2", "127.0.0.1", "127.0.0.5"},
		{"v2, CRC and unique id", "send-proxy-v2 proxy-v2-options unique-id,crc32c", "v2", "127.0.0.1", "127.0.0.5"},
		{"v2, all of it", "send-proxy-v2 proxy-v2-options ssl,cert-cn,authority,unique-id,crc32c", "v2", "127.0.0.1", "127.0.0.5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := behind(t, env{"SLUICE_LISTEN": net.JoinHostPort(c.ip, "0")})
			edge := freePort(t, c.ip)
			startHAProxy(t, edge, "frontend f", "\tbind LISTEN", "\tdefault_backend b",
				"\tunique-id-format %{+X}o\\ %ci:%cp_%fi:%fp_%Ts_%rt:%pid",
				"backend b", fmt.Sprintf("\tserver s %s %s", f.proxy.Addr(), c.server))
			throughEdge(t, f, edge, c.from)
			wantHeaders(t, f, c.result)
			strangerThrough(t, f, edge)
			quiet(t, f.proxy)
		})
	}
}

// wantHeaders checks that every PROXY header so far was of the one kind. (There may be more than one: the look whether the load
// balancer listens already is a connection, too.)
func wantHeaders(t testing.TB, f *front, result string) {
	t.Helper()
	one := fmt.Sprintf(`sluice_proxy_headers_total{result=%q}`, result)
	eventually(t, one, func() error {
		of, err := f.proxy.Metric(one)
		if err != nil {
			return err
		}
		all, err := f.proxy.SumMetric("sluice_proxy_headers_total")
		if err == nil && (of < 1 || all != of) {
			err = fmt.Errorf("%v of %v headers", of, all)
		}
		return err
	})
}

// strangerThrough checks that the front's certificate is what TLS clients see through a load balancer.
func strangerThrough(t testing.TB, f *front, edge netip.AddrPort) {
	t.Helper()
	d := net.Dialer{Timeout: patience}
	c, err := tls.DialWithDialer(&d, "tcp", edge.String(), &tls.Config{ServerName: otherHost, InsecureSkipVerify: true})
	if err != nil {
		t.Fatalf("a stranger: %v", err)
	}
	defer c.Close()
	if got := c.ConnectionState().PeerCertificates[0]; !got.Equal(f.certs[otherHost].Leaf) {
		t.Errorf("a stranger sees the certificate of %v", got.Subject)
	}
}

// A client of haproxy's on a unix socket has no address: v1 says UNKNOWN, v2 LOCAL, and real data follow both.
func TestHAProxyUnixClients(t *testing.T) {
	for _, server := range []string{"send-proxy", "send-proxy-v2"} {
		t.Run(server, func(t *testing.T) {
			f := behind(t, nil)
			path := filepath.Join(shortDir(t), "in.sock")
			edge, relay := freePort(t, "127.0.0.1"), freePort(t, "127.0.0.1")
			startHAProxy(t, edge,
				"frontend tcp", "\tbind LISTEN", "\tdefault_backend none", "backend none",
				"frontend f", "\tbind unix@"+path, "\tdefault_backend b",
				"backend b", fmt.Sprintf("\tserver s %s %s", f.proxy.Addr(), server))
			startHAProxy(t, relay, "frontend f", "\tbind LISTEN", "\tdefault_backend b", "backend b", "\tserver s unix@"+path)
			c, err := client.Dial(context.Background(), client.Config{Addr: relay, Secret: secret, DC: 2})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(patience))
			if err := down(c, 1<<20); err != nil {
				t.Fatal(err)
			}
			if n, err := f.proxy.Metric(`sluice_proxy_headers_total{result="local"}`); err != nil || n < 1 {
				t.Errorf("local headers: %v, %v", n, err)
			}
		})
	}
}

// Health checks leave no trace but their count, and no descriptor. (Those without a header never get as far as accept: haproxy
// resets them before the kernel's handshake is over.)
func TestHAProxyHealthChecks(t *testing.T) {
	for name, server := range map[string]string{"v1": "send-proxy check inter 50ms", "v2": "send-proxy-v2 check inter 50ms"} {
		t.Run(name, func(t *testing.T) {
			f := behind(t, nil)
			edge := freePort(t, "127.0.0.1")
			startHAProxy(t, edge, "frontend f", "\tbind LISTEN", "\tdefault_backend b", "backend b",
				fmt.Sprintf("\tserver s %s %s", f.proxy.Addr(), server))
			eventually(t, "health checks", func() error {
				n, err := f.proxy.Metric(`sluice_handshakes_total{result="health"}`)
				if err == nil && n < 20 {
					err = fmt.Errorf("%v so far", n)
				}
				return err
			})
			quiet(t, f.proxy)
			if n, err := f.proxy.Metric(`sluice_connections{state="handshake"}`); err != nil || n > 3 {
				t.Errorf("handshakes that stay: %v, %v", n, err)
			}
		})
	}
}

func TestNginxStream(t *testing.T) {
	f := behind(t, nil)
	edge := freePort(t, "127.0.0.1")
	startStream(t, []netip.AddrPort{edge}, fmt.Sprintf("server { listen %s; proxy_pass %s; proxy_protocol on; }", edge, f.proxy.Addr()))
	throughEdge(t, f, edge, "127.0.0.6")
	strangerThrough(t, f, edge)
	quiet(t, f.proxy)
}

// nginx that routes by server name connects only when it has a hello, and sends it in one piece with the header.
func TestNginxPreread(t *testing.T) {
	f := behind(t, nil)
	edge := freePort(t, "127.0.0.1")
	startStream(t, []netip.AddrPort{edge}, fmt.Sprintf(
		"map $ssl_preread_server_name $to { default %[2]s; }\nserver { listen %[1]s; ssl_preread on; proxy_pass $to; proxy_protocol on; }", edge, f.proxy.Addr()))
	throughEdge(t, f, edge, "127.0.0.6")
	strangerThrough(t, f, edge)
}

// Two load balancers in a row: nginx then sends a line that mixes families.
func TestNginxChained(t *testing.T) {
	f := behind(t, nil)
	edge := freePort(t, "127.0.0.1")
	startStream(t, []netip.AddrPort{edge}, fmt.Sprintf(
		"server { listen %s proxy_protocol; set_real_ip_from 127.0.0.0/8; proxy_pass %s; proxy_protocol on; }", edge, f.proxy.Addr()))
	for _, c := range []struct{ header, client string }{
		{"PROXY TCP4 192.0.2.7 192.0.2.1 5555 443\r\n", "192.0.2.7:5555"},
		{"PROXY TCP6 2001:db8::7 2001:db8::1 5555 443\r\n", "[2001:db8::7]:5555"},
	} {
		s, err := client.Dial(context.Background(), client.Config{Addr: edge, Secret: secret, DC: 2, Prefix: []byte(c.header)})
		if err != nil {
			t.Fatal(err)
		}
		_ = s.SetDeadline(time.Now().Add(patience))
		if err := down(s, 1<<20); err != nil {
			t.Fatal(err)
		}
		_ = s.Close()
		wantClient(t, f, c.client)
	}
}

// haproxy behind haproxy: the client's address survives both.
func TestHAProxyChained(t *testing.T) {
	f := behind(t, nil)
	first, second := freePort(t, "127.0.0.1"), freePort(t, "127.0.0.1")
	startHAProxy(t, second, "frontend f", "\tbind LISTEN accept-proxy", "\tdefault_backend b", "backend b",
		fmt.Sprintf("\tserver s %s send-proxy-v2", f.proxy.Addr()))
	startHAProxy(t, first, "frontend f", "\tbind LISTEN", "\tdefault_backend b", "backend b",
		fmt.Sprintf("\tserver s %s send-proxy", second))
	throughEdge(t, f, first, "127.0.0.7")
}

// The front may be told the client's address: nginx believes the proxy.
func TestNginxAsFrontWithHeader(t *testing.T) {
	inner := startSite(t)
	edge := freePort(t, "127.0.0.1")
	startStream(t, []netip.AddrPort{edge}, fmt.Sprintf("server { listen %s proxy_protocol; proxy_pass %s; }", edge, inner.addr))
	for _, version := range []string{"v1", "v2"} {
		p := startProxy(t, env{"SLUICE_FRONT": edge.String(), "SLUICE_FRONT_PROXY_PROTOCOL": version, "SLUICE_DC_2": "127.0.0.1:9"})
		strangerThrough(t, &front{site: inner, proxy: p}, p.Addr())
		if _, err := p.AwaitLog(patience, func(l stand.Line) bool { return l.Get("match") != "" }); err != nil {
			t.Errorf("%s: the front's handshake is not learned: %v", version, err)
		}
	}
}

// The health check of an AWS NLB, byte for byte: a LOCAL header without an address block, then the end or a reset.
func TestNLBHealthCheck(t *testing.T) {
	f := behind(t, nil)
	check, err := hex.DecodeString("0d0a0d0a000d0a515549540a" + "2011" + "0054" + "030004bce5951f" + "04004a" + strings.Repeat("00", 74))
	if err != nil {
		t.Fatal(err)
	}
	if len(check) != 16+0x54 {
		t.Fatalf("the check has %d bytes", len(check))
	}
	held, err := f.proxy.Descriptors()
	if err != nil {
		t.Fatal(err)
	}
	const checks = 30
	for i := range checks {
		c, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(f.proxy.Addr()))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(check); err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		switch i % 3 {
		case 0:
			_ = c.CloseWrite()
			if b, err := io.ReadAll(c); len(b) != 0 || err != nil {
				t.Errorf("an answer to a health check: %x, %v", b, err)
			}
		case 1:
			_ = c.SetLinger(0)
		}
		_ = c.Close()
	}
	wantMetric(t, f.proxy, `sluice_connections{state="handshake"}`, 0)
	wantMetric(t, f.proxy, `sluice_connections{state="front"}`, 0)
	if n, err := f.proxy.Metric(`sluice_proxy_headers_total{result="local"}`); err != nil || n < checks*2/3 {
		t.Errorf("local headers: %v, %v", n, err)
	}
	for _, result := range []string{"malformed", "bad_crc", "bad_family", "too_long"} {
		wantMetric(t, f.proxy, fmt.Sprintf(`sluice_proxy_headers_total{result=%q}`, result), 0)
	}
	eventually(t, "descriptors", func() error {
		now, err := f.proxy.Descriptors()
		if err == nil && now["socket"] > held["socket"] {
			err = fmt.Errorf("%v, were %v", now, held)
		}
		return err
	})
	quiet(t, f.proxy)
}
