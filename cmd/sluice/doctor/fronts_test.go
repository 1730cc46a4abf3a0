package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// blogName is the host of a second secret, whose front is its own.
const blogName = "blog.example.net"

// siteFor is a web server as it should be, for some names.
func (s *scene) siteFor(names ...string) string {
	s.t.Helper()
	return site{head: http.Header{"Server": {"nginx"}}, tls: s.plainFlight(names...)}.serve(s.t)
}

// plainFlight is a handshake that ours can resemble, whatever is set.
func (s *scene) plainFlight(names ...string) *tls.Config {
	c := onlyTLS(s.ca.issue(nil, names...))
	c.CurvePreferences = []tls.CurveID{tls.X25519}
	return c
}

// twoFronts is a scene with two secrets and a good front for all names but those that rest says.
func twoFronts(t *testing.T, rest string) *scene {
	s := newScene(t)
	s.set("SLUICE_SECRET", secretHex+","+secretKey+hexOf(blogName))
	s.set("SLUICE_FRONT", s.siteFor(publicName)+","+rest)
	return s
}

// TestOneFront: where there is but one, nothing is said of others.
func TestOneFront(t *testing.T) {
	s := newScene(t)
	at := s.siteFor(publicName)
	s.set("SLUICE_FRONT", at)
	if f := s.look(checkFront); f.Seen != at+" answers: HTTP 200 OK" || f.Details != nil {
		t.Errorf("%+v", f)
	}
	if f := s.look(checkFrontCertificate); !strings.HasPrefix(f.Seen, "is good for "+publicName) || f.Details != nil {
		t.Errorf("%+v", f)
	}
	if f := s.look(checkFlight); !strings.HasPrefix(f.Seen, "the front answers with ") || f.Details != nil {
		t.Errorf("%+v", f)
	}
}

// TestSecondFront: what is wrong with a second front alone is found, and whose it is is said.
func TestSecondFront(t *testing.T) {
	for _, tt := range []struct {
		name   string
		front  func(s *scene) string
		look   func(context.Context, *exam) Finding
		status Status
		says   string
	}{
		{"good", func(s *scene) string { return s.siteFor(blogName) }, checkFront, OK, "2 fronts answer"},
		{"good, its certificate", func(s *scene) string { return s.siteFor(blogName) }, checkFrontCertificate, OK, "2 fronts have good certificates"},
		{"good, its flight", func(s *scene) string { return s.siteFor(blogName) }, checkFlight, OK, "our handshake resembles those of 2 fronts"},
		{"down", func(*scene) string { return "127.0.0.1:1" }, checkFront, Fail, "1 of 2 fronts: " + blogName + "=127.0.0.1:1: cannot be asked"},
		{"down, its certificate", func(*scene) string { return "127.0.0.1:1" }, checkFrontCertificate, OK, "1 not looked at: the front shows none for " + blogName},
		{"down, its flight", func(*scene) string { return "127.0.0.1:1" }, checkFlight, OK, "1 not looked at: the front was not reached"},
		{"no socket", func(*scene) string { return "unix:/nowhere/blog.sock" }, checkFront, Fail, blogName + "=unix:/nowhere/blog.sock: cannot be asked"},
		{"no TLS", func(s *scene) string { return site{}.serve(s.t) }, checkFront, Fail, "does not answer a TLS hello for " + blogName},
		{"no address", func(*scene) string { return "blog.invalid:444" }, checkFront, Fail, blogName + "=blog.invalid:444: blog.invalid has no address"},
		{"wrong certificate", func(s *scene) string { return s.siteFor(publicName) }, checkFrontCertificate, Fail, "is not for " + blogName},
		{"TLS 1.2", func(s *scene) string {
			c := onlyTLS(s.ca.issue(nil, blogName))
			c.MaxVersion = tls.VersionTLS12
			return site{tls: c}.serve(s.t)
		}, checkFlight, Fail, "turn TLS 1.3 on"},
		{"another group", func(s *scene) string {
			c := s.plainFlight(blogName)
			c.CurvePreferences = []tls.CurveID{tls.CurveP256}
			return site{tls: c}.serve(s.t)
		}, checkFlight, Warn, "let the front take X25519"},
		{"it is the listener", func(s *scene) string {
			s.set("SLUICE_LISTEN", ":8443")
			s.names["blog.test"] = []string{originAddr}
			return "blog.test:8443"
		}, checkFront, Fail, "leads back to this proxy (" + originAddr + ")"},
		{"it is where the public name leads", func(s *scene) string {
			s.behindEdge()
			s.names["blog.test"] = []string{publicAddr}
			return "blog.test:443"
		}, checkFront, Fail, "leads back to this proxy (" + publicAddr + ")"},
		{"it is the public address", func(s *scene) string { s.behindEdge(); return publicAddr + ":443" }, checkFront, Fail, "leads back"},
		{"it is the public address's other port", func(s *scene) string {
			s.behindEdge()
			s.route(publicAddr+":444", s.siteFor(blogName))
			return publicAddr + ":444"
		}, checkFront, OK, "2 fronts answer"},
		{"it leads back by a way that only the proxy sees", func(s *scene) string {
			s.admin(`sluice_front_looped{front="1"} 0`, `sluice_front_looped{front="2"} 1`)
			return server(s.t, func(net.Conn) {})
		}, checkFront, Fail, "by its own word"},
		{"it answers, whatever the proxy has said", func(s *scene) string {
			s.admin(`sluice_front_looped{front="2"} 1`)
			return s.siteFor(blogName)
		}, checkFront, OK, "2 fronts answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := twoFronts(t, blogName+"=127.0.0.1:2")
			s.set("SLUICE_FRONT", strings.Replace(s.env["SLUICE_FRONT"], "127.0.0.1:2", tt.front(s), 1))
			f := s.look(tt.look)
			f.want(t, tt.status, tt.says)
			if bad := tt.status == Fail || tt.status == Warn; bad && !strings.HasPrefix(f.Seen, "1 of 2 fronts: "+blogName+"=") {
				t.Errorf("does not say which front is meant: %s", f.Seen)
			}
		})
	}
}

// TestFrontOnASocket: a front of its own may be a unix socket; it is on this host, so it is asked offline, too.
func TestFrontOnASocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "blog.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := twoFronts(t, blogName+"=unix:"+path)
	web := &http.Server{TLSConfig: s.plainFlight(blogName), ReadHeaderTimeout: 30 * time.Second}
	go func() { _ = web.ServeTLS(l, "", "") }()
	defer web.Close()
	s.world.Offline = true
	s.look(checkFront).want(t, OK, "2 fronts answer")
	s.look(checkFrontCertificate).want(t, OK, "2 fronts have good certificates")
}

// TestWildcardFront: it is asked for a name that a secret uses; where none does, that is said, and nothing is held against it.
func TestWildcardFront(t *testing.T) {
	s := twoFronts(t, "*.example.net=127.0.0.1:1")
	s.look(checkFront).want(t, Fail, "*.example.net=127.0.0.1:1: cannot be asked")

	s = twoFronts(t, "")
	s.set("SLUICE_FRONT", s.siteFor(publicName)+",*.example.net="+s.siteFor("*.example.net"))
	s.look(checkFrontCertificate).want(t, OK, "2 fronts have good certificates", "is good for "+blogName)
	s.look(checkFlight).want(t, OK, "those of 2 fronts")

	picky := s.plainFlight("shop.example.com")
	picky.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		if h.ServerName != "shop.example.com" {
			return nil, errors.New("not here")
		}
		return nil, nil
	}
	s = twoFronts(t, "")
	s.set("SLUICE_FRONT", s.siteFor(publicName, blogName)+",*.example.com="+site{tls: picky}.serve(t))
	s.look(checkFront).want(t, OK, "has nothing for www.example.com: which names lead to it is not known")
	s.look(checkFrontCertificate).want(t, OK, "127.0.0.1:", "is good for "+publicName, "; 1 not looked at: no name is known that leads there")
	s.look(checkFlight).want(t, OK, "; 1 not looked at: no secret's name leads there")
	s.set("SLUICE_FRONT", s.siteFor(publicName, blogName)+",*.example.com=127.0.0.1:1")
	s.look(checkFront).want(t, Fail, "*.example.com=127.0.0.1:1: cannot be asked")
}

// TestFrontOfAnotherName: a name that no secret has is one that a prober may ask for; only the flight is nobody's.
func TestFrontOfAnotherName(t *testing.T) {
	s := newScene(t)
	s.set("SLUICE_FRONT", s.siteFor(publicName)+",shop.example.com="+s.siteFor("shop.example.org"))
	s.look(checkFrontCertificate).want(t, Fail, "is not for shop.example.com")
	s.look(checkFlight).want(t, OK, "1 not looked at")
}

// TestFrontForOthersOnly: when every secret has a front of its own, the one for all other names is asked for what it calls itself.
func TestFrontForOthersOnly(t *testing.T) {
	s := newScene(t)
	s.names["www.example.com"] = []string{otherAddr}
	s.route(otherAddr+":443", s.siteFor("www.example.com"))
	s.set("SLUICE_FRONT", "www.example.com,"+publicName+"="+s.siteFor(publicName))
	s.look(checkFront).want(t, OK, "2 fronts answer")
	if x := s.exam(); x.fronts[0].name != "www.example.com" || x.fronts[1].name != publicName {
		t.Errorf("asked for %s and %s", x.fronts[0].name, x.fronts[1].name)
	}
	s.look(checkFrontCertificate).want(t, OK, publicName+"=127.0.0.1:", "1 not looked at: no name is known")
	s.set("SLUICE_FRONT", "www.example.com,"+publicName+"="+s.siteFor(blogName))
	s.look(checkFrontCertificate).want(t, Fail, "1 of 2 fronts: "+publicName+"=127.0.0.1:", "is not for", "; 1 not looked at: no name is known")
	s.set("SLUICE_FRONT", "127.0.0.1:1,"+publicName+"="+s.siteFor(publicName))
	s.look(checkFront).want(t, Fail, "1 of 2 fronts: 127.0.0.1:1: cannot be asked")
}

// TestFrontsByDefault: without SLUICE_FRONT the sites that the secrets name are looked at.
func TestFrontsByDefault(t *testing.T) {
	s := newScene(t)
	delete(s.env, "SLUICE_FRONT")
	s.set("SLUICE_SECRET", secretHex+","+secretKey+hexOf(blogName))
	s.names[publicName], s.names[blogName] = []string{publicAddr}, []string{otherAddr}
	s.route(publicAddr+":443", s.siteFor(publicName))
	f := s.look(checkFront)
	f.want(t, Fail, "1 of 2 fronts: "+blogName+"="+blogName+":443: cannot be asked")
	if !f.far {
		t.Error("a front elsewhere that is not reached may mean that nothing is")
	}
	s.route(otherAddr+":443", s.siteFor(blogName))
	s.look(checkFront).want(t, OK, "2 fronts answer")
	s.look(checkFrontCertificate).want(t, OK, "2 fronts have good certificates")
	s.world.Offline = true
	s.look(checkFront).want(t, Skip, "not asked: --offline")
	s.look(checkFlight).want(t, Skip, "not asked: --offline")
}

// TestSeveralBadFronts: the worst is told of first, and every one is listed. One that is here is no matter of the network.
func TestSeveralBadFronts(t *testing.T) {
	s := twoFronts(t, "")
	s.names["far.example"] = []string{otherAddr}
	s.set("SLUICE_FRONT", "far.example,"+blogName+"=127.0.0.1:1,a.example.com="+site{tls: s.plainFlight("a.example.com")}.serve(t)+",b.example.com="+site{}.serve(t))
	f := s.look(checkFront)
	f.want(t, Fail, "3 of 4 fronts: "+blogName+"=127.0.0.1:1: cannot be asked", "fail: far.example:443: cannot be asked", "do: serve the name over TLS there")
	if f.far || len(f.Details) != 2 {
		t.Errorf("far is %v, details %q", f.far, f.Details)
	}
}

// TestOfflineAmongFronts: what is on this host is asked, and it is said that the rest was not.
func TestOfflineAmongFronts(t *testing.T) {
	s := twoFronts(t, blogName+"=far.example,a.example.com=far.example")
	s.world.Offline = true
	s.look(checkFront).want(t, OK, ": answers: HTTP 200 OK; 2 not looked at: not asked: --offline")
	s.look(checkFrontCertificate).want(t, OK, "is good for "+publicName, "; 2 not looked at: not asked: --offline")
}

func TestOutboundOfFronts(t *testing.T) {
	s := newScene(t)
	s.set("SLUICE_FRONT", "www.example.org,blog.example.org=blog.example.com:444,*.example.com=blog.example.com:444,a.test=unix:/run/a.sock")
	f := s.look(checkOutbound)
	f.want(t, OK, "the front, www.example.org:443:", "the front of blog.example.org, blog.example.com:444:", "the front of *.example.com, blog.example.com:444:",
		"the front of a.test, unix:/run/a.sock:", "DNS: the address of www.example.org, each minute")
	if n := strings.Count(strings.Join(f.Details, "\n"), "DNS: the address of blog.example.com"); n != 1 {
		t.Errorf("one name is listed %d times", n)
	}
}

// TestThroughThePublicNameWithFronts: who asks for a name is compared with that name's own front, all others with the one for all.
func TestThroughThePublicNameWithFronts(t *testing.T) {
	s := newScene(t)
	s.behindEdge()
	mine, rest := s.plainFlight(publicName), s.plainFlight("www.example.com")
	s.set("SLUICE_FRONT", site{tls: rest}.serve(t)+","+publicName+"="+site{tls: mine}.serve(t))
	router := func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		if h.ServerName == publicName {
			return mine, nil
		}
		return rest, nil
	}
	s.route(publicAddr+":443", site{tls: &tls.Config{GetConfigForClient: router, Certificates: rest.Certificates}}.serve(t))
	s.look(checkPublicTLS).want(t, OK, "the front's own answers", publicName)
	s.route(publicAddr+":443", site{tls: rest}.serve(t))
	s.look(checkPublicTLS).want(t, Fail, "does not get what the front answers")
}

// TestFrontsInAReport: several fronts make no finding more, and a whole set-up with them can be well.
func TestFrontsInAReport(t *testing.T) {
	s := wholeScene(t)
	s.set("SLUICE_SECRET", secretHex+","+secretKey+hexOf(blogName))
	s.names[blogName] = []string{publicAddr}
	s.set("SLUICE_FRONT", s.env["SLUICE_FRONT"]+","+blogName+"="+s.siteFor(blogName)+",*.example.com="+s.siteFor("*.example.com"))
	r := s.run()
	var ids []string
	for _, f := range r.Findings {
		ids = append(ids, f.ID)
		if f.Status != OK {
			t.Errorf("%s is %s: %s", f.ID, f.Status, f.Seen)
		}
	}
	if !slices.Equal(ids, IDs()) {
		t.Errorf("findings %v", ids)
	}
}

// silent is a connection to somebody who never says a word.
type silent struct {
	net.Conn
	ended func()
}

func (c silent) Close() error {
	c.ended()
	return c.Conn.Close()
}

// TestManyFrontsThatSayNothing: there is a bound to how many are asked at a time, and to how long it takes; those whose turn did not come are
// told of, too.
func TestManyFrontsThatSayNothing(t *testing.T) {
	const fronts = 5 * atOnce // and there is time for four turns at most
	s := newScene(t)
	texts := []string{"127.0.0.1:1"}
	for i := 1; i < fronts; i++ {
		texts = append(texts, fmt.Sprintf("n%d.example=127.0.0.1:1", i))
	}
	s.set("SLUICE_FRONT", strings.Join(texts, ","))
	s.world.Step = 200 * time.Millisecond
	var now, most atomic.Int64
	s.world.Dial = func(_ context.Context, network, _ string) (net.Conn, error) {
		if network == "unix" { // the running proxy's page
			return nil, errOffline
		}
		near, far := net.Pipe()
		go func() {
			for b := make([]byte, 1<<10); ; {
				if _, err := far.Read(b); err != nil {
					return
				}
			}
		}()
		for n := now.Add(1); ; {
			if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
				break
			}
		}
		var once atomic.Bool
		return silent{near, func() {
			if once.CompareAndSwap(false, true) {
				now.Add(-1)
			}
		}}, nil
	}
	began := time.Now()
	f := s.look(checkFront)
	t.Logf("%d fronts in %v, %d at a time", fronts, time.Since(began), most.Load())
	f.want(t, Fail, fmt.Sprintf("%d of %d fronts", fronts, fronts))
	asked, late := 0, 0
	for _, d := range f.Details {
		if n := strings.Count(d, "127.0.0.1:1,") + strings.Count(d, "127.0.0.1:1:"); strings.Contains(d, errLate.Error()) {
			late += n
		} else {
			asked += n
		}
	}
	if asked == 0 || late == 0 || asked+late != fronts || len(f.Details) > 4 {
		t.Errorf("%d were asked, %d were late, %d lines: %q", asked, late, len(f.Details), f.Details)
	}
	if most.Load() > atOnce || now.Load() != 0 {
		t.Errorf("%d were asked at a time, and %d still are", most.Load(), now.Load())
	}
}

// TestFrontsAlike: what is the same of several fronts is said once; beyond three of them, who they are is in a line of its own.
func TestFrontsAlike(t *testing.T) {
	s := twoFronts(t, "")
	good := s.siteFor(publicName, blogName)
	down := ""
	for _, name := range []string{"a", "b", "c"} {
		down += "," + name + ".example=127.0.0.1:1"
	}
	s.set("SLUICE_FRONT", good+down)
	f := s.look(checkFront)
	f.want(t, Fail, "3 of 4 fronts: a.example=127.0.0.1:1, b.example=127.0.0.1:1, c.example=127.0.0.1:1: cannot be asked")
	if len(f.Details) != 0 {
		t.Errorf("said twice: %q", f.Details)
	}
	s.set("SLUICE_FRONT", good+down+",d.example=127.0.0.1:1")
	f = s.look(checkFront)
	f.want(t, Fail, "4 of 5 fronts: a.example=127.0.0.1:1, b.example=127.0.0.1:1, c.example=127.0.0.1:1, and 1 more: cannot be asked")
	if len(f.Details) != 1 || !strings.Contains(f.Details[0], "d.example=127.0.0.1:1: cannot be asked") {
		t.Errorf("details %q", f.Details)
	}
}

// TestReasonsAreFew: a sentence holds three reasons, and says how many there are more.
func TestReasonsAreFew(t *testing.T) {
	var all []Finding
	for _, text := range []string{"a", "b", "a", "c"} {
		all = append(all, skip("%s", text))
	}
	if got := reasons(all); got != "a; b; c" {
		t.Error(got)
	}
	if got := reasons(append(all, skip("d"), skip("e"))); got != "a; b; c; and 2 more" {
		t.Error(got)
	}
}
