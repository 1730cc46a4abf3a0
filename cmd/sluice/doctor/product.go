package doctor

import (
	"crypto/x509"
	"net/http"
	"slices"
	"strings"
)

// product is a web proxy of layer 7 with what gives it away.
type product struct {
	name    string
	headers [][2]string // a header, and what its value holds in lower case; "" is anything
	certs   []string    // parts of a certificate's names or organisations, in lower case
}

var products = []product{
	{name: "Cloudflare's orange cloud", headers: [][2]string{{"Cf-Ray", ""}, {"Server", "cloudflare"}}, certs: []string{"cloudflare"}},
	{name: "Amazon CloudFront", headers: [][2]string{{"X-Amz-Cf-Id", ""}, {"Via", "cloudfront"}, {"Server", "cloudfront"}}, certs: []string{"cloudfront.net"}},
	{name: "an AWS application load balancer", headers: [][2]string{{"Server", "awselb"}}, certs: []string{"elb.amazonaws.com"}},
	{name: "a Google Cloud HTTP(S) load balancer", headers: [][2]string{{"Via", "1.1 google"}}},
	{name: "Fastly", headers: [][2]string{{"X-Fastly-Request-Id", ""}, {"X-Served-By", "cache-"}, {"Via", "varnish"}}, certs: []string{"fastly"}},
	{name: "BunnyCDN", headers: [][2]string{{"Server", "bunnycdn"}, {"Cdn-Pullzone", ""}}, certs: []string{"b-cdn.net", "bunny.net"}},
	{name: "Gcore", headers: [][2]string{{"Server", "gcore"}, {"X-Id-Fe", ""}}, certs: []string{"gcdn.co", "gcore"}},
	{name: "Akamai", headers: [][2]string{{"Server", "akamai"}, {"X-Akamai-Request-Id", ""}}, certs: []string{"akamai"}},
}

// ofHead is the product that an HTTP answer comes from; "" is none that is known.
func ofHead(h http.Header) string {
	for _, p := range products {
		for _, want := range p.headers {
			for _, v := range h.Values(want[0]) {
				if strings.Contains(strings.ToLower(v), want[1]) {
					return p.name
				}
			}
		}
	}
	return ""
}

// ofCertificate is the product that a certificate was issued to, or for.
func ofCertificate(c *x509.Certificate) string {
	if c == nil {
		return ""
	}
	texts := slices.Concat(c.DNSNames, c.Subject.Organization, []string{c.Subject.CommonName}, c.Issuer.Organization, []string{c.Issuer.CommonName})
	for _, p := range products {
		for _, want := range p.certs {
			if slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(strings.ToLower(t), want) }) {
				return p.name
			}
		}
	}
	return ""
}

// telling are the headers of an answer worth showing, as they were.
func telling(h http.Header) (lines []string) {
	names := []string{"Server", "Via"}
	for _, p := range products {
		for _, want := range p.headers {
			if !slices.Contains(names, want[0]) {
				names = append(names, want[0])
			}
		}
	}
	for _, n := range names {
		if v := h.Get(n); v != "" {
			lines = append(lines, n+": "+clean(v))
		}
	}
	return lines
}

// clean makes a stranger's text fit for a terminal.
func clean(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, text)
	if len(text) > 120 {
		return text[:120] + "…"
	}
	return text
}
