package doctor

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"sluice/engine/config"
	"sluice/engine/front"
)

// web is one of the fronts, with what several looks need of it.
type web struct {
	to    config.Front
	ends  []string // the names it stands for that begin with "*."
	names []string // the whole names that are known to lead there
	ask   string   // which of them it is asked for
	addrs func() ([]netip.Addr, error)
	shown func() (answer, error) // to a browser that asks for that name
}

// makeWebs finds out which name leads to which front. The first one is the one for every other name.
func (x *exam) makeWebs(ctx context.Context) {
	x.webs = []*web{{to: x.cfg.Front}}
	x.choice = front.NewChoice(x.webs[0])
	for _, f := range x.cfg.FrontsFor {
		i := slices.IndexFunc(x.webs, func(w *web) bool { return w.to == f.Front })
		if i < 0 {
			i, x.webs = len(x.webs), append(x.webs, &web{to: f.Front})
		}
		x.choice.Add(f.Name, x.webs[i])
	}
	names := x.hosts()
	for _, f := range x.cfg.FrontsFor {
		if strings.HasPrefix(f.Name, "*") {
			w := x.choice.For([]byte("x" + f.Name[1:]))
			w.ends = append(w.ends, f.Name)
		} else if !slices.Contains(names, f.Name) {
			names = append(names, f.Name)
		}
	}
	for _, n := range names {
		w := x.webFor(n)
		w.names = append(w.names, n)
	}
	for _, w := range x.webs {
		switch {
		case len(w.names) > 0:
			w.ask = w.names[0]
		case len(w.ends) > 0:
			w.ask = "www" + w.ends[0][1:]
		default:
			w.ask = x.frontName()
		}
		w.addrs = sync.OnceValues(func() ([]netip.Addr, error) { return x.lookUp(ctx, w.to.Host) })
		w.shown = sync.OnceValues(func() (answer, error) { return x.visit(ctx, w, w.ask, true) })
	}
}

// webFor is the front that a name in lower case leads to.
func (x *exam) webFor(name string) *web { return x.choice.For([]byte(name)) }

// eachFront makes a look at all fronts at once. What it finds is the worst of it, with a line for each where there are several.
func (x *exam) eachFront(look func(w *web) Finding) (worst Finding) {
	all := make([]Finding, len(x.webs))
	var looks sync.WaitGroup
	for i, w := range x.webs {
		looks.Go(func() { all[i] = look(w) })
	}
	looks.Wait()
	worst = all[0]
	for _, f := range all[1:] {
		if weight(f.Status) > weight(worst.Status) {
			worst = f
		}
	}
	if len(all) > 1 {
		for i, f := range all {
			worst.Details = append(worst.Details, x.webs[i].to.String()+": "+f.Seen)
		}
	}
	return worst
}
