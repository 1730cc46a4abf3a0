// Package front is where refused connections go: the real web site whose name the secret carries. It keeps the front's
// addresses resolved ahead, so that a probe costs no lookup, refuses a front that is ourselves, bounds how many connections there may be (and lets the others wait their turn),
// and knows which of several fronts a server name leads to.
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
	Resolve Resolver
	Self    func() []netip.AddrPort // the listeners to guard against; unspecified addresses stand for every local one
	Local   func() []netip.Addr     // this host's addresses, for that
	// Public is the name that clients connect to, and PublicPort its port: what they lead to is ourselves, too. Empty: not known.
	Public     string
	PublicPort uint16
	// Resolved, if set, hears of every lookup's outcome on Run's goroutine, and whether the addresses are others than before.
	Resolved func(changed bool, err error)
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
	f := &Front{cfg: cfg}
	if cfg.Path != "" {
		f.literal = true
		return f, nil
	}
	if ip, err := netip.ParseAddr(cfg.Host); err == nil {
		f.literal = true
		addrs := f.notSelf([]netip.Addr{ip}, nil)
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
		changed, err := f.refresh(ctx)
		if err != nil {
			wait, retry = retry, min(2*retry, refreshEvery)
		} else {
			retry = retryFirst
		}
		if f.cfg.Resolved != nil && ctx.Err() == nil {
			f.cfg.Resolved(changed, err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

func (f *Front) refresh(ctx context.Context) (changed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	ips, err := f.cfg.Resolve(ctx, f.cfg.Host)
	if err != nil {
		return false, fmt.Errorf("resolve the front: %w", err)
	}
	if len(ips) == 0 {
		return false, fmt.Errorf("resolve the front %s: %w", f.cfg.Host, ErrNoAddress)
	}
	addrs := f.notSelf(ips, f.public(ctx))
	if len(addrs) == 0 {
		return false, fmt.Errorf("front %s: %w", f.cfg.Host, ErrLoop)
	}
	old := f.addrs.Swap(&addrs)
	f.at.Store(time.Now().Unix())
	return old == nil || !slices.Equal(sorted(*old), sorted(addrs)), nil
}

// sorted is the same addresses whatever the order of the answer, which some name servers change each time.
func sorted(addrs []netip.AddrPort) []netip.AddrPort {
	return slices.SortedFunc(slices.Values(addrs), netip.AddrPort.Compare)
}

// public is where clients connect to, if the front's port is theirs: a connection to there would come back here. That the name cannot be looked up is
// no reason to do without a front.
func (f *Front) public(ctx context.Context) []netip.Addr {
	if f.cfg.Public == "" || f.cfg.Port != f.cfg.PublicPort {
		return nil
	}
	if ip, err := netip.ParseAddr(f.cfg.Public); err == nil {
		return []netip.Addr{ip.Unmap()}
	}
	ips, _ := f.cfg.Resolve(ctx, f.cfg.Public)
	for i := range ips {
		ips[i] = ips[i].Unmap()
	}
	return ips
}

// notSelf leaves out what would lead back to us.
func (f *Front) notSelf(ips, public []netip.Addr) []netip.AddrPort {
	var addrs []netip.AddrPort
	for _, ip := range ips {
		a := netip.AddrPortFrom(ip.Unmap(), f.cfg.Port)
		if a.Addr().IsUnspecified() || a.Addr().IsMulticast() {
			continue // what a resolver that filters says; a connection to the first would come to this host
		}
		if !f.isSelf(a) && !slices.Contains(public, a.Addr()) {
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

// Age is the time since the addresses were last confirmed; 0 for a front that needs no lookup or has had none.
func (f *Front) Age() time.Duration {
	at := f.at.Load()
	if at == 0 {
		return 0
	}
	return time.Since(time.Unix(at, 0))
}
