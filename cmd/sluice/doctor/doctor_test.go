package doctor

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/engine/config"
)

func (s *scene) run(ignore ...string) Report {
	s.t.Helper()
	ctx, done := context.WithTimeout(s.t.Context(), 60*time.Second)
	defer done()
	return Run(ctx, s.config(), s.world, "v-test", ignore)
}

func (r Report) of(t *testing.T, id string) Finding {
	t.Helper()
	for _, f := range r.Findings {
		if f.ID == id {
			return f
		}
	}
	t.Fatalf("no finding %s", id)
	return Finding{}
}

// wholeScene is a proxy behind a load balancer as it should be.
func wholeScene(t *testing.T) *scene {
	s := newScene(t)
	s.behindEdge()
	front := onlyTLS(s.ca.issue(nil, publicName))
	front.CurvePreferences = []tls.CurveID{tls.X25519}
	addr := site{tls: front}.serve(t)
	s.set("SLUICE_FRONT", addr)
	s.route(publicAddr+":443", addr)
	s.set("SLUICE_LISTEN", originAddr+":8443")
	s.route(originAddr+":8443", server(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 1024)) }))
	s.centres(0, everyAddress)
	s.admin("sluice_edge_guard 1", "sluice_fds_limit 65536", `sluice_pipes{state="idle"} 64`)
	s.proc("net/tcp", heading+row(originAddr+":8443", "0A"))
	s.proc("meminfo", "MemTotal: 16000000 kB\n")
	s.proc("sys/net/core/somaxconn", "4096")
	s.proc("sys/net/ipv4/ip_local_port_range", "10240\t65535")
	return s
}

func TestAllIsWell(t *testing.T) {
	r := wholeScene(t).run()
	for _, f := range r.Findings {
		if f.Status != OK {
			t.Errorf("%s is %s: %s", f.ID, f.Status, f.Seen)
		}
		if f.Title == "" || f.Why == "" {
			t.Errorf("%s says not what it is, or why it matters", f.ID)
		}
	}
	if r.Status != OK || r.Failed() != 0 || r.Counts[OK] != len(catalogue) {
		t.Errorf("status %s, counts %v", r.Status, r.Counts)
	}
}

// TestEveryLookReports: each ID has its finding, whatever is set, and in the order of the catalogue.
func TestEveryLookReports(t *testing.T) {
	whole := wholeScene(t)
	offline := wholeScene(t)
	offline.world.Offline = true
	for name, s := range map[string]*scene{"whole": whole, "offline": offline, "nothing answers": newScene(t)} {
		var ids []string
		for _, f := range s.run().Findings {
			ids = append(ids, f.ID)
		}
		if !slices.Equal(ids, IDs()) {
			t.Errorf("%s: findings %v, want %v", name, ids, IDs())
		}
	}
}

// TestNoNetwork: what could not be asked is no failure, and nothing hangs.
func TestNoNetwork(t *testing.T) {
	s := wholeScene(t)
	s.names, s.routes = nil, map[string]string{originAddr + ":8443": s.routes[originAddr+":8443"]}
	s.world.Resolve = func(context.Context, string) ([]netip.Addr, error) {
		return nil, &net.DNSError{Err: "server misbehaving", IsTemporary: true}
	}
	r := s.run()
	for _, f := range r.Findings {
		if f.Status == Fail {
			t.Errorf("%s failed: %s", f.ID, f.Seen)
		}
	}
	r.of(t, "dc-2").want(t, Warn, "nothing beyond this host can be reached")
	r.of(t, "public-name").want(t, Warn, "could not be asked")
}

// TestOneDataCentreUnreached: with others there, it is a failure.
func TestOneDataCentreUnreached(t *testing.T) {
	s := wholeScene(t)
	delete(s.routes, "149.154.171.5:443")
	delete(s.routes, "[2001:b28:f23f:f005::a]:443")
	r := s.run()
	r.of(t, "dc-5").want(t, Fail, "network is unreachable")
	if r.Status != Fail || r.Failed() != 1 {
		t.Errorf("status %s, counts %v", r.Status, r.Counts)
	}
}

func TestOfflineCallsNobody(t *testing.T) {
	s := wholeScene(t)
	s.world.Offline = true
	asked := false
	s.world.Resolve = func(context.Context, string) ([]netip.Addr, error) {
		asked = true
		return nil, nil
	}
	r := s.run()
	if asked {
		t.Error("the resolver was asked")
	}
	for _, a := range s.dialed {
		if ap, err := netip.ParseAddrPort(a); err == nil && !ap.Addr().IsLoopback() && ap.Addr().String() != originAddr {
			t.Errorf("%s was dialled", a)
		}
	}
	r.of(t, "dc-1").want(t, Skip, "--offline")
	r.of(t, "front-certificate").want(t, OK) // it is on this host
}

// TestNothingHangs: a resolver and a dialler that never return cost the time there is, and no more.
func TestNothingHangs(t *testing.T) {
	s := wholeScene(t)
	never := make(chan struct{})
	t.Cleanup(func() { close(never) })
	s.world.Resolve = func(context.Context, string) ([]netip.Addr, error) {
		<-never
		return nil, context.Canceled
	}
	s.world.Dial = func(context.Context, string, string) (net.Conn, error) {
		<-never
		return nil, context.Canceled
	}
	s.world.Grace = time.Second
	ctx, done := context.WithCancel(t.Context())
	s.world.Synchronised = func() (bool, error) {
		done() // the time is up when the first look is at work
		return true, nil
	}
	ended := make(chan Report, 1)
	cfg := s.config()
	go func() { ended <- Run(ctx, cfg, s.world, "", nil) }()
	select {
	case r := <-ended:
		r.of(t, "public-name").want(t, Warn, "could not be asked in the time")
		r.of(t, "dc-203").want(t, Warn, "could not be asked in the time")
		r.of(t, "clock-sync").want(t, OK)
	case <-time.After(30 * time.Second):
		t.Fatal("still not ended")
	}
}

func TestIgnore(t *testing.T) {
	s := wholeScene(t)
	s.names[publicName] = []string{originAddr}
	if r := s.run(); r.of(t, "public-name").Status != Fail {
		t.Fatal("there is nothing to ignore")
	}
	s.run("public-name").of(t, "public-name").want(t, Skip, "--ignore")
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	s := wholeScene(t)
	s.names[publicName] = []string{originAddr}
	if err := s.run().WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), secretKey[2:]) {
		t.Error("the secret's key is in the report")
	}
	var got struct {
		Version, Status string
		Time            time.Time
		Counts          map[string]int
		Findings        []struct{ ID, Title, Status, Seen, Why, Do string }
	}
	d := json.NewDecoder(&b)
	if err := d.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if d.More() {
		t.Error("more than one object")
	}
	if got.Version != "v-test" || got.Status != "fail" || got.Time.IsZero() || len(got.Findings) != len(catalogue) {
		t.Errorf("version %q, status %q, time %v, %d findings", got.Version, got.Status, got.Time, len(got.Findings))
	}
	sum := 0
	for _, word := range []string{"ok", "warn", "fail", "skip"} {
		n, found := got.Counts[word]
		if !found {
			t.Errorf("no count of %s", word)
		}
		sum += n
	}
	if sum != len(catalogue) {
		t.Errorf("counts %v", got.Counts)
	}
}

func TestTextPutsFailuresFirst(t *testing.T) {
	var b bytes.Buffer
	s := wholeScene(t)
	s.names[publicName] = []string{originAddr}
	s.world.Synchronised = func() (bool, error) { return false, nil }
	if err := s.run().WriteText(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	at := -1
	for _, word := range []string{"fail  public-name", "why: ", "do:  ", "warn  clock-sync", "ok    configuration", " fail, "} {
		i := strings.Index(text, word)
		if i <= at {
			t.Errorf("%q is at %d, after %d, in:\n%s", word, i, at, text)
		}
		at = i
	}
}

// TestDocumented: every look is explained, by its ID, and nothing is that is not there.
func TestDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for line := range strings.Lines(string(doc)) {
		if cells := strings.Split(line, "|"); len(cells) > 3 && strings.HasPrefix(cells[1], " `") && !strings.Contains(cells[1], "SLUICE_") {
			rows = append(rows, strings.Trim(cells[1], " `"))
		}
	}
	if !slices.Equal(rows, IDs()) {
		t.Errorf("docs/doctor.md has rows for %v, want %v", rows, IDs())
	}
}

// TestTrial: with nothing set at all there is little to look at, and nothing to fail.
func TestTrial(t *testing.T) {
	s := newScene(t)
	s.env = map[string]string{"SLUICE_ADMIN_LISTEN": "off"}
	s.world.Offline = true
	if r := s.run(); r.Status != Warn {
		t.Errorf("status %s", r.Status)
	}
	if cfg, err := config.Load(nil); err != nil || !cfg.Trial {
		t.Errorf("%v", err)
	}
}

func TestCatalogueAndChecksAgree(t *testing.T) {
	var ids []string
	for _, c := range allChecks() {
		ids = append(ids, c.ids...)
	}
	slices.Sort(ids)
	want := IDs()
	slices.Sort(want)
	if !slices.Equal(ids, want) {
		t.Errorf("checks make %v, the catalogue has %v", ids, want)
	}
}
