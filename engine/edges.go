package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/bpf"
	"sluice/engine/config"
	"sluice/engine/edge/ranges"
)

// door is a listener as connections see it: what stands in front of it, and from where one may come.
type door struct {
	edge   config.Edge
	lane   uint8   // what its connections carry is counted as the profile's
	keeper *keeper // nil: everybody may connect
}

// shuts says whether a connection from the peer comes past the load balancer.
func (d *door) shuts(peer netip.Addr) bool { return d.keeper != nil && !d.keeper.Set().Contains(peer) }

// fromEdge says whether the peer is one of the load balancer's machines, as far as that is known.
func (d *door) fromEdge(peer netip.Addr) bool {
	return d.keeper != nil && d.keeper.Set().Contains(peer)
}

// keeper keeps one list of sources fresh for the doors that share it, from one reload to the next.
type keeper struct {
	*ranges.Keeper
	key  string
	stop context.CancelFunc // nil until it runs

	guarding sync.Mutex                // of what is done with the guard
	guard    atomic.Pointer[bpf.Guard] // nil: the kernel does not judge who comes in
}

// makeDoors makes the doors of a configuration. Lists that are in use already are taken over as they are. Where a reload comes with other
// listeners, which need a restart, the doors of those there are stay.
func (e *Engine) makeDoors(cfg *config.Config) (_ []door, err error) {
	var had, fresh []*keeper
	if old := e.live.Load(); old != nil {
		if !slices.Equal(cfg.Listen, e.asked) {
			return old.doors, nil
		}
		had = old.keepers()
	}
	defer func() {
		if err != nil {
			for _, k := range fresh {
				k.closeGuard()
			}
		}
	}()
	doors := make([]door, len(cfg.Edges))
	for i, edge := range cfg.Edges {
		doors[i].edge, doors[i].lane = edge, uint8(slices.Index(config.Profiles(), edge.Profile))
		if edge.Ranges == nil {
			continue
		}
		// What tells keepers apart: what they keep, and whether the kernel is to use it.
		key := fmt.Sprintln(cfg.EdgeGuard, cfg.Edge.Outsiders, ranges.Key(edge.Ranges))
		same := func(k *keeper) bool { return k.key == key }
		if at := slices.IndexFunc(had, same); at >= 0 {
			doors[i].keeper = had[at]
			continue
		}
		if at := slices.IndexFunc(fresh, same); at >= 0 {
			doors[i].keeper = fresh[at]
			continue
		}
		k, err := e.makeKeeper(cfg, edge.Ranges, had)
		if err != nil {
			return nil, err
		}
		k.key, doors[i].keeper = key, k
		fresh = append(fresh, k)
	}
	return doors, nil
}

// makeKeeper makes a keeper of sources that nobody keeps in the same way, with what those we had know of them, and its guard.
func (e *Engine) makeKeeper(cfg *config.Config, sources []ranges.Source, had []*keeper) (*keeper, error) {
	lists, err := ranges.NewKeeper(sources, cfg.StateDir, ranges.NewClient(), time.Now)
	if err != nil {
		e.log.Warn("a list of ranges cannot be read", slog.String("error", err.Error()))
	}
	for _, o := range had {
		lists.Inherit(o.Keeper)
	}
	willCome := cfg.EdgeRefresh > 0 && slices.ContainsFunc(sources, func(s ranges.Source) bool { return len(s.URLs) > 0 })
	switch started := e.live.Load() != nil; {
	case lists.Set().Len() > 0:
	case !willCome:
		return nil, errors.Join(errNoRanges, err)
	case started: // a start has nothing better; a reload has what is in force
		return nil, errNoRangesYet
	}
	k := &keeper{Keeper: lists}
	return k, e.loadGuard(cfg, k)
}

var (
	errNoRanges    = errors.New("SLUICE_EDGE_RANGES: no range can be read")
	errNoRangesYet = errors.New("SLUICE_EDGE_RANGES: no range of the new list is known yet, which would shut everybody out: fetch it first (sluice ranges --refresh, as the proxy's user), then reload")
)

// startKeepers begins to refresh the lists of l, and has those that we had already looked at again.
func (e *Engine) startKeepers(l, old *live) {
	every := l.cfg.EdgeRefresh
	for _, k := range l.keepers() {
		had := k.stop != nil
		if !had || old == nil || old.cfg.EdgeRefresh != every {
			e.startKeeper(k, every)
		}
		switch {
		case !had:
			e.tellKeeper(k)
		case every > 0:
			k.Again()
		default: // nobody hears Again
			e.rereadKeeper(k)
		}
	}
}

// startKeeper has k refreshed in another time than before, or no more.
func (e *Engine) startKeeper(k *keeper, every time.Duration) {
	if k.stop != nil {
		k.stop()
	}
	var ctx context.Context
	ctx, k.stop = context.WithCancel(e.run)
	if every > 0 {
		go k.Run(ctx, every, func(o ranges.Outcome) { e.rangesRefreshed(k, o) })
	}
}

// rereadKeeper puts in force what lies on this machine. Publishers are not asked.
func (e *Engine) rereadKeeper(k *keeper) {
	for _, o := range k.Reread() {
		e.rangesRefreshed(k, o)
	}
	e.armKeeper(k) // what the state directory has is no outcome
}

func (e *Engine) tellKeeper(k *keeper) {
	for _, s := range k.States() {
		attrs := []any{slog.String("source", s.Source), slog.Int("prefixes", s.Prefixes)}
		if !s.Taken.IsZero() { // the settings' own have no date
			attrs = append(attrs, slog.Time("as_of", s.Taken))
		}
		e.log.Info("connections are taken from these ranges alone", attrs...)
	}
	if k.Set().Len() == 0 {
		e.log.Warn("no range is known yet, and everybody is shut out until the list has been fetched")
	}
}

// retireKeepers ends those that old had and l has no use for, when l is in force.
func (e *Engine) retireKeepers(l, old *live) {
	used := l.keepers()
	for _, k := range old.keepers() {
		if !slices.Contains(used, k) {
			e.retire(k)
		}
	}
}

// rangesRefreshed counts and tells how a look at a list has ended.
func (e *Engine) rangesRefreshed(k *keeper, o ranges.Outcome) {
	if o.Unsaved != nil {
		e.limited.line("ranges unsaved", slog.LevelWarn, "a list of ranges is in force, but cannot be kept for the next start",
			slog.String("source", o.Source), slog.String("error", o.Unsaved.Error()))
	}
	e.armKeeper(k)
	if o.Err != nil {
		e.rangesRefreshes[1].Inc(e.offLoop())
		e.limited.line("ranges "+o.Source, slog.LevelWarn, "a list of ranges could not be refreshed; the last good one stays in force",
			slog.String("source", o.Source), slog.String("error", o.Err.Error()))
		return
	}
	e.rangesRefreshes[0].Inc(e.offLoop())
	if o.Added+o.Gone > 0 {
		e.log.Info("a list of ranges has changed", slog.String("source", o.Source), slog.Int("added", o.Added), slog.Int("gone", o.Gone))
	}
}

func (e *Engine) armKeeper(k *keeper) {
	if err := k.arm(); err != nil {
		e.limited.line("guard", slog.LevelError, "the kernel's guard did not take the ranges that are in force", slog.String("error", err.Error()))
	}
}

// eachList calls f for every source of the doors in force, once.
func (e *Engine) eachList(f func(ranges.State)) {
	seen := map[string]bool{}
	for _, k := range e.live.Load().keepers() {
		for _, s := range k.States() {
			if !seen[s.Source] {
				seen[s.Source] = true
				f(s)
			}
		}
	}
}

// indexDoors remembers which listener has which door. It is called once, when the ports are known.
func (e *Engine) indexDoors() {
	e.doors = map[netip.AddrPort]int{}
	for i, a := range e.listening {
		e.doors[anyAddress(a)] = i
	}
}

// door is the one a connection came in by.
func (e *Engine) door(l *live, local net.Addr) *door {
	if i, ok := e.doors[anyAddress(addrPort(local))]; ok && i < len(l.doors) {
		return &l.doors[i]
	}
	if len(l.doors) == 1 {
		return &l.doors[0]
	}
	return &shut
}

// shut is the door of a listener that we do not know, which cannot be: nobody comes in by it.
var shut = func() door {
	nobody, _ := ranges.NewKeeper(nil, "", nil, time.Now)
	return door{edge: config.Edge{Mode: config.Opaque}, keeper: &keeper{Keeper: nobody}}
}()

// anyAddress gives a listener of both families, whose name lacks an address, the one it is configured by.
func anyAddress(a netip.AddrPort) netip.AddrPort {
	if !a.Addr().IsValid() {
		return netip.AddrPortFrom(netip.IPv6Unspecified(), a.Port())
	}
	return a
}
