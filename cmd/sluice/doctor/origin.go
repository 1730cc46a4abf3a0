package doctor

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sluice/engine/config"
	"sluice/engine/edge/ranges"
)

// socket is a listening TCP socket that others than this host can reach.
type socket struct{ addr netip.AddrPort }

// What services are commonly behind a port, for the report.
var services = map[uint16]string{
	21: "FTP", 22: "SSH", 23: "telnet", 25: "SMTP, whose banner names the host", 53: "DNS", 80: "HTTP", 110: "POP3", 111: "rpcbind", 143: "IMAP",
	443: "HTTPS", 465: "SMTP, whose banner names the host", 587: "SMTP, whose banner names the host", 993: "IMAP", 3306: "MySQL", 3389: "RDP",
	5432: "PostgreSQL", 6379: "Redis", 8080: "HTTP", 8443: "HTTPS", 9090: "Prometheus or Cockpit", 9100: "node_exporter", 9180: "a proxy's admin page", 10000: "Webmin",
}

// otherListeners are the sockets that listen on this host beyond loopback and are not the proxy's.
func (x *exam) otherListeners() (all []socket) {
	for _, file := range []string{"proc/net/tcp", "proc/net/tcp6"} {
		for _, a := range parseSockets(x.read(file)) {
			if a.Addr().IsLoopback() || x.isListener(a.Addr(), a.Port()) || x.isProxys(a) || slices.Contains(all, socket{a}) {
				continue
			}
			all = append(all, socket{a})
		}
	}
	return all
}

// isProxys says whether an address is one of our listeners as the kernel writes it.
func (x *exam) isProxys(a netip.AddrPort) bool {
	return slices.ContainsFunc(x.cfg.Listen, func(l netip.AddrPort) bool {
		return l.Port() == a.Port() && (l.Addr() == a.Addr() || l.Addr().IsUnspecified() && a.Addr().IsUnspecified())
	})
}

const tcpListen = "0A"

// parseSockets reads /proc/net/tcp or tcp6 and returns where is listened.
func parseSockets(text string) (all []netip.AddrPort) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 4 || fields[3] != tcpListen {
			continue
		}
		if a, found := parseSocket(fields[1]); found {
			all = append(all, a)
		}
	}
	return all
}

// parseSocket reads an address as the kernel writes it: words of four bytes in the machine's order, which is little-endian on
// all that this program is built for, and a port.
func parseSocket(text string) (netip.AddrPort, bool) {
	words, port, _ := strings.Cut(text, ":")
	b, err := hex.DecodeString(words)
	p, portErr := strconv.ParseUint(port, 16, 16)
	if err != nil || portErr != nil || len(b) != 4 && len(b) != 16 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		binary.BigEndian.PutUint32(b[i:], binary.LittleEndian.Uint32(b[i:]))
	}
	a, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), true
}

func checkServices(_ context.Context, x *exam) Finding {
	if x.read("proc/net/tcp") == "" && x.read("proc/net/tcp6") == "" {
		return skip("this host does not show its sockets")
	}
	var details []string
	for _, s := range x.own() {
		what := s.addr.String()
		if name := services[s.addr.Port()]; name != "" {
			what += ": " + name + ", by its port"
		}
		details = append(details, what)
	}
	var f Finding
	switch {
	case len(details) == 0:
		f = ok("nothing but the proxy listens beyond this host itself")
	case x.fronted():
		f = warn("bind them to 127.0.0.1 or a private network, move them elsewhere, or close them in the firewall; then --ignore origin-services",
			"%s beside the proxy's can be reached on this host's addresses, unless a firewall closes them", plural(len(details), "port", "ports"))
	default:
		f = ok("%s beside the proxy's; no load balancer hides this host anyway", plural(len(details), "port", "ports"))
	}
	f.Details = details
	return f
}

// quick bounds one look for a certificate: it is this very host that answers.
const quick = 2 * time.Second

func checkOwnCertificates(ctx context.Context, x *exam) Finding {
	if !x.fronted() {
		return skip("no load balancer hides this host, so its certificate may name it")
	}
	var mu sync.Mutex
	var telling []string
	var asking sync.WaitGroup
	for _, a := range x.certificatePorts() {
		asking.Go(func() {
			if text := x.namesUs(ctx, a); text != "" {
				mu.Lock()
				telling = append(telling, text)
				mu.Unlock()
			}
		})
	}
	asking.Wait()
	if len(telling) == 0 {
		return ok("none that names the proxy is shown on this host's addresses")
	}
	slices.Sort(telling)
	f := fail("bind the web server to 127.0.0.1 or a unix socket (SLUICE_FRONT); if a firewall closes the port to all others, --ignore origin-certificates",
		"%s shown on this host's own addresses", plural(len(telling), "certificate that names the proxy is", "certificates that name the proxy are"))
	f.Details = telling
	return f
}

// certificatePorts are where scanners would find a certificate: the other listeners, each at an address that can be connected to,
// and those of the proxy's that let strangers past the load balancer see the front.
func (x *exam) certificatePorts() (all []netip.AddrPort) {
	for _, s := range x.own() {
		a := s.addr
		if a.Addr() == netip.IPv6Unspecified() {
			a = netip.AddrPortFrom(netip.IPv6Loopback(), a.Port())
		} else if a.Addr().IsUnspecified() {
			a = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), a.Port())
		}
		all = append(all, a)
	}
	for i, e := range x.cfg.Edges {
		if e.Ranges == nil || e.Outsiders != config.ToFront || x.cfg.Listen[i].Port() == 0 {
			continue
		}
		keeper, _ := ranges.NewKeeper(e.Ranges, x.cfg.StateDir, nil, x.world.Now)
		if to, found := x.outsideAddress(x.cfg.Listen[i], keeper.Set()); found {
			all = append(all, to)
		}
	}
	return all
}

// namesUs says which certificate at a names the public host or a secret's, if one does: without a name in the hello, as scanners
// ask, and with it.
func (x *exam) namesUs(ctx context.Context, a netip.AddrPort) string {
	names := x.hosts()
	if x.cfg.PublicHost != "" {
		names = append(names, x.cfg.PublicHost)
	}
	for _, hello := range append([]string{""}, names...) {
		conn, err := x.dial(ctx, "tcp", a.String())
		if err != nil {
			return ""
		}
		_ = conn.SetDeadline(time.Now().Add(min(quick, x.world.Step)))
		shown, err := x.visitTLS(ctx, conn, hello, false)
		if err != nil {
			return ""
		}
		for _, n := range names {
			if c := shown.leaf(); c != nil && c.VerifyHostname(n) == nil {
				how := "to everybody"
				if hello != "" {
					how = "to a hello for " + hello
				}
				return fmt.Sprintf("port %d, %s: %s", a.Port(), how, describe(c))
			}
		}
	}
	return ""
}
