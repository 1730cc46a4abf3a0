package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"sluice/bench/client"
	"sluice/bench/stand"
)

const (
	host     = "front.example"
	steadyDC = 2 // never disturbed
	lameDC   = 4 // goes away now and then

	// Each has an address of its own on loopback, so that nobody's outgoing connection takes its port while it is away.
	steadyAddr = "127.0.0.22:0"
	lameAddr   = "127.0.0.24:0"
	siteAddr   = "127.0.0.26:0"
)

// rig is the proxy and what it stands between. Any goroutine may use it.
type rig struct {
	proxy  *stand.Proxy
	keys   *keys
	steady *stand.DC
	idle   time.Duration // the proxy's idle time

	mu   sync.Mutex
	lame *stand.DC       // nil while it is away
	site *stand.Site     // nil while it is away
	seen map[string]bool // the site's certificates so far, one each time it came

	lameAt, siteAt string
	dir            string
}

// newRig starts everything. close must be called, after a failure too.
func newRig(binary string, idle time.Duration) (r *rig, err error) {
	r = &rig{idle: idle, seen: map[string]bool{}}
	if r.dir, err = os.MkdirTemp("", "soak"); err != nil {
		return r, err
	}
	if r.steady, err = stand.ListenDC(steadyAddr); err != nil {
		return r, err
	}
	r.lameAt, r.siteAt = lameAddr, siteAddr
	if err := r.openLame(); err != nil {
		return r, err
	}
	if err := r.openSite(); err != nil {
		return r, err
	}
	r.lameAt, r.siteAt = r.lame.Addr().String(), r.site.Addr().String()
	if r.keys, err = newKeys(filepath.Join(r.dir, "secrets")); err != nil {
		return r, err
	}
	r.proxy, err = stand.StartProxy(r.dir, map[string]string{
		"SLUICE_SECRET_FILE": r.keys.file, "SLUICE_FRONT": r.siteAt, "SLUICE_LOG_LEVEL": "info",
		fmt.Sprint("SLUICE_DC_", steadyDC): r.steady.Addr().String(), fmt.Sprint("SLUICE_DC_", lameDC): r.lameAt,
		"SLUICE_IDLE_TIMEOUT": idle.String(), "SLUICE_CLOCK_SKEW": "1m,30s", "SLUICE_DRAIN_TIMEOUT": "1s",
	}, binary)
	return r, err
}

func (r *rig) close() {
	if r.proxy != nil {
		r.proxy.Kill()
	}
	if r.steady != nil {
		r.steady.Close()
	}
	r.closeLame()
	r.closeSite()
	if r.dir != "" {
		_ = os.RemoveAll(r.dir)
	}
}

func (r *rig) openLame() (err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lame, err = stand.ListenDC(r.lameAt)
	return err
}

func (r *rig) closeLame() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lame != nil {
		r.lame.Close()
		r.lame = nil
	}
}

func (r *rig) openSite() (err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.site, err = stand.ListenSite(r.siteAt, host); err == nil {
		r.seen[string(r.site.Certificate.Raw)] = true
	}
	return err
}

// knows says whether the site has, or had, the certificate.
func (r *rig) knows(raw []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen[string(raw)]
}

func (r *rig) closeSite() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.site != nil {
		r.site.Close()
		r.site = nil
	}
}

// farOpen is how many connections the data centres still have.
func (r *rig) farOpen() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.steady.Open()
	if r.lame != nil {
		n += r.lame.Open()
	}
	return n
}

// dial opens a session as cfg says, with the proxy's address and the key that stays where there is none.
func (r *rig) dial(ctx context.Context, cfg client.Config) (*client.Conn, error) {
	cfg.Addr = r.proxy.Addr()
	if cfg.Secret == (client.Secret{}) {
		cfg.Secret = r.keys.lasting
	}
	if cfg.DC == 0 {
		cfg.DC = steadyDC
	}
	return client.Dial(ctx, cfg)
}

// keys are the secrets in force. One stays; of the others each comes with one reload and goes with the second after it, so that
// whoever begins with the newest is never refused because of a reload.
type keys struct {
	file    string
	lasting client.Secret

	mu            sync.Mutex
	older, newest client.Secret
}

func newKeys(file string) (*keys, error) {
	k := &keys{file: file, lasting: newSecret(), older: newSecret(), newest: newSecret()}
	return k, k.write(k.text())
}

func newSecret() client.Secret {
	s := client.Secret{Host: host}
	_, _ = rand.Read(s.Key[:])
	return s
}

func (k *keys) text() string {
	return strings.Join([]string{k.lasting.String(), k.older.String(), k.newest.String()}, ",")
}

func (k *keys) write(text string) error { return os.WriteFile(k.file, []byte(text+"\n"), 0o600) }

// current is the newest that is in force.
func (k *keys) current() client.Secret {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.newest
}

// turn puts the next set into force by calling reload, and returns the secret that has gone.
func (k *keys) turn(reload func() error) (gone client.Secret, err error) {
	k.mu.Lock()
	gone, older, newest := k.older, k.newest, newSecret()
	next := keys{lasting: k.lasting, older: older, newest: newest}
	k.mu.Unlock()
	if err := k.write(next.text()); err != nil {
		return gone, err
	}
	if err := reload(); err != nil {
		return gone, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.older, k.newest = older, newest
	return gone, nil
}
