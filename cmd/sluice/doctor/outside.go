package doctor

import (
	"bytes"
	"context"
	"net/netip"
	"slices"
	"sync"

	"sluice/engine/config"
	"sluice/engine/edge/ranges"
)

const elsewhere = "; another machine's word is worth more: openssl s_client -connect THIS-HOST:PORT there must get no answer"

// checkOutside connects to the listeners past the load balancer, from this host, whose addresses are in no ranges as a rule.
func checkOutside(ctx context.Context, x *exam) Finding {
	type door struct {
		listen netip.AddrPort
		edge   config.Edge
	}
	var doors []door
	for i, e := range x.cfg.Edges {
		if e.Ranges != nil && x.cfg.Listen[i].Port() != 0 {
			doors = append(doors, door{x.cfg.Listen[i], e})
		}
	}
	if len(doors) == 0 {
		return x.openByDesign()
	}
	findings := make([]Finding, len(doors))
	var all sync.WaitGroup
	for i, d := range doors {
		all.Go(func() { findings[i] = x.tryDoor(ctx, d.listen, d.edge) })
	}
	all.Wait()
	return slices.MaxFunc(findings, func(a, b Finding) int { return weight(a.Status) - weight(b.Status) })
}

// openByDesign is for listeners that take everybody.
func (x *exam) openByDesign() Finding {
	if !x.fronted() {
		return skip("clients connect directly, so there is no outside")
	}
	return skip("the listeners have no ranges, so that only a firewall or a security group can close them: from another machine, openssl s_client -connect THIS-HOST:PORT must get no answer")
}

// tryDoor connects to a listener from an address of this host that its ranges do not hold.
func (x *exam) tryDoor(ctx context.Context, listen netip.AddrPort, e config.Edge) Finding {
	keeper, _ := ranges.NewKeeper(e.Ranges, x.cfg.StateDir, nil, x.world.Now)
	to, found := x.outsideAddress(listen, keeper.Set())
	if !found {
		return skip("every address of this host is in the ranges of %s, so it cannot be tried from here%s", listen, elsewhere)
	}
	conn, err := x.dial(ctx, "tcp", to.String())
	if err != nil {
		if _, pageErr := x.page(); pageErr != nil {
			return skip("nothing answers at %s, and the proxy does not run", to)
		}
		return ok("%s gives no answer to a connection from this host (%v)%s", to, err, elsewhere)
	}
	a, err := x.visitTLS(ctx, conn, x.frontName(), false)
	switch {
	case err != nil:
		return ok("%s takes a connection from this host, which is not in the ranges, and never says a word%s", to, elsewhere)
	case a.leaf() != nil && e.Outsiders == config.ToFront:
		return x.fronting(to, a)
	case a.spoke && e.Outsiders == config.Drop:
		return fail("close the port: let the proxy have SLUICE_EDGE_RANGES in force (a restart, if it was just set), or load sluice ranges --format nft",
			"%s talks to a connection from this host, which is not in the ranges", to)
	case e.Outsiders == config.ToFront:
		return warn("see front-reachable", "%s closes a connection that SLUICE_EDGE_OUTSIDERS=front should show the front (%s)", to, clean(a.word))
	}
	return ok("%s closes a connection from this host, which is not in the ranges, without a word%s", to, elsewhere)
}

// fronting judges what an outsider is shown where the front is what they should see.
func (x *exam) fronting(to netip.AddrPort, a answer) Finding {
	if f, err := x.frontFor(x.frontName()).answer(); err == nil && f.leaf() != nil && !bytes.Equal(f.leaf().Raw, a.leaf().Raw) {
		return fail("find out what listens there", "%s shows a connection from outside the ranges something else than the front: %s", to, describe(a.leaf()))
	}
	return ok("%s shows a connection from outside the ranges the front, as SLUICE_EDGE_OUTSIDERS=front says", to)
}

// outsideAddress is where to connect to, so that the connection comes from outside: a connection to an own address comes from it.
func (x *exam) outsideAddress(listen netip.AddrPort, set *ranges.Set) (netip.AddrPort, bool) {
	candidates := []netip.Addr{listen.Addr()}
	if listen.Addr().IsUnspecified() {
		candidates = append([]netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}, x.world.Local...)
	}
	for _, a := range candidates {
		if !set.Contains(a) && !a.IsLinkLocalUnicast() && !(listen.Addr() == netip.IPv4Unspecified() && a.Is6()) {
			return netip.AddrPortFrom(a, listen.Port()), true
		}
	}
	return netip.AddrPort{}, false
}
