package interop

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"sluice/bench/stand"
)

// Transparent load balancers on the proxy's own machine, for clients that are elsewhere: what the proxy answers must come back to the
// load balancer, which takes the two routing rules of docs/edges/haproxy.md.
func TestTransparentEdgeOnTheSameMachine(t *testing.T) {
	haproxy := "global\n\tmaxconn 500\ndefaults\n\tmode tcp\n\ttimeout connect 5s\n\ttimeout client 60s\n\ttimeout server 60s\n" +
		"frontend f\n\tbind %s:8443\n\tdefault_backend b\nbackend b\n\tsource 0.0.0.0 usesrc clientip\n\tserver s 127.0.0.1:8444\n"
	nginx := "stream { server { listen %s:8443; proxy_pass 127.0.0.1:8444; proxy_bind $remote_addr transparent; } }\n"
	for _, kind := range bothEdges {
		t.Run(kind, func(t *testing.T) {
			n := newNets(t)
			inside := []string{"ip", "netns", "exec", n.inner}
			n.must("", "ip", "-n", n.inner, "rule", "add", "from", "127.0.0.1/8", "iif", "lo", "table", "123")
			n.must("", "ip", "-n", n.inner, "route", "add", "local", "0.0.0.0/0", "dev", "lo", "table", "123")
			p, err := stand.StartProxy(shortDir(t), env{"SLUICE_LISTEN": "127.0.0.1:8444", "SLUICE_DRAIN_TIMEOUT": "1s"},
				append(inside, os.Getenv("SLUICE_BIN"))...)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = p.Stop(patience) })
			dir := t.TempDir()
			conf := filepath.Join(dir, "conf")
			if kind == "haproxy" {
				writeFile(t, conf, fmt.Sprintf(haproxy, innerAddr))
				startProgram(t, nil, "ip", append(inside[1:], "haproxy", "-db", "-f", conf)...)
			} else {
				writeFile(t, conf, "load_module /usr/lib/nginx/modules/ngx_stream_module.so;"+fmt.Sprintf(nginxMain, dir)+fmt.Sprintf(nginx, innerAddr))
				startProgram(t, nil, "ip", append(inside[1:], "nginx", "-p", dir, "-c", conf)...)
			}
			for _, from := range []string{edgeAddr, otherAddr} {
				eventually(t, kind, func() error {
					if got := n.visit(from); got != 0 {
						return fmt.Errorf("curl from %s ends with %d", from, got)
					}
					return nil
				})
				line, err := p.AwaitLog(patience, func(l stand.Line) bool {
					a, err := netip.ParseAddrPort(l.Get("client"))
					return err == nil && a.Addr().String() == from
				})
				if err != nil {
					t.Fatalf("the log does not name %s: %v", from, err)
				}
				if line.Get("peer") != line.Get("client") {
					t.Errorf("peer %s, client %s", line.Get("peer"), line.Get("client"))
				}
			}
		})
	}
}
