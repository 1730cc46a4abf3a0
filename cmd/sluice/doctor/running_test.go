package doctor

import (
	"errors"
	"net/http"
	"testing"
)

func TestRunning(t *testing.T) {
	s := newScene(t)
	s.look(checkRunning).want(t, Warn, "no proxy answers")
	s.admin(`sluice_connections{state="relay"} 12`, `sluice_connections{state="front"} 3`)
	s.look(checkRunning).want(t, OK, "12 sessions and 3 strangers")
	s.set("SLUICE_ADMIN_LISTEN", "off")
	s.look(checkRunning).want(t, Warn, "off")
}

// TestRunningWithAToken: the metrics are asked for with the token, and a wrong one is not taken for a proxy that does not run.
func TestRunningWithAToken(t *testing.T) {
	s := newScene(t)
	s.set("SLUICE_ADMIN_TOKEN", "0123456789abcdef0123456789abcdef")
	s.admin(`sluice_connections{state="relay"} 12`, `sluice_connections{state="front"} 3`)
	s.look(checkRunning).want(t, OK, "12 sessions")
	x := s.exam()
	x.cfg.AdminToken = "fedcba9876543210fedcba9876543210"
	if _, err := x.page(); !errors.Is(err, errToken) {
		t.Errorf("with another token: %v", err)
	}
	checkRunning(t.Context(), x).want(t, Warn, "SLUICE_ADMIN_TOKEN")
}

func TestRunningAndUnwell(t *testing.T) {
	s := newScene(t)
	s.adminWith(http.StatusServiceUnavailable)
	s.look(checkRunning).want(t, Fail, "a loop does not turn")
}

func TestHeaders(t *testing.T) {
	const family = "sluice_proxy_headers_total"
	for _, tt := range []struct {
		name, policy string
		lines        []string
		status       Status
		says         string
	}{
		{"none yet", "required", nil, OK, "no connection has come"},
		{"all have it", "required", []string{`{result="v2"} 40`}, OK, "all 40"},
		{"none has it", "required", []string{`{result="missing"} 7`}, Fail, "turn PROXY on at the load balancer"},
		{"one has none", "required", []string{`{result="v1"} 40`, `{result="missing"} 1`}, Warn, "1 without"},
		{"some are broken", "required", []string{`{result="v1"} 40`, `{result="malformed"} 2`}, Warn, "2 PROXY headers could not be used"},
		{"unexpected", "off", []string{`{result="unexpected"} 9`}, Fail, "SLUICE_PROXY_PROTOCOL=required"},
		{"a stranger's", "off", []string{"{result=\"unexpected\"} 9\nsluice_handshakes_total{result=\"ok\"} 10"}, OK, "9 strangers sent a header"},
		{"as many as clients", "off", []string{"{result=\"unexpected\"} 9\nsluice_handshakes_total{result=\"ok\"} 9"}, Fail, "none is expected"},
		{"none, as expected", "off", nil, OK, "is off"},
		{"for the hour of a switch", "optional", []string{`{result="v1"} 3`}, Warn, "optional"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t)
			s.behindEdge()
			if tt.policy != "off" {
				s.set("SLUICE_EDGE_MODE", "proxy")
				s.set("SLUICE_PROXY_PROTOCOL", tt.policy)
			}
			lines := []string{`sluice_proxy_headers_total{result="v1"} 0`}
			for _, l := range tt.lines {
				lines = append(lines, family+l)
			}
			s.admin(lines...)
			s.look(checkHeaders).want(t, tt.status, tt.says)
		})
	}
	newScene(t).look(checkHeaders).want(t, Skip, "not asked")
}

func TestGuard(t *testing.T) {
	for _, tt := range []struct {
		name, outsiders, guard string
		lines                  []string
		status                 Status
		says                   string
	}{
		{"on", "", "", []string{"sluice_edge_guard 1", `sluice_edge_guard_dropped_total{family="ipv4"} 5`}, OK, "5 segments"},
		{"not to be had", "", "", []string{"sluice_edge_guard 0"}, Warn, "CAP_BPF"},
		{"off", "", "off", []string{"sluice_edge_guard 0"}, Warn, "SLUICE_EDGE_GUARD=auto"},
		{"other settings run", "", "", nil, Warn, "restart"},
		{"nothing to guard", "front", "", nil, Skip, "outsiders in"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t)
			s.behindEdge()
			s.set("SLUICE_EDGE_OUTSIDERS", tt.outsiders)
			s.set("SLUICE_EDGE_GUARD", tt.guard)
			s.admin(tt.lines...)
			s.look(checkGuard).want(t, tt.status, tt.says)
		})
	}
	newScene(t).look(checkGuard).want(t, Skip, "no ranges")
}

func TestPeers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		lines  []string
		status Status
		says   string
	}{
		{"nobody", nil, OK, "nobody has come yet"},
		{"from the ranges", []string{`sluice_handshakes_total{result="ok"} 7`, `sluice_refused_total{cause="outsider"} 90`}, OK, "7 connections came from the ranges; 90 from outside"},
		{"from outside alone", []string{`sluice_refused_total{cause="outsider"} 90`}, Warn, "90 connections came from outside"},
		{"from outside, to the front", []string{`sluice_handshakes_total{result="outsider"} 5`}, Warn, "5 connections came from outside"},
		{"from outside, to the guard", []string{`sluice_edge_guard_dropped_total{family="ipv4"} 3`}, Warn, "3 segments"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t)
			s.behindEdge()
			s.admin(tt.lines...)
			s.look(checkPeers).want(t, tt.status, tt.says)
		})
	}
	newScene(t).look(checkPeers).want(t, Skip, "no ranges")
}

func TestParsePage(t *testing.T) {
	p := parsePage("# HELP a b\n\na 1\nb{x=\"1\",edge=\"haproxy\"} 2\nb{x=\"2\",edge=\"none\"} 3.5\nb{x=\"2\",edge=\"haproxy\"} 1e2\nnonsense\nc x\n")
	if v, found := p.value("a"); v != 1 || !found {
		t.Errorf("a is %v, %v", v, found)
	}
	if _, found := p.value("c"); found {
		t.Error("c has no number, yet a value")
	}
	if got := p.by("b", "edge"); got["haproxy"] != 102 || got["none"] != 3.5 {
		t.Errorf("b by edge: %v", got)
	}
	if got := sum(p.by("b", "unknown")); got != 105.5 {
		t.Errorf("b by a label it has not: %v", got)
	}
}

func TestAdminAddress(t *testing.T) {
	for in, want := range map[string]string{"unix:/run/x": "unix /run/x", "[::]:9180": "tcp 127.0.0.1:9180", "10.0.0.1:1": "tcp 10.0.0.1:1"} {
		if network, address := adminAddress(in); network+" "+address != want {
			t.Errorf("%s: %s %s, want %s", in, network, address, want)
		}
	}
}
