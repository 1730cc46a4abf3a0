package doctor

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"testing"
	"time"

	"sluice/faketls/probe"
)

func TestFront(t *testing.T) {
	s := newScene(t)
	s.look(checkFront).want(t, Fail, "connection refused", "SLUICE_FRONT")
	s.front()
	s.look(checkFront).want(t, OK, "200 OK")

	s.set("SLUICE_FRONT", site{}.serve(t))
	s.look(checkFront).want(t, Fail, "does not answer a TLS hello")

	s.set("SLUICE_FRONT", "www.example.org:8443")
	s.look(checkFront).want(t, Fail, "no address in DNS")
	s.names["www.example.org"] = []string{otherAddr}
	f := s.look(checkFront)
	f.want(t, Fail, "cannot be asked")
	if !f.far {
		t.Error("a front elsewhere that is not reached may mean that nothing is")
	}
	s.set("SLUICE_LISTEN", ":8443")
	s.names["www.example.org"] = []string{originAddr}
	s.look(checkFront).want(t, Fail, "leads back to this proxy")

	s.set("SLUICE_FRONT", "www.example.org")
	s.world.Offline = true
	s.look(checkFront).want(t, Skip, "--offline")
}

// TestFrontThatSaysNothing: what listens there may be anything.
func TestFrontThatSaysNothing(t *testing.T) {
	s := newScene(t)
	s.world.Step = 100 * time.Millisecond
	s.set("SLUICE_FRONT", server(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 1)); time.Sleep(300 * time.Millisecond) }))
	s.look(checkFront).want(t, Fail, "cannot be asked")
}

func TestFrontWithoutHTTP(t *testing.T) {
	s := newScene(t)
	config := onlyTLS(s.ca.issue(nil, publicName))
	s.set("SLUICE_FRONT", server(t, func(c net.Conn) { _ = tls.Server(c, config).Handshake() }))
	s.look(checkFront).want(t, Warn, "no HTTP request")
}

// TestFrontBehindAHeader: the front is asked as the proxy asks it.
func TestFrontBehindAHeader(t *testing.T) {
	s := newScene(t)
	behind := s.front()
	s.set("SLUICE_FRONT", server(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "PROXY TCP4 127.0.0.1 ") {
			return
		}
		up, err := net.Dial("tcp", behind)
		if err != nil {
			return
		}
		defer up.Close()
		go func() { _, _ = r.WriteTo(up) }()
		_, _ = bufio.NewReader(up).WriteTo(c)
	}))
	s.look(checkFront).want(t, Fail, "SLUICE_FRONT_PROXY_PROTOCOL")
	s.set("SLUICE_FRONT_PROXY_PROTOCOL", "v1")
	s.look(checkFront).want(t, OK)
}

func TestFrontCertificate(t *testing.T) {
	day := 24 * time.Hour
	for _, tt := range []struct {
		name   string
		change func(*x509.Certificate)
		names  []string
		other  bool // signed by an authority that nobody knows
		status Status
		says   string
	}{
		{name: "good", status: OK, says: "Test Authority"},
		{name: "a wildcard", names: []string{"*.example.org"}, status: OK},
		{name: "another name", names: []string{"www.example.com"}, status: Fail, says: "is not for " + publicName},
		{name: "ended", change: func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, status: Fail, says: "has ended"},
		{name: "not begun", change: func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }, status: Fail, says: "clock"},
		{name: "ends soon", change: func(c *x509.Certificate) { c.NotAfter = time.Now().Add(13 * day) }, status: Warn, says: "renew"},
		{name: "ends not so soon", change: func(c *x509.Certificate) { c.NotAfter = time.Now().Add(15 * day) }, status: OK},
		{name: "of nobody", other: true, status: Warn, says: "public authority"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t)
			ca := s.ca
			if tt.other {
				ca = newAuthority(t)
			}
			names := tt.names
			if names == nil {
				names = []string{publicName}
			}
			s.set("SLUICE_FRONT", site{tls: onlyTLS(ca.issue(tt.change, names...))}.serve(t))
			s.look(checkFrontCertificate).want(t, tt.status, tt.says)
		})
	}
}

// TestEverySecretNeedsACertificate: the front must be good for each name.
func TestEverySecretNeedsACertificate(t *testing.T) {
	s := newScene(t)
	s.front()
	s.set("SLUICE_SECRET", secretHex+","+secretKey+hexOf("www.example.net"))
	s.look(checkFrontCertificate).want(t, Fail, "is not for www.example.net")
	s.set("SLUICE_FRONT", "127.0.0.1:1")
	s.look(checkFrontCertificate).want(t, Skip, "front-reachable")
}

func TestFlight(t *testing.T) {
	tls12 := func(s *scene) *tls.Config {
		c := onlyTLS(s.ca.issue(nil, publicName))
		c.MaxVersion = tls.VersionTLS12
		return c
	}
	p256 := func(s *scene) *tls.Config {
		c := onlyTLS(s.ca.issue(nil, publicName))
		c.CurvePreferences = []tls.CurveID{tls.CurveP256}
		return c
	}
	x25519 := func(s *scene) *tls.Config {
		c := onlyTLS(s.ca.issue(nil, publicName))
		c.CurvePreferences = []tls.CurveID{tls.X25519}
		return c
	}
	hybrid := func(s *scene) *tls.Config { return onlyTLS(s.ca.issue(nil, publicName)) }
	long := func(s *scene) *tls.Config {
		var names []string
		for i := range 600 {
			names = append(names, strings.Repeat("a", 20)+string(rune('a'+i%26))+strings.Repeat("b", i/26)+".example.org")
		}
		c := onlyTLS(s.ca.issue(nil, append([]string{publicName}, names...)...))
		c.CurvePreferences = []tls.CurveID{tls.X25519}
		return c
	}
	for _, tt := range []struct {
		name   string
		config func(*scene) *tls.Config
		status Status
		says   string
	}{
		{"TLS 1.2", tls12, Fail, "turn TLS 1.3 on"},
		{"P-256", p256, Warn, "X25519"},
		{"X25519", x25519, OK, "the front answers with"},
		{"the hybrid group", hybrid, Warn, "SLUICE_HYBRID_KEY_SHARE"},
		{"too long", long, Warn, "shorter chain"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t)
			s.set("SLUICE_FRONT", site{tls: tt.config(s)}.serve(t))
			s.look(checkFlight).want(t, tt.status, tt.says)
		})
	}
	again := probe.Flight{Version: tls.VersionTLS13, Cipher: tls.TLS_AES_128_GCM_SHA256, Group: tls.X25519, Retry: true, Records: []int{900}}
	judgeFlight(again, false).want(t, Warn, "asked for another key share")
	newScene(t).look(checkFlight).want(t, Skip, "not reached")
}
