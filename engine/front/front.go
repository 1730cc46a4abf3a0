// Package front is where refused connections go: the real web site whose name the secret carries. It keeps the front's
// addresses resolved ahead, so that a probe costs no lookup, bounds how many connections there may be to it, and refuses a
// front that is ourselves.
package front

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

const (
	refreshEvery = time.Minute
	retryFirst   = 2 * time.Second
	lookupTime   = 10 * time.Second
)

// ErrLoop says that the front's address is one of our own listeners.
var ErrLoop = errors.New("the front points back at this proxy")

// ErrNoAddress says that the front's name resolved to nothing.
var ErrNoAddress = errors.New("the name has no address")

// Resolver looks up a host's addresses, as net.Resolver.LookupNetIP does.
type Resolver func(ctx context.Context, host string) ([]netip.Addr, error)

// Config names a front: a unix socket's Path, or a Host (a name or an address) and a Port.
type Config struct {
	Path    string
	Host    string
	Port    uint16
	Cap     int           // connections at once
	Used    *atomic.Int64 // of them taken, where fronts that follow each other share the places; nil: a count of its own
	Resolve Resolver
	Self    func() []netip.AddrPort // the listeners to guard against; unspecified addresses stand for every local one
	Local   func() []netip.Addr     // this host's addresses, for that
	// Resolved, if set, hears of every lookup's outcome on Run's goroutine.
	Resolved func(addrs int, err error)
}

// Front is the place refused connections are sent to. All methods may be called from any goroutine.
type Front struct {
	cfg     Config
	addrs   atomic.Pointer[[]netip.AddrPort]
	at      atomic.Int64 // unix time of the last good lookup
	literal bool
}

// New makes a front. It makes no call: a front given by name has no address until Run has resolved it. A literal address that
// is one of our own listeners is refused with ErrLoop.
func New(cfg Config) (*Front, error) {
	if cfg.Used == nil {
		cfg.Used = new(atomic.Int64)
	}
	f := &Front{cfg: cfg}
	if cfg.Path != "" {
		f.literal = true
		return f, nil
	}
	if ip, err := netip.ParseAddr(cfg.Host); err == nil {
		f.literal = true
		addrs := f.notSelf([]netip.Addr{ip})
		if len(addrs) == 0 {
			return nil, fmt.Errorf("front %s: %w", netip.AddrPortFrom(ip, cfg.Port), ErrLoop)
		}
		f.addrs.Store(&addrs)
	}
	return f, nil
}

// Inherit takes over the addresses that another front of the same name has, until the first lookup of its own: a reload while
// no name server answers must not lose what is known. It is called before Run.
func (f *Front) Inherit(from *Front) {
	if f.literal || f.cfg.Host != from.cfg.Host || f.cfg.Port != from.cfg.Port {
		return
	}
	f.addrs.Store(from.addrs.Load())
	f.at.Store(from.at.Load())
}

// Run keeps the addresses fresh until ctx ends. The last good ones stay in force while lookups fail.
func (f *Front) Run(ctx context.Context) {
	if f.literal {
		<-ctx.Done()
		return
	}
	retry := retryFirst
	for {
		wait := refreshEvery
		err := f.refresh(ctx)
		if err != nil {
			wait, retry = retry, min(2*retry, refreshEvery)
		} else {
			retry = retryFirst
		}
		if f.cfg.Resolved != nil && ctx.Err() == nil {
			addrs, _, _ := f.Target()
			f.cfg.Resolved(len(addrs), err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

func (f *Front) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	ips, err := f.cfg.Resolve(ctx, f.cfg.Host)
	if err != nil {
		return fmt.Errorf("resolve the front: %w", err)
	}
	if len(ips) == 0 {
		return fmt.Errorf("resolve the front %s: %w", f.cfg.Host, ErrNoAddress)
	}
	addrs := f.notSelf(ips)
	if len(addrs) == 0 {
		return fmt.Errorf("front %s: %w", f.cfg.Host, ErrLoop)
	}
	f.addrs.Store(&addrs)
	f.at.Store(time.Now().Unix())
	return nil
}

// notSelf leaves out what would lead back to us.
func (f *Front) notSelf(ips []netip.Addr) []netip.AddrPort {
	var addrs []netip.AddrPort
	for _, ip := range ips {
		a := netip.AddrPortFrom(ip.Unmap(), f.cfg.Port)
		if !f.isSelf(a) {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

func (f *Front) isSelf(a netip.AddrPort) bool {
	if f.cfg.Self == nil {
		return false
	}
	for _, own := range f.cfg.Self() {
		switch {
		case own.Port() != a.Port():
		case own.Addr().Unmap() == a.Addr():
			return true
		case own.Addr().IsUnspecified() && (a.Addr().IsLoopback() || slices.Contains(f.cfg.Local(), a.Addr())):
			return true
		}
	}
	return false
}

// Target is where to connect to: addresses to try in turn, or a unix socket. ok is false while there is neither. The slice is
// shared: read only.
func (f *Front) Target() (addrs []netip.AddrPort, path string, ok bool) {
	if f.cfg.Path != "" {
		return nil, f.cfg.Path, true
	}
	if p := f.addrs.Load(); p != nil {
		return *p, "", true
	}
	return nil, "", false
}

// Acquire takes one of the places; false means that all are taken. Each one taken must be given back by Release.
func (f *Front) Acquire() bool {
	if f.cfg.Used.Add(1) > int64(f.cfg.Cap) {
		f.cfg.Used.Add(-1)
		return false
	}
	return true
}

// Release gives a place back.
func (f *Front) Release() { f.cfg.Used.Add(-1) }

// Cap is the number of places, Used how many are taken.
func (f *Front) Cap() int { return f.cfg.Cap }

// Used is the number of places taken.
func (f *Front) Used() int { return int(f.cfg.Used.Load()) }

// Age is the time since the addresses were last confirmed; 0 for a front that needs no lookup or has had none.
func (f *Front) Age() time.Duration {
	at := f.at.Load()
	if at == 0 {
		return 0
	}
	return time.Since(time.Unix(at, 0))
}
