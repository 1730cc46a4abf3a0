package engine

import (
	"bytes"
	"context"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/bench/client"
	"sluice/bench/stand"
	"sluice/engine/edge"
	"sluice/engine/edge/ranges"
)

var (
	edgeAddr = netip.MustParseAddr("127.0.0.2") // the load balancer of these tests
	outAddr  = netip.MustParseAddr("127.0.0.3") // who comes past it
)

// dialFrom connects to the proxy from an address of loopback.
func (p *proxy) dialFrom(from netip.Addr) *net.TCPConn {
	p.t.Helper()
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	c, err := d.Dial("tcp", p.addr.String())
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = c.Close() })
	return c.(*net.TCPConn)
}

// Who comes from the ranges is served; who does not gets nothing, or the front, whatever it shows.
func TestOutsiders(t *testing.T) {
	ours := edge.AppendHeader(nil, 1, netip.MustParseAddrPort("192.0.2.1:1234"), netip.MustParseAddrPort("198.51.100.1:443"), nil)
	for _, profile := range []struct {
		name   string
		header []byte
	}{{"SLUICE_EDGE_MODE=opaque", nil}, {"SLUICE_EDGE_MODE=proxy", ours}} {
		settings := []string{"SLUICE_EDGE_GUARD=off", "SLUICE_EDGE=custom", profile.name, "SLUICE_EDGE_RANGES=127.0.0.2"}
		t.Run(profile.name+"/dropped", func(t *testing.T) {
			p := start(t, settings...)
			p.download(p.session(client.Config{Local: edgeAddr, Prefix: profile.header}), 100_000)
			if _, err := p.try(client.Config{Local: outAddr, Prefix: profile.header}); err == nil {
				t.Error("an outsider with the secret was served")
			}
			p.eventually("the outsider is counted", func() bool { return p.refused[refusedOutsider].Value() == 1 })
			if len(p.fronts) > 0 {
				t.Error("the outsider saw the front")
			}
		})
		t.Run(profile.name+"/to the front", func(t *testing.T) {
			p := start(t, append(settings, "SLUICE_EDGE_OUTSIDERS=front")...)
			p.download(p.session(client.Config{Local: edgeAddr, Prefix: profile.header}), 100_000)
			for _, sent := range [][]byte{
				append(bytes.Clone(profile.header), client.Hello{Host: secret.Host}.Sign(secret.Key)...), // our own client
				append(bytes.Clone(ours), "GET / HTTP/1.0\r\n\r\n"...),
				[]byte("GET / HTTP/1.0\r\n\r\n"),
			} {
				c := p.dialFrom(outAddr)
				mustWrite(t, c, sent)
				f := p.atFront()
				mustRead(t, f, sent)
				mustWrite(t, f, []byte("a page"))
				mustRead(t, c, []byte("a page"))
				_ = c.Close()
			}
			if p.headers[headerV1].Value() > 1 {
				t.Error("an outsider's header was believed")
			}
		})
	}
}

// A connect and close by the load balancer is its health check; by anybody else, where anybody may connect, it is a scan.
func TestHealthChecks(t *testing.T) {
	p := start(t, "SLUICE_EDGE_GUARD=off", "SLUICE_EDGE=custom", "SLUICE_EDGE_MODE=proxy", "SLUICE_EDGE_RANGES=127.0.0.2")
	_ = p.dialFrom(edgeAddr).Close()
	p.eventually("counted", func() bool { return p.handshakes[health].Value() == 1 })
	local := p.dialFrom(edgeAddr)
	mustWrite(t, local, []byte("\r\n\r\n\x00\r\nQUIT\n\x20\x11\x00\x00"))
	_ = local.Close()
	p.eventually("one with a LOCAL header too", func() bool { return p.handshakes[health].Value() == 2 })
	itself := p.dialFrom(edgeAddr)
	mustWrite(t, itself, []byte("PROXY TCP4 127.0.0.2 127.0.0.1 5555 443\r\n"))
	_ = itself.Close()
	p.eventually("one that names the balancer", func() bool { return p.handshakes[health].Value() == 3 })
	client := p.dialFrom(edgeAddr)
	mustWrite(t, client, []byte("PROXY TCP4 192.0.2.1 127.0.0.1 5555 443\r\n"))
	_ = client.Close()
	p.eventually("a client who says nothing is none", func() bool { return p.handshakes[silent].Value() == 1 })
	if strings.Contains(p.log.String(), "level=WARN msg=\"connections arrive") {
		t.Errorf("health checks are complained of:\n%v", p.log)
	}
}

// Several listeners, each with an edge of its own.
func TestListenersWithTheirOwnEdges(t *testing.T) {
	p := start(t, "SLUICE_LISTEN=127.0.0.1:0,127.0.0.9:0=none", "SLUICE_EDGE_GUARD=off", "SLUICE_EDGE=haproxy", "SLUICE_EDGE_RANGES=127.0.0.2")
	header := edge.AppendHeader(nil, 2, netip.MustParseAddrPort("192.0.2.1:1234"), netip.MustParseAddrPort("198.51.100.1:443"), nil)
	p.download(p.session(client.Config{Local: edgeAddr, Prefix: header}), 1000)
	if _, err := p.try(client.Config{Local: outAddr}); err == nil {
		t.Error("the guarded listener took an outsider")
	}
	p.addr = p.Listening()[1]
	p.download(p.session(client.Config{Local: outAddr}), 3000)
	if p.headers[headerV2].Value() != 1 || p.headers[headerAbsent].Value() != 0 {
		t.Error("the open listener looked for headers")
	}
	down := func() map[string]uint64 { return p.traffic("sluice_relay_bytes_total", "down") }
	if want := map[string]uint64{"haproxy": 1000, "none": 3000}; !maps.Equal(down(), want) {
		t.Errorf("bytes by edge: %v, want %v", down(), want)
	}
	// What an edge has carried stays counted when a reload gives its listener another.
	p.addr = p.Listening()[0]
	if err := p.Reload(p.config("SLUICE_LISTEN=127.0.0.1:0,127.0.0.9:0=none", "SLUICE_EDGE_GUARD=off", "SLUICE_EDGE=custom", "SLUICE_EDGE_MODE=opaque",
		"SLUICE_EDGE_RANGES=127.0.0.2")); err != nil {
		t.Fatal(err)
	}
	p.download(p.session(client.Config{Local: edgeAddr}), 500)
	if want := map[string]uint64{"haproxy": 1000, "none": 3000, "custom": 500}; !maps.Equal(down(), want) {
		t.Errorf("bytes by edge after a reload: %v, want %v", down(), want)
	}
}

// traffic reads a family of bytes from the exposition: those of a direction, by edge.
func (p *proxy) traffic(family, direction string) map[string]uint64 {
	p.t.Helper()
	var page strings.Builder
	p.writeMetrics(&page)
	all := map[string]uint64{}
	for line := range strings.Lines(page.String()) {
		if rest, ok := strings.CutPrefix(line, family+`{direction="`+direction+`",edge="`); ok {
			edge, rest, _ := strings.Cut(rest, `"`)
			_, value, _ := strings.Cut(rest, " ")
			n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 64)
			if err != nil {
				p.t.Fatal(err)
			}
			all[edge] += n
		}
	}
	return all
}

// A reload with other listeners, which it cannot open, does not mix up the doors of those there are.
func TestReloadWithOtherListeners(t *testing.T) {
	edge := []string{"SLUICE_EDGE_GUARD=off", "SLUICE_EDGE=custom", "SLUICE_EDGE_MODE=opaque", "SLUICE_EDGE_RANGES=127.0.0.2"}
	p := start(t, edge...)
	if err := p.Reload(p.config(append(edge, "SLUICE_LISTEN=127.0.0.8:0=none,127.0.0.1:0")...)); err != nil {
		t.Fatal(err)
	}
	if c, err := p.try(client.Config{Local: outAddr}); err == nil {
		_ = c.Close()
		t.Error("an outsider is served by a listener that was guarded")
	}
	p.download(p.session(client.Config{Local: edgeAddr}), 1000)
}

// The two unspecified addresses are two listeners, each with its own door.
func TestBothUnspecifiedAddresses(t *testing.T) {
	p := start(t, "SLUICE_EDGE_GUARD=off", "SLUICE_EDGE=custom", "SLUICE_EDGE_MODE=opaque", "SLUICE_EDGE_RANGES=127.0.0.2", "SLUICE_LISTEN=0.0.0.0:0,[::]:0=none")
	p.addr = netip.AddrPortFrom(outAddr, p.Listening()[0].Port())
	if c, err := p.try(client.Config{Local: outAddr}); err == nil {
		_ = c.Close()
		t.Error("the IPv4 listener has the other's door")
	}
	p.download(p.session(client.Config{Local: edgeAddr}), 1000)
	p.addr = netip.AddrPortFrom(netip.IPv6Loopback(), p.Listening()[1].Port())
	p.download(p.session(client.Config{}), 1000)
	if e := p.door(p.live.Load(), &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}); !e.shuts(edgeAddr) {
		t.Error("a listener that is not ours is open")
	}
}

// Ranges that were fetched are not forgotten when a reload adds others.
func TestReloadKeepsWhatWasFetched(t *testing.T) {
	publisher := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/list" {
			_, _ = w.Write([]byte("127.0.0.2\n"))
		}
	}))
	defer publisher.Close()
	base := []string{"SLUICE_EDGE_GUARD=off", "SLUICE_EDGE=custom", "SLUICE_EDGE_MODE=opaque", "SLUICE_STATE_DIR=/proc/nowhere"}
	p := start(t, append(base, "SLUICE_EDGE_RANGES="+publisher.URL+"/list")...)
	p.eventually("the list is fetched", func() bool { return p.rangesRefreshes[0].Value() == 1 })
	publisher.Close()
	if err := p.Reload(p.config(append(base, "SLUICE_EDGE_RANGES=127.0.0.4,"+publisher.URL+"/list")...)); err != nil {
		t.Fatal(err)
	}
	p.download(p.session(client.Config{Local: edgeAddr}), 1000)
	if err := p.Reload(p.config(append(base, "SLUICE_EDGE_REFRESH=off", "SLUICE_EDGE_RANGES=http://127.0.0.1:1/other")...)); err == nil {
		t.Error("a list that will never be fetched was accepted")
	}
}

// Ranges change under a proxy in use: at a reload, and by the publisher. No session notices.
func TestRangesChange(t *testing.T) {
	var list atomic.Value
	list.Store("127.0.0.2\n")
	publisher := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(list.Load().(string))) }))
	defer publisher.Close()
	settings := []string{"SLUICE_EDGE_GUARD=off", "SLUICE_EDGE=custom", "SLUICE_EDGE_MODE=opaque", "SLUICE_EDGE_RANGES=" + publisher.URL + "/list"}
	p := start(t, settings...)
	p.eventually("the list is fetched", func() bool { return p.rangesRefreshes[0].Value() == 1 })
	served := func(from netip.Addr) bool {
		_, err := p.try(client.Config{Local: from})
		return err == nil
	}
	if !served(edgeAddr) || served(outAddr) {
		t.Fatal("the first list is not in force")
	}
	old := p.session(client.Config{Local: edgeAddr})
	mustWrite(t, old, stand.Request{Op: stand.Echo}.Bytes())

	list.Store("127.0.0.3\n")
	if err := p.Reload(p.config(settings...)); err != nil { // the same setting: the list is asked for again
		t.Fatal(err)
	}
	p.eventually("the second list is in force", func() bool { return served(outAddr) && !served(edgeAddr) })
	list.Store("<html>")
	if err := p.Reload(p.config(settings...)); err != nil {
		t.Fatal(err)
	}
	p.eventually("the bad list is refused", func() bool { return p.rangesRefreshes[1].Value() == 1 })
	if !served(outAddr) {
		t.Error("a bad list changed what is in force")
	}
	if err := p.Reload(p.config("SLUICE_EDGE_GUARD=off", "SLUICE_EDGE=custom", "SLUICE_EDGE_MODE=opaque", "SLUICE_EDGE_RANGES=127.0.0.2")); err != nil {
		t.Fatal(err)
	}
	if !served(edgeAddr) || served(outAddr) {
		t.Error("the reload's ranges are not in force")
	}
	if err := p.Reload(p.config("SLUICE_EDGE_GUARD=off", "SLUICE_EDGE=custom", "SLUICE_EDGE_MODE=opaque", "SLUICE_EDGE_RANGES=/nonexistent/list")); err == nil {
		t.Error("ranges that cannot be read were accepted")
	}
	mustWrite(t, old, []byte("still here"))
	mustRead(t, old, []byte("still here"))
	var page bytes.Buffer
	p.writeMetrics(&page)
	if !strings.Contains(page.String(), `sluice_ranges_prefixes{source="given"} 1`) {
		t.Error("the ranges are not in the metrics")
	}
}

// A file of ranges is read again at a reload, whether or not lists are fetched, and also when that is what the reload changes.
func TestRangesFile(t *testing.T) {
	for name, refresh := range map[string][2]string{
		"refreshed":       {"24h", "24h"},
		"never refreshed": {"off", "off"},
		"no more":         {"24h", "off"},
		"from now on":     {"off", "24h"},
		"more often":      {"24h", "1h"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ranges")
			writeRanges(t, path, "127.0.0.2\n")
			settings := []string{"SLUICE_EDGE_GUARD=off", "SLUICE_EDGE=custom", "SLUICE_EDGE_MODE=opaque", "SLUICE_EDGE_RANGES=" + path}
			p := start(t, append(settings, "SLUICE_EDGE_REFRESH="+refresh[0])...)
			p.download(p.session(client.Config{Local: edgeAddr}), 1000)
			writeRanges(t, path, "127.0.0.3\n")
			if err := p.Reload(p.config(append(settings, "SLUICE_EDGE_REFRESH="+refresh[1])...)); err != nil {
				t.Fatal(err)
			}
			p.eventually("the new file is in force", func() bool { return p.takes(outAddr) && !p.takes(edgeAddr) })
		})
	}
}

func writeRanges(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// takes says whether a client from an address of loopback is served.
func (p *proxy) takes(from netip.Addr) bool {
	c, err := client.Dial(context.Background(), client.Config{Addr: p.addr, Secret: secret, Local: from})
	if err == nil {
		_ = c.Close()
	}
	return err == nil
}

// Without refreshes a file that cannot be used changes nothing and is complained of; a list that somebody has put into the state
// directory is in force from the next reload on.
func TestRereadWithoutRefreshes(t *testing.T) {
	dir := t.TempDir()
	path, state := filepath.Join(dir, "ranges"), filepath.Join(dir, "state")
	writeRanges(t, path, "127.0.0.2\n")
	publisher := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("127.0.0.3\n")) }))
	defer publisher.Close()
	settings := []string{
		"SLUICE_EDGE_GUARD=off", "SLUICE_EDGE=custom", "SLUICE_EDGE_MODE=opaque", "SLUICE_STATE_DIR=" + state, "SLUICE_EDGE_REFRESH=off",
		"SLUICE_EDGE_RANGES=" + path + "," + publisher.URL + "/list",
	}
	p := start(t, settings...)
	writeRanges(t, path, "<html>")
	if err := p.Reload(p.config(settings...)); err != nil {
		t.Fatal(err)
	}
	if p.rangesRefreshes[1].Value() != 1 || !p.takes(edgeAddr) || p.takes(outAddr) {
		t.Error("a bad file is in force, or is not complained of")
	}
	sources, err := ranges.ParseSources(publisher.URL + "/list")
	if err != nil {
		t.Fatal(err)
	}
	other, err := ranges.NewKeeper(sources, state, ranges.NewClient(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if o := other.Refresh(t.Context(), false); o[0].Err != nil || o[0].Unsaved != nil {
		t.Fatalf("%+v", o)
	}
	if err := p.Reload(p.config(settings...)); err != nil {
		t.Fatal(err)
	}
	if !p.takes(edgeAddr) || !p.takes(outAddr) {
		t.Error("the list in the state directory is not in force")
	}
}
