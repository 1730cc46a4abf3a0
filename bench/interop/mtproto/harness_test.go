package mtproto

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gotd/log"
	"github.com/gotd/log/logslog"

	"sluice/bench/stand"
)

// patience bounds every single wait of these tests.
const patience = 20 * time.Second

// host is the name in the secret.
const host = "front.example"

// binary is the proxy under test. A test without one has failed.
func binary(t *testing.T) string {
	t.Helper()
	path := os.Getenv("SLUICE_BIN")
	if path == "" {
		path = filepath.Join("..", "..", "..", "bin", "sluice")
	}
	path, err := filepath.Abs(path)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("no proxy to test, make build makes it: %v", err)
	}
	return path
}

// newSecret makes an ee secret: the type byte, a key and the host.
func newSecret() []byte {
	key := make([]byte, 16)
	_, _ = rand.Read(key)
	return append(append([]byte{0xee}, key...), host...)
}

// rig is a proxy that listens on both families, between two data centres and a web site.
type rig struct {
	secret  []byte
	proxy   *stand.Proxy
	clients map[string]netip.AddrPort // the proxy's addresses by family
	centres map[string]*datacentre    // the data centres by family
	files   *files
	log     log.Logger
}

// Families, as the tests are named.
const (
	v4 = "IPv4"
	v6 = "IPv6"
)

func startRig(t *testing.T, offered []byte, settings map[string]string) *rig {
	t.Helper()
	r := &rig{secret: newSecret(), clients: map[string]netip.AddrPort{}, files: newFiles(offered), log: startLog(t)}
	r.centres = map[string]*datacentre{
		v4: startDatacentre(t, 2, "127.0.0.1:0", r.files, r.log),
		v6: startDatacentre(t, 4, "[::1]:0", r.files, r.log),
	}
	site, err := stand.ListenSite("127.0.0.1:0", host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(site.Close)
	env := map[string]string{
		"SLUICE_SECRET": hex.EncodeToString(r.secret), "SLUICE_FRONT": site.Addr().String(),
		"SLUICE_LISTEN": "127.0.0.1:0,[::1]:0", "SLUICE_DRAIN_TIMEOUT": "1s",
		"SLUICE_DC_2": r.centres[v4].addr().String(), "SLUICE_DC_4": r.centres[v6].addr().String(),
	}
	for k, v := range settings {
		env[k] = v
	}
	r.startProxy(t, env)
	return r
}

// startProxy runs the proxy until the test ends. It must then end in good order, without a fault of its own.
func (r *rig) startProxy(t *testing.T, env map[string]string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "sl") // a short path: there will be a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if r.proxy, err = stand.StartProxy(dir, env, binary(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if n, err := r.proxy.Metric("sluice_loop_panics_total"); err != nil || n != 0 {
			t.Errorf("sluice_loop_panics_total is %v (%v)", n, err)
		}
		if err := r.proxy.Stop(patience); err != nil {
			t.Errorf("the proxy's end: %v", err)
		}
		if t.Failed() {
			t.Logf("the proxy's log:\n%s", r.proxy.Log())
		}
	})
	for family, is := range map[string]func(netip.Addr) bool{v4: netip.Addr.Is4, v6: netip.Addr.Is6} {
		_, err := r.proxy.AwaitLog(patience, func(l stand.Line) bool {
			a, err := netip.ParseAddrPort(l.Get("address"))
			if l.Get("msg") != "listening" || err != nil || !is(a.Addr()) {
				return false
			}
			r.clients[family] = a
			return true
		})
		if err != nil {
			t.Fatalf("listening on %s: %v\n%s", family, err, r.proxy.Log())
		}
	}
}

// carried is the payload that the proxy has relayed so far in a direction, by the path it took.
func (r *rig) carried(t *testing.T, direction string) map[string]float64 {
	t.Helper()
	bytes := map[string]float64{}
	for _, path := range []string{"splice", "copy", "crypt"} {
		n, err := r.proxy.Metric(`sluice_relay_bytes_total{direction="` + direction + `",edge="none",path="` + path + `"}`)
		if err != nil && !strings.Contains(err.Error(), "no series") {
			t.Fatal(err)
		}
		bytes[path] = n
	}
	return bytes
}

// journal keeps what gotd logs, for a failed test's message.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func startLog(t *testing.T) log.Logger {
	j := &journal{}
	t.Cleanup(func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		if t.Failed() {
			t.Logf("gotd's log:\n%s", j.text.Bytes()[max(0, j.text.Len()-16<<10):])
		}
	})
	return logslog.New(slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelInfo})))
}
