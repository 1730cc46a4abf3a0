package doctor

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice/engine/config"
	"sluice/engine/edge/ranges"
	choices "sluice/engine/front"
)

// exam is one run: what is looked at, and what several looks need and is asked once. Any goroutine may use it.
type exam struct {
	cfg     *config.Config
	world   World
	reached atomic.Bool // something beyond this host has answered

	set         *ranges.Set // of all edges together
	states      []ranges.State
	rangesErr   error
	publicAddrs func() ([]netip.Addr, error)
	fronts      []*front // the one for all other names first
	choice      *choices.Choice[*front]
	until       time.Time            // no front is asked after that
	turns       chan struct{}        // to ask one
	page        func() (page, error) // of the running proxy
	centres     func() []centre      // what the data centres say
	own         func() []socket      // the listening sockets of this host that are not the proxy's
}

var (
	errOffline = errors.New("not asked: --offline")
	errNoHost  = errors.New("no name is set")
)

func newExam(ctx context.Context, cfg *config.Config, w World) *exam {
	x := &exam{cfg: cfg, world: w}
	var sources []ranges.Source
	for _, e := range cfg.Edges {
		for _, s := range e.Ranges {
			if !slices.ContainsFunc(sources, func(o ranges.Source) bool { return o.Name == s.Name && o.String() == s.String() }) {
				sources = append(sources, s)
			}
		}
	}
	keeper, err := ranges.NewKeeper(sources, cfg.StateDir, nil, w.Now) // no client: it is never told to refresh
	x.set, x.states, x.rangesErr = keeper.Set(), keeper.States(), err
	x.publicAddrs = sync.OnceValues(func() ([]netip.Addr, error) { return x.lookUp(ctx, cfg.PublicHost) })
	x.page = sync.OnceValues(func() (page, error) { return x.askPage(ctx) })
	x.centres = sync.OnceValue(func() []centre { return x.askCentres(ctx) })
	x.own = sync.OnceValue(x.otherListeners)
	x.makeFronts(ctx)
	return x
}

// frontName is what is asked for in the first place: the first secret's host, as a client's hello has it.
func (x *exam) frontName() string {
	if len(x.cfg.Secrets) > 0 {
		return x.cfg.Secrets[0].Host
	}
	return "localhost"
}

// hosts are the names in the secrets, each once.
func (x *exam) hosts() (names []string) {
	for _, s := range x.cfg.Secrets {
		if !slices.Contains(names, s.Host) {
			names = append(names, s.Host)
		}
	}
	return names
}

// fronted says whether a load balancer stands in front of any listener, on another host than this one.
func (x *exam) fronted() bool {
	return slices.ContainsFunc(x.cfg.Edges, func(e config.Edge) bool { return e.Profile != "none" || e.Mode != config.Preserved }) && !x.edgeIsHere()
}

// edgeIsHere says whether all that may connect is this host itself, as with an SNI router beside the proxy.
func (x *exam) edgeIsHere() bool {
	v4, v6 := x.set.Prefixes()
	all := slices.Concat(v4, v6)
	return len(all) > 0 && !slices.ContainsFunc(all, func(p netip.Prefix) bool {
		return !p.Addr().IsLoopback() && !(p.IsSingleIP() && x.isOwn(p.Addr()))
	})
}

// isOwn says whether an address leads to this host, be it by way of NAT.
func (x *exam) isOwn(a netip.Addr) bool {
	return x.isLocal(a) || slices.Contains(x.world.Own, a.Unmap())
}

// isLocal says whether a connection to an address stays on this host.
func (x *exam) isLocal(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsLoopback() || slices.Contains(x.world.Local, a)
}

// ownAmong are those of addrs that lead here.
func (x *exam) ownAmong(addrs []netip.Addr) (own []netip.Addr) {
	for _, a := range addrs {
		if x.isOwn(a) {
			own = append(own, a)
		}
	}
	return own
}

// lookUp resolves a name; an address is its own answer, and needs no call.
func (x *exam) lookUp(ctx context.Context, host string) ([]netip.Addr, error) {
	if host == "" {
		return nil, errNoHost
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap()}, nil
	}
	if host == "localhost" {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}, nil
	}
	if x.world.Offline {
		return nil, errOffline
	}
	ctx, done := context.WithTimeout(ctx, x.world.Step)
	defer done()
	addrs, err := x.world.Resolve(ctx, host)
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, err
}

// noSuchName says whether DNS was asked and knows no address of a name.
func noSuchName(addrs []netip.Addr, err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound || err == nil && len(addrs) == 0
}

// dial connects to an address, or a unix socket, within one step. Offline it only connects to this host.
func (x *exam) dial(ctx context.Context, network, address string) (net.Conn, error) {
	far := network != "unix"
	if a, err := netip.ParseAddrPort(address); err == nil && x.isLocal(a.Addr()) {
		far = false
	}
	if far && x.world.Offline {
		return nil, errOffline
	}
	ctx, done := context.WithTimeout(ctx, x.world.Step)
	defer done()
	conn, err := x.world.Dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if far {
		x.reached.Store(true)
	}
	_ = conn.SetDeadline(time.Now().Add(x.world.Step))
	return conn, nil
}

// dialAny connects to the first of the addresses that can be reached.
func (x *exam) dialAny(ctx context.Context, addrs []netip.Addr, port uint16) (conn net.Conn, err error) {
	err = errors.New("no address")
	for _, a := range addrs {
		if conn, err = x.dial(ctx, "tcp", netip.AddrPortFrom(a, port).String()); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// unasked is the finding of a look that could not be made.
func unasked(err error, what string) Finding {
	if errors.Is(err, errOffline) {
		return skip("%v", errOffline)
	}
	return warn("", "%s could not be asked: %v", what, err)
}

// read is a file below /proc, without blanks around it; "" when it cannot be read.
func (x *exam) read(path string) string {
	b, err := os.ReadFile(filepath.Join(x.world.Root, path))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// list writes addresses, commas between them.
func list[T interface{ String() string }](all []T) string {
	texts := make([]string, len(all))
	for i, v := range all {
		texts[i] = v.String()
	}
	return strings.Join(texts, ", ")
}
