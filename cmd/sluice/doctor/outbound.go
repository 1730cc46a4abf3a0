package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"sluice/engine/dc"
	"sluice/engine/edge/ranges"
)

// checkOutbound lists every call that a proxy with these settings makes, and those of this program.
func checkOutbound(_ context.Context, x *exam) Finding {
	f := ok("every call that goes out under these settings")
	f.Details = slices.Concat(x.frontCalls(), x.listCalls(), x.centreCalls(), x.doctorCalls())
	return f
}

func isName(host string) bool {
	_, err := netip.ParseAddr(host)
	return err != nil
}

func (x *exam) frontCalls() (calls []string) {
	if x.cfg.Front.Builtin {
		return []string{"the front: none, it is the built-in page"}
	}
	for i, f := range x.fronts {
		if look := "DNS: the address of " + f.to.Host + ", each minute"; f.to.Network == "tcp" && isName(f.to.Host) && !slices.Contains(calls, look) {
			calls = append(calls, look)
		}
		whose := "the front"
		if i > 0 {
			whose = "the front of " + x.cfg.FrontsFor[i-1].Name
		}
		calls = append(calls, fmt.Sprintf("%s, %s: a connection for each stranger, and one each hour to learn its handshake", whose, f.to))
	}
	return calls
}

func (x *exam) listCalls() (calls []string) {
	if x.cfg.EdgeRefresh == 0 {
		return nil
	}
	var seen []string
	for _, e := range x.cfg.Edges {
		for _, s := range e.Ranges {
			for _, u := range s.URLs {
				if !slices.Contains(seen, u) {
					seen = append(seen, u)
					calls = append(calls, fmt.Sprintf("%s (and DNS for it), each %s, by way of HTTPS_PROXY where that is set", ranges.WithoutQuery(u), short(x.cfg.EdgeRefresh)))
				}
			}
		}
	}
	return calls
}

// short writes a duration without its empty parts.
func short(d time.Duration) string {
	switch {
	case d%time.Hour == 0:
		return strconv.Itoa(int(d/time.Hour)) + "h"
	case d%time.Minute == 0:
		return strconv.Itoa(int(d/time.Minute)) + "m"
	}
	return d.String()
}

func (x *exam) centreCalls() (calls []string) {
	book := dc.NewBook(x.cfg.DC, dc.Preference(x.cfg.IPPreference))
	for _, n := range slices.Concat(userDCs, testDCs) {
		if addrs := book.Addrs(n, x.world.Now()); len(addrs) > 0 {
			calls = append(calls, fmt.Sprintf("data centre %d: %s, a connection for each session", n, list(addrs)))
		}
	}
	return calls
}

func (x *exam) doctorCalls() []string {
	if x.world.Offline {
		return []string{"sluice doctor --offline: none"}
	}
	return []string{"sluice doctor, now: the same, once, and DNS and connections for the public name and the names in the secrets; nothing and nobody else"}
}
