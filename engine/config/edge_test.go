package config

import (
	"strings"
	"testing"

	"sluice/engine/edge/ranges"
)

// Every profile stands on its own, with the ranges and the header that its mode needs.
func TestProfiles(t *testing.T) {
	for i := range profiles {
		p := &profiles[i]
		if p.ranges != "" {
			if _, err := ranges.ParseSources(p.ranges); err != nil {
				t.Errorf("%s: %v", p.name, err)
			}
		}
		for _, m := range []Mode{Preserved, Proxied, Opaque} {
			e := p.stock(m)
			if (e.Header == Required) != (m == Proxied) || m == Preserved && e.Ranges != nil || m != Preserved && (e.Ranges == nil) != (p.ranges == "") {
				t.Errorf("%s, %v: %+v", p.name, m, e)
			}
		}
	}
}

func TestEdges(t *testing.T) {
	for _, tt := range []struct {
		set                  string // without the prefix, blanks between them
		mode, header, ranges string
		warning              string
	}{
		{"", "preserved", "off", "none", ""},
		{"EDGE=cloudflare-spectrum", "proxy", "required", "cloudflare", ""},
		{"EDGE=cloudflare-spectrum PROXY_PROTOCOL=off", "opaque", "off", "cloudflare", ""},
		{"EDGE=cloudflare-spectrum PROXY_PROTOCOL=optional", "proxy", "optional", "cloudflare", ""},
		{"EDGE=cloudflare-spectrum EDGE_RANGES=none", "proxy", "required", "none", "is believed"},
		{"EDGE=aws-nlb", "proxy", "required", "none", "is believed"},
		{"EDGE=aws-nlb EDGE_RANGES=10.0.0.0/24", "proxy", "required", "10.0.0.0/24", ""},
		{"EDGE=aws-nlb EDGE_RANGES=10.0.0.0/24 IDLE_TIMEOUT=350s", "proxy", "required", "10.0.0.0/24", "IDLE_TIMEOUT: is not below 5m50s"},
		{"EDGE=aws-global-accelerator", "preserved", "off", "none", ""},
		{"EDGE=aws-global-accelerator EDGE_MODE=opaque", "opaque", "off", "aws-global-accelerator", ""},
		{"EDGE=aws-global-accelerator PROXY_PROTOCOL=required", "proxy", "required", "none", "is believed"},
		{"EDGE=gcp-proxy-nlb", "proxy", "required", "gcp-load-balancer", ""},
		{"EDGE=haproxy", "proxy", "required", "127.0.0.0/8,::1/128", ""},
		{"EDGE=custom EDGE_MODE=proxy EDGE_RANGES=192.0.2.1,cloudflare", "proxy", "required", "cloudflare,192.0.2.1/32", ""},
		{"PROXY_PROTOCOL=required", "proxy", "required", "none", "is believed"},
	} {
		t.Run(tt.set, func(t *testing.T) {
			var env []string
			for _, s := range strings.Fields(tt.set) {
				env = append(env, Prefix+s)
			}
			c := mustLoad(t, env...)
			if e := c.Edge; e.Mode.String() != tt.mode || e.Header.String() != tt.header || showRanges(e.Ranges) != tt.ranges {
				t.Errorf("mode %v, header %v, ranges %s", e.Mode, e.Header, showRanges(e.Ranges))
			}
			var all []string
			for _, w := range c.Warnings {
				all = append(all, w.Error())
			}
			if text := strings.Join(all, "\n"); (tt.warning == "") != (text == "") || !strings.Contains(text, tt.warning) {
				t.Errorf("warned: %q, want %q", text, tt.warning)
			}
		})
	}
}

func TestEdgesThatCannotBe(t *testing.T) {
	for set, want := range map[string]string{
		"EDGE=akamai":              "EDGE: \"akamai\" is not a choice",
		"EDGE=custom":              "EDGE: custom says nothing by itself",
		"EDGE_RANGES=192.0.2.0/24": "EDGE_RANGES: would shut every client out",
		"EDGE=aws-global-accelerator EDGE_RANGES=10.0.0.1":      "EDGE_RANGES: would shut every client out",
		"EDGE=haproxy EDGE_MODE=opaque PROXY_PROTOCOL=required": "PROXY_PROTOCOL: is required, and mode opaque",
		"EDGE=haproxy EDGE_MODE=proxy PROXY_PROTOCOL=off":       "PROXY_PROTOCOL: is off, and mode proxy",
		"EDGE=haproxy EDGE_RANGES=0.0.0.0/0":                    "EDGE_RANGES: a range takes in almost everybody",
		"EDGE=haproxy EDGE_RANGES=http://example.org/list":      "use https",
		"EDGE=haproxy EDGE_RANGES=,":                            "EDGE_RANGES: the list is empty",
		"EDGE=haproxy EDGE_REFRESH=1m":                          "EDGE_REFRESH: 1m is outside",
		"EDGE_OUTSIDERS=front EDGE_GUARD=required":              "EDGE_GUARD: is required, and SLUICE_EDGE_OUTSIDERS=front",
		"EDGE_GUARD=required":                                   "EDGE_GUARD: is required, and clients connect from anywhere",
		"EDGE=aws-nlb EDGE_GUARD=required":                      "has no ranges to guard",
		"EDGE=custom EDGE_MODE=opaque EDGE_GUARD=required":      "has no ranges to guard",
		"LISTEN=:8443 ADMIN_LISTEN=127.0.0.1:8443":              "ADMIN_LISTEN: is where clients are taken",
		"LISTEN=127.0.0.1:8443 ADMIN_LISTEN=127.0.0.1:8443":     "ADMIN_LISTEN: is where clients are taken",
		"EDGE_GUARD=on": "EDGE_GUARD: \"on\" is not a choice",
		"EDGE_MODE=preserved PROXY_PROTOCOL=optional": "PROXY_PROTOCOL: is optional, and mode preserved",
		"LISTEN=:443=custom":                          "LISTEN: [::]:443: custom says nothing",
		"EDGE_OUTSIDERS=reject":                       "EDGE_OUTSIDERS: \"reject\" is not a choice",
		"LISTEN=:443=akamai":                          "LISTEN: \"akamai\" is not an edge",
		"LISTEN=:443=":                                "LISTEN: \"\" is not an edge",
	} {
		var env []string
		for _, s := range strings.Fields(set) {
			env = append(env, Prefix+s)
		}
		if got := problemsOf(t, env...).Error(); !strings.Contains(got, want) {
			t.Errorf("%s: %s", set, got)
		}
	}
}

// A listener may have an edge of its own; what is set for SLUICE_EDGE is not meant for it.
func TestListenersEdges(t *testing.T) {
	c := mustLoad(t, "SLUICE_LISTEN=:443,:444=none,127.0.0.1:445=Cloudflare-Spectrum,:446=haproxy", "SLUICE_EDGE=haproxy", "SLUICE_EDGE_RANGES=192.0.2.0/24",
		"SLUICE_EDGE_OUTSIDERS=front")
	var got []string
	for i, e := range c.Edges {
		got = append(got, c.Listen[i].String()+" "+e.Profile+" "+e.Mode.String()+" "+showRanges(e.Ranges)+" "+e.Outsiders.String())
	}
	want := "[::]:443 haproxy proxy 192.0.2.0/24 front|[::]:444 none preserved none front|127.0.0.1:445 cloudflare-spectrum proxy cloudflare front|[::]:446 haproxy proxy 192.0.2.0/24 front"
	if strings.Join(got, "|") != want {
		t.Errorf("%q", got)
	}
	if text := showListeners(c); text != "[::]:443,[::]:444=none,127.0.0.1:445=cloudflare-spectrum,[::]:446" {
		t.Errorf("shown as %s", text)
	}
}
