package doctor

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"
)

func TestPublicName(t *testing.T) {
	for _, tt := range []struct {
		name    string
		edge    string // "" is none
		addrs   []string
		private bool // this host has no public address
		own     string
		status  Status
		says    string
	}{
		{name: "Cloudflare's addresses", edge: "cloudflare-spectrum", addrs: []string{"104.16.1.1", "2606:4700::1"}, status: OK, says: "in the ranges"},
		{name: "this host's own", edge: "cloudflare-spectrum", addrs: []string{originAddr}, status: Fail, says: "leads to this very host"},
		{name: "one record of two is this host's", edge: "cloudflare-spectrum", addrs: []string{"104.16.1.1", originAddr}, status: Fail, says: originAddr},
		{name: "somebody else's", edge: "cloudflare-spectrum", addrs: []string{otherAddr}, status: Fail, says: "not in the ranges"},
		{name: "loopback, by /etc/hosts", edge: "cloudflare-spectrum", addrs: []string{"127.0.1.1"}, status: Warn, says: "/etc/hosts"},
		{name: "nobody's", edge: "cloudflare-spectrum", status: Fail, says: "no address in DNS"},
		{name: "an accelerator", edge: "aws-global-accelerator", addrs: []string{publicAddr}, status: OK, says: "not to this host"},
		{name: "unknown behind NAT", edge: "aws-global-accelerator", addrs: []string{publicAddr}, private: true, status: Warn, says: "--own"},
		{name: "told behind NAT", edge: "aws-global-accelerator", addrs: []string{publicAddr}, private: true, own: publicAddr, status: Fail, says: "this very host"},
		{name: "no edge, this host", addrs: []string{originAddr}, status: OK, says: "leads to this host"},
		{name: "no edge, NAT", addrs: []string{otherAddr}, private: true, status: OK, says: "private addresses only"},
		{name: "no edge, elsewhere", addrs: []string{otherAddr}, status: Warn, says: "not an address of this host"},
		{name: "an edge that is not told of", addrs: []string{"104.16.1.1"}, status: Fail, says: "ranges of cloudflare"},
		{name: "an SNI router beside the proxy", edge: "haproxy", addrs: []string{originAddr}, status: OK, says: "leads to this host"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t)
			s.set("SLUICE_PUBLIC_HOST", publicName)
			s.set("SLUICE_EDGE", tt.edge)
			s.names[publicName] = tt.addrs
			if tt.private {
				s.world.Local = []netip.Addr{netip.MustParseAddr("10.0.0.5")}
			}
			if tt.own != "" {
				s.world.Own = []netip.Addr{netip.MustParseAddr(tt.own)}
			}
			s.look(checkPublicName).want(t, tt.status, tt.says)
		})
	}
}

func TestPublicNameUnasked(t *testing.T) {
	s := newScene(t)
	s.look(checkPublicName).want(t, Skip, "SLUICE_PUBLIC_HOST")
	s.behindEdge()
	delete(s.env, "SLUICE_PUBLIC_HOST")
	s.look(checkPublicName).want(t, Warn, "SLUICE_PUBLIC_HOST")
	s.behindEdge()
	s.world.Resolve = func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("no resolver answers") }
	s.look(checkPublicName).want(t, Warn, "could not be asked", "no resolver answers")
	s.world.Offline = true
	s.look(checkPublicName).want(t, Skip, "--offline")
}

func TestSecretHost(t *testing.T) {
	for _, tt := range []struct {
		name, secret string
		public       []string
		host         []string
		edge         bool
		status       Status
		says         string
	}{
		{name: "the public name itself", public: []string{publicAddr}, edge: true, status: OK, says: "same address"},
		{name: "another name there", secret: "www.example.net", public: []string{publicAddr}, host: []string{otherAddr, publicAddr}, edge: true, status: OK, says: "same address"},
		{name: "another address of the edge", secret: "www.example.net", public: []string{publicAddr}, host: []string{"192.0.2.77"}, edge: true, status: OK, says: "ranges"},
		{name: "somebody else's site", secret: "www.example.net", public: []string{publicAddr}, host: []string{otherAddr}, edge: true, status: Warn, says: "do not belong together"},
		{name: "the origin", secret: "www.example.net", public: []string{publicAddr}, host: []string{originAddr}, edge: true, status: Fail, says: "past the load balancer"},
		{name: "loopback, by /etc/hosts", secret: "www.example.net", public: []string{publicAddr}, host: []string{"127.0.1.1"}, edge: true, status: Warn, says: "/etc/hosts"},
		{name: "no record", secret: "www.example.net", public: []string{publicAddr}, edge: true, status: Warn, says: "stands out"},
		{name: "no public name, this host", secret: "www.example.net", host: []string{originAddr}, status: OK, says: "leads to this host"},
		{name: "no public name, elsewhere", secret: "www.example.net", host: []string{otherAddr}, status: Warn, says: "SLUICE_PUBLIC_HOST"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t)
			if tt.edge {
				s.behindEdge()
				s.names[publicName] = tt.public
			}
			if tt.secret != "" {
				s.set("SLUICE_SECRET", secretKey+hexOf(tt.secret))
				s.names[tt.secret] = tt.host
			}
			s.look(checkSecretHosts).want(t, tt.status, tt.says)
		})
	}
}

func TestTheWorstSecretCounts(t *testing.T) {
	s := newScene(t)
	s.behindEdge()
	s.set("SLUICE_SECRET", secretHex+","+secretKey+hexOf("www.example.net"))
	s.names["www.example.net"] = []string{originAddr}
	s.look(checkSecretHosts).want(t, Fail, "www.example.net")
	s.world.Offline = true
	s.look(checkSecretHosts).want(t, Skip, "--offline")
}

func TestRanges(t *testing.T) {
	s := newScene(t)
	s.look(checkRanges).want(t, Skip)
	s.behindEdge()
	s.look(checkRanges).want(t, OK, "given: 1 range")
	s.set("SLUICE_EDGE_RANGES", "none")
	s.look(checkRanges).want(t, Warn, "everybody")
	s.set("SLUICE_EDGE_RANGES", "/nonexistent/list")
	s.look(checkRanges).want(t, Fail, "cannot be read")
	s.set("SLUICE_EDGE_RANGES", "https://127.0.0.1:1/list")
	s.look(checkRanges).want(t, Fail, "nobody gets in", "--refresh")

	s.set("SLUICE_EDGE_RANGES", "cloudflare")
	built := time.Date(2026, 2, 11, 0, 0, 0, 0, time.UTC)
	for days, status := range map[int]Status{staleDays: OK, staleDays + 1: Warn} {
		s.world.Now = func() time.Time { return built.AddDate(0, 0, days) }
		s.look(checkRanges).want(t, status, "as of 2026-02-11")
	}
	s.admin(`sluice_ranges_age_seconds{source="cloudflare"} 86400`) // the running proxy has a newer one
	s.look(checkRanges).want(t, OK, "as of 20")
}

func TestConfiguration(t *testing.T) {
	s := newScene(t)
	s.look(checkConfiguration).want(t, OK, "1 secret")
	s.set("SLUICE_ADMIN_LISTEN", ":9180")
	s.look(checkConfiguration).want(t, Warn, "SLUICE_ADMIN_LISTEN")
	s.set("SLUICE_SECRET", "")
	s.look(checkConfiguration).want(t, Warn, "trying out")
}
