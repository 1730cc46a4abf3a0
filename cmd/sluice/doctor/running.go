package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"sluice/engine/config"
)

// page is the metrics page of the running proxy.
type page []sample

// sample is one line of it.
type sample struct {
	name   string
	labels map[string]string
	value  float64
}

var (
	errNoAdmin = errors.New("SLUICE_ADMIN_LISTEN is off")
	errToken   = errors.New("the running proxy wants another SLUICE_ADMIN_TOKEN than this program was given")
)

const maxPage = 4 << 20

// askPage gets the metrics page of the proxy that runs with the same settings.
func (x *exam) askPage(ctx context.Context) (page, error) {
	status, body, err := x.askAdmin(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	if status == http.StatusUnauthorized {
		return nil, errToken
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("the admin address answers with status %d", status)
	}
	return parsePage(body), nil
}

// askAdmin gets one page of the admin address.
func (x *exam) askAdmin(ctx context.Context, path string) (status int, body string, err error) {
	if x.cfg.AdminListen == config.AdminOff {
		return 0, "", errNoAdmin
	}
	network, address := adminAddress(x.cfg.AdminListen)
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return x.dial(ctx, network, address)
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		return 0, "", err
	}
	if x.cfg.AdminToken != "" {
		request.Header.Set("Authorization", "Bearer "+string(x.cfg.AdminToken))
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	b, err := io.ReadAll(io.LimitReader(response.Body, maxPage))
	return response.StatusCode, string(b), err
}

// adminAddress turns an address that is listened on into one to connect to.
func adminAddress(admin string) (network, address string) {
	if path, found := strings.CutPrefix(admin, "unix:"); found {
		return "unix", path
	}
	a, err := netip.ParseAddrPort(admin)
	if err == nil && a.Addr().IsUnspecified() {
		return "tcp", netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), a.Port()).String()
	}
	return "tcp", admin
}

// parsePage reads Prometheus's text format as the proxy writes it; lines that are not so are passed over.
func parsePage(text string) (p page) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		at := strings.LastIndexByte(line, ' ')
		if at < 0 || line[0] == '#' {
			continue
		}
		v, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			continue
		}
		name, rest, _ := strings.Cut(line[:at], "{")
		s := sample{name: name, value: v, labels: map[string]string{}}
		for pair := range strings.SplitSeq(strings.TrimSuffix(rest, "}"), ",") {
			if key, quoted, found := strings.Cut(pair, "="); found {
				s.labels[key] = strings.Trim(quoted, `"`)
			}
		}
		p = append(p, s)
	}
	return p
}

// value is that of a family without labels.
func (p page) value(name string) (float64, bool) {
	for _, s := range p {
		if s.name == name {
			return s.value, true
		}
	}
	return 0, false
}

// by sums a family up for each value of a label, whatever its other labels.
func (p page) by(name, label string) map[string]float64 {
	sums := map[string]float64{}
	for _, s := range p {
		if s.name == name {
			sums[s.labels[label]] += s.value
		}
	}
	return sums
}

func checkRunning(ctx context.Context, x *exam) Finding {
	if x.cfg.AdminListen == config.AdminOff {
		return warn("set SLUICE_ADMIN_LISTEN to an address of this machine, or to a unix socket", "SLUICE_ADMIN_LISTEN is off, so the running proxy cannot be asked")
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		status, body, err := x.askAdmin(ctx, path)
		switch {
		case err != nil:
			return warn("start it, and run sluice doctor with the same settings", "no proxy answers at %s (%v); what only it could tell is left out", x.cfg.AdminListen, err)
		case status != http.StatusOK:
			return fail("look at its log", "the proxy says of itself at %s: %s", path, clean(strings.TrimSpace(body)))
		}
	}
	p, err := x.page()
	if err != nil {
		return warn("run sluice doctor with the settings of the running proxy, its token among them", "is well, but does not tell its metrics: %v", err)
	}
	c := p.by("sluice_connections", "state")
	return ok("is well, and carries %.0f sessions and %.0f strangers", c["relay"], c["front"])
}

// noPage is the finding of a look that the running proxy did not answer.
func noPage(err error) Finding {
	return skip("only the running proxy could tell, and it was not asked: %v", err)
}

func checkGuard(_ context.Context, x *exam) Finding {
	if len(x.states) == 0 {
		return skip("the listeners have no ranges, so there is nothing to guard")
	}
	if x.cfg.Edge.Outsiders == config.ToFront {
		return skip("SLUICE_EDGE_OUTSIDERS=front lets outsiders in, to the front")
	}
	p, err := x.page()
	if err != nil {
		return noPage(err)
	}
	switch on, found := p.value("sluice_edge_guard"); {
	case !found:
		return warn("restart the proxy", "the running proxy has no ranges in force, and the settings have")
	case on == 1:
		return ok("the kernel drops connections from outside the ranges; %.0f segments so far", sum(p.by("sluice_edge_guard_dropped_total", "family")))
	case x.cfg.EdgeGuard == config.GuardOff:
		return warn("use SLUICE_EDGE_GUARD=auto, or load sluice ranges --format nft", "is off: outsiders are closed after they are accepted")
	}
	return warn("give the process CAP_BPF and CAP_NET_ADMIN, or load sluice ranges --format nft into the firewall", "cannot be had: outsiders are closed after they are accepted")
}

// checkPeers looks at who has come since the proxy was started: from the ranges, and from outside of them.
func checkPeers(_ context.Context, x *exam) Finding {
	if len(x.states) == 0 {
		return skip("the listeners have no ranges, so everybody comes from where they come from")
	}
	p, err := x.page()
	if err != nil {
		return noPage(err)
	}
	came := sum(p.by("sluice_handshakes_total", "result")) - p.by("sluice_handshakes_total", "result")["outsider"]
	outside := p.by("sluice_refused_total", "cause")["outsider"] + p.by("sluice_handshakes_total", "result")["outsider"]
	dropped := sum(p.by("sluice_edge_guard_dropped_total", "family"))
	switch {
	case came == 0 && outside+dropped > 0:
		return warn("compare SLUICE_EDGE_RANGES with where the load balancer really connects from; its log or tcpdump tells, and sluice ranges shows the list",
			"nobody has come from the ranges yet; %.0f connections came from outside, and %.0f segments were dropped", outside, dropped)
	case came == 0:
		return ok("nobody has come yet: run sluice doctor again when somebody has")
	}
	return ok("%.0f connections came from the ranges; %.0f from outside, and %.0f segments were dropped", came, outside, dropped)
}

func sum(m map[string]float64) (all float64) {
	for _, v := range m {
		all += v
	}
	return all
}

func checkHeaders(_ context.Context, x *exam) Finding {
	p, err := x.page()
	if err != nil {
		return noPage(err)
	}
	return judgeHeaders(x.cfg, p.by("sluice_proxy_headers_total", "result"), p.by("sluice_handshakes_total", "result")["ok"])
}

// judgeHeaders compares the headers that have come since the proxy was started, and how many clients got in, with what the settings say.
func judgeHeaders(cfg *config.Config, n map[string]float64, clients float64) Finding {
	required, optional := false, false
	for _, e := range cfg.Edges {
		required = required || e.Header == config.Required
		optional = optional || e.Header == config.Optional
	}
	good := n["v1"] + n["v2"]
	bad := n["malformed"] + n["too_long"] + n["bad_crc"] + n["bad_family"] + n["timeout"]
	switch {
	case n["unexpected"] > 0 && clients > n["unexpected"]: // anybody can send one
		return ok("is off, and %.0f clients came without; %.0f strangers sent a header", clients, n["unexpected"])
	case n["unexpected"] > 0:
		return fail("set SLUICE_PROXY_PROTOCOL=required, or turn PROXY off at the load balancer: the two must agree", "%.0f connections came with a PROXY header, and none is expected", n["unexpected"])
	case required && n["missing"] > 0 && good == 0:
		return fail("turn PROXY on at the load balancer, or set SLUICE_PROXY_PROTOCOL=off: the two must agree", "%.0f connections came without the PROXY header that is required, and none with it", n["missing"])
	case required && n["missing"] > 0:
		return warn("somebody in the ranges sends none: a listener of the load balancer that was forgotten, or a health check of another kind", "%.0f connections came with a PROXY header, %.0f without", good, n["missing"])
	case bad > 0:
		return warn("look at sluice_proxy_headers_total for why", "%.0f PROXY headers could not be used, %.0f could", bad, good)
	case optional:
		return warn("set SLUICE_PROXY_PROTOCOL=required when the load balancer is switched over", "is optional, and whoever gets in may claim any address; %.0f came so far", good)
	case required && good == 0:
		return ok("is required, and no connection has come yet: run sluice doctor again when one has")
	case required:
		return ok("is required, and all %.0f connections have it", good)
	}
	return ok("is off, and none has come")
}
