package doctor

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"sluice/engine/dc"
)

// The data centres of users, and those of the test servers.
var (
	userDCs = []int{1, 2, 3, 4, 5, 203}
	testDCs = []int{dc.Test + 1, dc.Test + 2, dc.Test + 3}
)

// dcIDs are the IDs of findings about data centres.
var dcIDs = func() (ids []string) {
	for _, n := range userDCs {
		ids = append(ids, "dc-"+strconv.Itoa(n))
	}
	return append(ids, "dc-test", "dc-addresses")
}()

// centre is what the addresses of one data centre have said.
type centre struct {
	number int
	said   []said
}

// said is one address's answer.
type said struct {
	addr   netip.AddrPort
	err    error
	took   time.Duration // from the connect to the answer
	clock  time.Time     // what its clock showed
	offset time.Duration // ours less its
}

func (c centre) good() (n int) {
	for _, s := range c.said {
		if s.err == nil {
			n++
		}
	}
	return n
}

// askCentres asks every address that the proxy would use, all at a time.
func (x *exam) askCentres(ctx context.Context) []centre {
	book := dc.NewBook(x.cfg.DC, dc.Preference(x.cfg.IPPreference))
	var all []centre
	var asking sync.WaitGroup
	for _, n := range slices.Concat(userDCs, testDCs) {
		addrs := book.Addrs(n, x.world.Now())
		c := centre{n, make([]said, len(addrs))}
		for i, a := range addrs {
			asking.Go(func() { c.said[i] = x.askCentre(ctx, n, a) })
		}
		all = append(all, c)
	}
	asking.Wait()
	return all
}

func (x *exam) askCentre(ctx context.Context, n int, addr netip.AddrPort) said {
	s := said{addr: addr}
	began := x.world.Now()
	conn, err := x.dial(ctx, "tcp", addr.String())
	if err != nil {
		s.err = err
		return s
	}
	defer conn.Close()
	asked := x.world.Now()
	s.clock, s.err = askPQ(conn, n, asked, rand.Reader)
	heard := x.world.Now()
	s.took, s.offset = heard.Sub(began), asked.Add(heard.Sub(asked)/2).Sub(s.clock)
	return s
}

func checkDCs(_ context.Context, x *exam) (all []Finding) {
	centres := x.centres()
	var tests []centre
	for _, c := range centres {
		if c.number > dc.Test {
			tests = append(tests, c)
			continue
		}
		all = append(all, c.judge(x.world.Offline).named("dc-"+strconv.Itoa(c.number)))
	}
	return append(all, judgeTests(tests).named("dc-test"), judgeAddresses(centres).named("dc-addresses"))
}

// judge says whether a data centre can be used.
func (c centre) judge(offline bool) Finding {
	variable := fmt.Sprintf("SLUICE_DC_%d", c.number)
	if len(c.said) == 0 {
		return fail("set "+variable+", or another SLUICE_IP_PREFERENCE", "has no address that SLUICE_IP_PREFERENCE allows")
	}
	if offline && c.skipped() {
		return skip("%v", errOffline)
	}
	for _, s := range c.said {
		if s.err == nil {
			return ok("%s answers in %s", s.addr, s.took.Round(time.Millisecond))
		}
	}
	f := fail("look whether this host's network lets connections out to the addresses; "+variable+" names others", "none of its %s answers: %v", plural(len(c.said), "address", "addresses"), c.said[0].err)
	f.far = true
	for _, s := range c.said {
		f.Details = append(f.Details, s.addr.String()+": "+clean(s.err.Error()))
	}
	return f
}

// skipped says whether no address was asked.
func (c centre) skipped() bool {
	return !slices.ContainsFunc(c.said, func(s said) bool { return s.err != errOffline })
}

func judgeTests(tests []centre) Finding {
	answering, skipped := 0, 0
	for _, c := range tests {
		switch {
		case c.good() > 0:
			answering++
		case c.skipped():
			skipped++
		}
	}
	switch {
	case skipped == len(tests):
		return skip("%v", errOffline)
	case answering < len(tests):
		return warn("nothing, unless you test clients", "%d of %d answer", answering, len(tests))
	}
	return ok("all %d answer", answering)
}

// judgeAddresses looks for addresses that would only cost time.
func judgeAddresses(centres []centre) Finding {
	good, asked := 0, 0
	var silent []string
	v4, v6 := 0, 0
	for _, c := range centres {
		for _, s := range c.said {
			switch {
			case s.err == errOffline:
				continue
			case s.err == nil:
				good++
			default:
				silent = append(silent, fmt.Sprintf("%s (%d): %v", s.addr, c.number, s.err))
				if s.addr.Addr().Is4() {
					v4++
				} else {
					v6++
				}
			}
			asked++
		}
	}
	if asked == 0 {
		return skip("%v", errOffline)
	}
	if len(silent) == 0 {
		return ok("all %d answer", good)
	}
	do := "they are tried last after a failure; SLUICE_DC_n names addresses that you know better"
	switch {
	case v6 > 0 && v4 == 0:
		do = "if this host has no IPv6, set SLUICE_IP_PREFERENCE=only-ipv4"
	case v4 > 0 && v6 == 0:
		do = "if this host has no IPv4, set SLUICE_IP_PREFERENCE=only-ipv6"
	}
	f := warn(do, "%d of %d do not answer", len(silent), asked)
	f.Details = silent
	return f
}
