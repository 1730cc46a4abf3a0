package doctor

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"testing"
)

// row is a line of /proc/net/tcp for an IPv4 address; state 0A is listening.
func row(addr, state string) string {
	a := netip.MustParseAddrPort(addr)
	b := a.Addr().As4()
	return fmt.Sprintf("   0: %02X%02X%02X%02X:%04X 00000000:0000 %s 00000000:00000000 00:00000000 00000000     0        0 1 1 0\n", b[3], b[2], b[1], b[0], a.Port(), state)
}

const heading = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"

func TestParseSockets(t *testing.T) {
	text := heading + row("0.0.0.0:22", "0A") + row("198.51.100.7:443", "01") + row("127.0.0.1:9180", "0A") +
		"   1: 00000000000000000000000000000000:01BB 00000000000000000000000000000000:0000 0A x\n" +
		"   2: 0000000000000000FFFF0000076433C6:0019 00000000000000000000000000000000:0000 0A x\n" + // 198.51.100.7, mapped
		"   3: B80D0120000000000000000001000000:0050 00000000000000000000000000000000:0000 0A x\n" +
		"   4: nonsense 0 0A\n   5: 00:0016 0 0A\n"
	var got []string
	for _, a := range parseSockets(text) {
		got = append(got, a.String())
	}
	want := []string{"0.0.0.0:22", "127.0.0.1:9180", "[::]:443", "198.51.100.7:25", "[2001:db8::1]:80"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestServices(t *testing.T) {
	s := newScene(t)
	s.look(checkServices).want(t, Skip)
	s.set("SLUICE_LISTEN", ":8443")
	s.proc("net/tcp", heading+row("0.0.0.0:8443", "0A")+row("127.0.0.1:5432", "0A"))
	s.look(checkServices).want(t, OK, "nothing but the proxy")
	s.proc("net/tcp", heading+row("0.0.0.0:8443", "0A")+row("0.0.0.0:22", "0A")+row(originAddr+":25", "0A"))
	s.look(checkServices).want(t, OK, "2 ports", "SSH")
	s.behindEdge()
	s.look(checkServices).want(t, Warn, "2 ports", "0.0.0.0:22: SSH", "banner")
}

// TestOwnCertificates: 127.0.0.1 stands for what listens on every address, as it does for a connection from here.
func TestOwnCertificates(t *testing.T) {
	for _, tt := range []struct {
		name   string
		names  []string
		plain  bool
		status Status
		says   string
	}{
		{name: "names the proxy", names: []string{publicName}, status: Fail, says: "to everybody"},
		{name: "by a wildcard", names: []string{"*.example.org"}, status: Fail, says: "127.0.0.1 or a unix socket"},
		{name: "names something else", names: []string{"mail.example.com"}, status: OK},
		{name: "no TLS", plain: true, status: OK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t)
			s.behindEdge()
			w := site{head: http.Header{}}
			if !tt.plain {
				w.tls = onlyTLS(s.ca.issue(nil, tt.names...))
			}
			port := netip.MustParseAddrPort(w.serve(t)).Port()
			s.proc("net/tcp", heading+row(fmt.Sprintf("0.0.0.0:%d", port), "0A"))
			s.look(checkOwnCertificates).want(t, tt.status, tt.says)
		})
	}
	newScene(t).look(checkOwnCertificates).want(t, Skip)
}

// TestOutsidersSeeTheCertificate: SLUICE_EDGE_OUTSIDERS=front shows it to every scanner.
func TestOutsidersSeeTheCertificate(t *testing.T) {
	s := newScene(t)
	s.behindEdge()
	front := s.front()
	s.set("SLUICE_EDGE_OUTSIDERS", "front")
	s.set("SLUICE_LISTEN", originAddr+":8443")
	s.route(originAddr+":8443", front)
	s.look(checkOwnCertificates).want(t, Fail, "port 8443")
}

func TestOutbound(t *testing.T) {
	s := newScene(t)
	s.behindEdge()
	s.set("SLUICE_FRONT", "www.example.org")
	s.set("SLUICE_EDGE_RANGES", "cloudflare")
	s.set("SLUICE_DC_2", "192.0.2.3:443")
	s.look(checkOutbound).want(t, OK, "DNS: the address of www.example.org, each minute", "the front, www.example.org:443",
		"https://www.cloudflare.com/ips-v4", "each 24h", "data centre 2: 192.0.2.3:443", "data centre 203: 91.105.192.100:443", "sluice doctor, now")
	s.set("SLUICE_EDGE_REFRESH", "off")
	s.world.Offline = true
	f := s.look(checkOutbound)
	f.want(t, OK, "--offline: none")
	if slices.ContainsFunc(f.Details, func(d string) bool { return len(d) > 5 && d[:5] == "https" }) {
		t.Errorf("lists are not fetched, yet listed: %q", f.Details)
	}
}
