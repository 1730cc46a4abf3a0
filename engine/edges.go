package engine

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"sluice/engine/config"
	"sluice/engine/edge/ranges"
)

// door is a listener as connections see it: what stands in front of it, and from where one may come.
type door struct {
	edge   config.Edge
	keeper *keeper // nil: everybody may connect
}

// shuts says whether a connection from the peer comes past the load balancer.
func (d *door) shuts(peer netip.Addr) bool { return d.keeper != nil && !d.keeper.Set().Contains(peer) }

// fromEdge says whether the peer is one of the load balancer's machines, as far as that is known.
func (d *door) fromEdge(peer netip.Addr) bool {
	return d.edge.Mode != config.Preserved && d.keeper != nil && d.keeper.Set().Contains(peer)
}

// keeper keeps one list of sources fresh for the doors that share it, from one reload to the next.
type keeper struct {
	*ranges.Keeper
	key  string
	stop context.CancelFunc // nil until it runs
}

// makeDoors makes the doors of a configuration. Lists that are in use already are taken over as they are.
func (e *Engine) makeDoors(cfg *config.Config) ([]door, error) {
	doors := make([]door, len(cfg.Edges))
	made := map[string]*keeper{}
	if old := e.live.Load(); old != nil {
		for _, d := range old.doors {
			if d.keeper != nil {
				made[d.keeper.key] = d.keeper
			}
		}
	}
	for i, edge := range cfg.Edges {
		doors[i].edge = edge
		if edge.Ranges == nil {
			continue
		}
		key := sourcesKey(edge.Ranges)
		if made[key] == nil {
			k, err := ranges.NewKeeper(edge.Ranges, cfg.StateDir, rangesClient, time.Now)
			if err != nil {
				e.log.Warn("a list of ranges cannot be read", slog.String("error", err.Error()))
			}
			if k.Set().Len() == 0 && !fetched(edge.Ranges) {
				return nil, errors.Join(errNoRanges, err)
			}
			made[key] = &keeper{Keeper: k, key: key}
		}
		doors[i].keeper = made[key]
	}
	return doors, nil
}

var errNoRanges = errors.New("SLUICE_EDGE_RANGES: no range can be read")

// fetched says whether one of the sources will be asked over the network.
func fetched(sources []ranges.Source) bool {
	for i := range sources {
		if len(sources[i].URLs) > 0 {
			return true
		}
	}
	return false
}

func sourcesKey(sources []ranges.Source) string {
	var b strings.Builder
	for i := range sources {
		b.WriteString(sources[i].String() + "\n")
	}
	return b.String()
}

// rangesClient is for one request a day: it keeps nothing open.
var rangesClient = &http.Client{Transport: &http.Transport{
	Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 20 * time.Second,
}}

// startKeepers begins to refresh the lists of l, has those that run look again, and ends those that l has no use for.
func (e *Engine) startKeepers(l, old *live) {
	every := l.cfg.EdgeRefresh
	used := map[*keeper]bool{}
	for _, d := range l.doors {
		k := d.keeper
		if k == nil || used[k] {
			continue
		}
		used[k] = true
		if k.stop != nil && old != nil && old.cfg.EdgeRefresh == every {
			k.Again()
			continue
		}
		if k.stop != nil {
			k.stop()
		}
		var ctx context.Context
		ctx, k.stop = context.WithCancel(e.run)
		if every > 0 {
			go k.Run(ctx, every, e.rangesRefreshed)
		}
		for _, s := range k.States() {
			e.log.Info("connections are taken from these ranges alone", slog.String("source", s.Source), slog.Int("prefixes", s.Prefixes),
				slog.Time("as_of", s.Taken))
		}
		if k.Set().Len() == 0 {
			e.log.Warn("no range is known yet, and everybody is shut out until the list has been fetched")
		}
	}
	if old == nil {
		return
	}
	for _, d := range old.doors {
		if k := d.keeper; k != nil && !used[k] && k.stop != nil {
			k.stop()
		}
	}
}

// rangesRefreshed counts and tells how a look at a list has ended.
func (e *Engine) rangesRefreshed(o ranges.Outcome) {
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

// eachList calls f for every source of the doors in force, once.
func (e *Engine) eachList(f func(ranges.State)) {
	seen := map[string]bool{}
	for _, d := range e.live.Load().doors {
		if d.keeper == nil {
			continue
		}
		for _, s := range d.keeper.States() {
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
	if i := e.doors[anyAddress(addrPort(local))]; i < len(l.doors) {
		return &l.doors[i]
	}
	return &l.doors[0]
}

// anyAddress writes the unspecified addresses, which a listener's name may lack altogether, as one.
func anyAddress(a netip.AddrPort) netip.AddrPort {
	if !a.Addr().IsValid() || a.Addr().IsUnspecified() {
		return netip.AddrPortFrom(netip.IPv6Unspecified(), a.Port())
	}
	return a
}
