package doctor

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"net"
	"net/http"
	"testing"
)

func hexOf(text string) string { return hex.EncodeToString([]byte(text)) }

// namesCDN makes a certificate one of a CDN.
func namesCDN(organization string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.Subject = pkix.Name{Organization: []string{organization}} }
}

func TestThroughThePublicName(t *testing.T) {
	nginx := http.Header{"Server": {"nginx"}}
	for _, tt := range []struct {
		name   string
		there  func(s *scene, front string) string // what the public name leads to
		status Status
		says   []string
	}{
		{
			name: "the front itself, through TCP", status: OK, says: []string{"the front's own answers"},
			there: func(_ *scene, front string) string { return front },
		},
		{
			name: "an orange cloud with a certificate of its own", status: Fail, says: []string{"orange cloud", "Cf-Ray: 8f", "layer 4"},
			there: func(s *scene, _ string) string {
				cert := s.ca.issue(namesCDN("Cloudflare, Inc."), "sni.cloudflaressl.com", publicName)
				return site{head: http.Header{"Server": {"cloudflare"}, "Cf-Ray": {"8f-FRA"}}, tls: onlyTLS(cert)}.serve(s.t)
			},
		},
		{
			name: "an orange cloud that was given the front's certificate", status: Fail, says: []string{"orange cloud", "Server: cloudflare"},
			there: func(s *scene, _ string) string {
				return site{head: http.Header{"Server": {"cloudflare"}}, tls: onlyTLS(s.shared)}.serve(s.t)
			},
		},
		{
			name: "an orange cloud without TLS", status: Fail, says: []string{"orange cloud", "asked in clear"},
			there: func(s *scene, _ string) string {
				return site{head: http.Header{"Server": {"cloudflare"}, "Cf-Ray": {"1"}}}.serve(s.t)
			},
		},
		{
			name: "CloudFront by its header", status: Fail, says: []string{"Amazon CloudFront"},
			there: func(s *scene, _ string) string {
				return site{head: http.Header{"X-Amz-Cf-Id": {"x"}}, tls: onlyTLS(s.ca.issue(nil, publicName))}.serve(s.t)
			},
		},
		{
			name: "Fastly by its certificate", status: Fail, says: []string{"Fastly"},
			there: func(s *scene, _ string) string {
				return site{head: nginx, tls: onlyTLS(s.ca.issue(namesCDN("Fastly, Inc."), publicName))}.serve(s.t)
			},
		},
		{
			name: "somebody unknown who ends TLS", status: Fail, says: []string{"does not get what the front answers", "layer 7"},
			there: func(s *scene, _ string) string {
				return site{head: nginx, tls: onlyTLS(s.ca.issue(nil, publicName))}.serve(s.t)
			},
		},
		{
			name: "the front's certificate and another web server", status: Warn, says: []string{"another web server"},
			there: func(s *scene, _ string) string {
				return site{head: http.Header{"Server": {"apache"}}, tls: onlyTLS(s.shared)}.serve(s.t)
			},
		},
		{
			name: "somebody who closes", status: Fail, says: []string{"no certificate"},
			there: func(s *scene, _ string) string { return server(s.t, func(c net.Conn) {}) },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t)
			s.behindEdge()
			cert := s.ca.issue(nil, publicName)
			front := site{head: nginx, tls: onlyTLS(cert)}.serve(t)
			s.set("SLUICE_FRONT", front)
			s.shared = cert
			s.route(publicAddr+":443", tt.there(s, front))
			s.look(checkPublicTLS).want(t, tt.status, tt.says...)
		})
	}
}

// TestFrontOnTheSameCDN: where the site of the secret is itself behind a CDN, its headers say nothing about our path.
func TestFrontOnTheSameCDN(t *testing.T) {
	s := newScene(t)
	s.behindEdge()
	front := site{
		head: http.Header{"Server": {"cloudflare"}, "Cf-Ray": {"1"}}, tls: onlyTLS(s.ca.issue(namesCDN("Cloudflare, Inc."), publicName)),
	}.serve(t)
	s.set("SLUICE_FRONT", front)
	s.route(publicAddr+":443", front)
	s.look(checkPublicTLS).want(t, OK)
}

func TestPublicNameThatDoesNotAnswer(t *testing.T) {
	s := newScene(t)
	s.look(checkPublicTLS).want(t, Skip, "SLUICE_PUBLIC_HOST")
	s.behindEdge()
	s.front()
	s.look(checkPublicTLS).want(t, Warn, "could not be asked", "openssl s_client")
	s.route(publicAddr+":443", "127.0.0.1:1")
	s.look(checkPublicTLS).want(t, Warn, "could not be asked")
	s.admin("sluice_accepted_total 1")
	s.look(checkPublicTLS).want(t, Fail, "the proxy runs", "refuses")
	s.world.Offline = true
	s.look(checkPublicTLS).want(t, Skip, "--offline")
}

// TestFrontThatDoesNotAnswer: without the front there is nothing to compare with, but a known CDN is still one.
func TestFrontThatDoesNotAnswer(t *testing.T) {
	s := newScene(t)
	s.behindEdge()
	s.route(publicAddr+":443", site{tls: onlyTLS(s.ca.issue(nil, publicName))}.serve(t))
	s.look(checkPublicTLS).want(t, Warn, "cannot be compared")
	s.route(publicAddr+":443", site{head: http.Header{"Cf-Ray": {"1"}}, tls: onlyTLS(s.ca.issue(nil, publicName))}.serve(t))
	s.look(checkPublicTLS).want(t, Fail, "orange cloud")
}

func TestProducts(t *testing.T) {
	for header, want := range map[[2]string]string{
		{"Server", "cloudflare"}:        "Cloudflare's orange cloud",
		{"CF-RAY", "abc"}:               "Cloudflare's orange cloud",
		{"Via", "1.1 x.cloudfront.net"}: "Amazon CloudFront",
		{"Server", "awselb/2.0"}:        "an AWS application load balancer",
		{"Via", "1.1 google"}:           "a Google Cloud HTTP(S) load balancer",
		{"X-Served-By", "cache-fra-1"}:  "Fastly",
		{"Server", "BunnyCDN-DE1-1"}:    "BunnyCDN",
		{"Server", "gcore"}:             "Gcore",
		{"Server", "AkamaiGHost"}:       "Akamai",
		{"Server", "nginx"}:             "",
		{"Via", "1.1 squid"}:            "",
	} {
		h := http.Header{}
		h.Set(header[0], header[1])
		if got := ofHead(h); got != want {
			t.Errorf("%v: %q, want %q", header, got, want)
		}
	}
	if got := clean("a\x1b[31mb\u009b"); got != "a?[31mb?" {
		t.Errorf("a stranger's text reaches the terminal as %q", got)
	}
}
