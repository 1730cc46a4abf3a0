package ranges

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Door is a listener as a firewall sees it.
type Door struct {
	Listener netip.AddrPort
	Sources  []Source // from where its connections may come; nil: from anywhere
}

// wall is a pair of sets in the firewall, one of each family.
type wall struct {
	suffix string // of their names
	set    *Set
	door   *Door // whose it is; nil: all lists together
}

// walls are the sets that a firewall gets: all lists together, and those of each door. A door's are named by its port, and never by
// what is in them: who made a rule by hand with that name keeps it when lists come and go.
func (k *Keeper) walls(all *Set, doors []Door) ([]wall, error) {
	list := []wall{{set: all}}
	for i := range doors {
		d := &doors[i]
		if d.Sources == nil {
			continue
		}
		set := k.part(d.Sources)
		if set.Len() == 0 {
			return nil, fmt.Errorf("%v: %w", d.Listener, ErrEmpty)
		}
		list = append(list, wall{"-" + d.name(doors), set, d})
	}
	return list, nil
}

// part is the set of some of the sources.
func (k *Keeper) part(of []Source) *Set {
	k.mu.Lock()
	defer k.mu.Unlock()
	var all []netip.Prefix
	for i := range k.lists {
		l := &k.lists[i]
		if slices.ContainsFunc(of, func(s Source) bool { return s.key() == l.source.key() }) {
			all = append(all, l.prefixes...)
		}
	}
	return NewSet(all)
}

// name tells the door from the others: by its port, and where that has several listeners by a sum of its address, for a whole one
// is longer than the name of an ipset may be.
func (d *Door) name(doors []Door) string {
	port := strconv.Itoa(int(d.Listener.Port()))
	shared := func(o Door) bool { return o.Listener.Port() == d.Listener.Port() && o.Listener != d.Listener }
	if d.Listener.Addr() == netip.IPv6Unspecified() || !slices.ContainsFunc(doors, shared) {
		return port
	}
	sum := sha256.Sum256([]byte(d.Listener.Addr().String()))
	return fmt.Sprintf("%s-%x", port, sum[:4])
}

func writeFirewall(w io.Writer, format string, states []State, walls []wall, doors []Door) {
	for _, s := range states {
		fmt.Fprintf(w, "# %s: %d ranges", s.Source, s.Prefixes)
		if !s.Taken.IsZero() { // ranges that were given have no date
			fmt.Fprintf(w, " as of %s", s.Taken.UTC().Format(time.DateOnly))
		}
		fmt.Fprintln(w)
	}
	if format == NFT {
		writeNFT(w, walls, doors)
		return
	}
	for _, l := range walls {
		l.writeIPSet(w)
	}
}

// writeNFT writes one transaction: nft -f applies all of it or nothing, so there is no moment in which the sets are empty or
// the ports are open. Only the SYN is judged: a connection outlives the range it came from. The chain is emptied, so that no rule of
// an earlier load stays; sets that no rule needs any more may, for a rule of the operator's may need them.
func writeNFT(w io.Writer, walls []wall, doors []Door) {
	fmt.Fprint(w, "# nft -f - loads it; loading a newer one later replaces it.\nadd table inet sluice\n")
	for _, l := range walls {
		l.writeNFT(w)
	}
	if len(walls) == 1 {
		return // nothing to close
	}
	fmt.Fprint(w, "add chain inet sluice guard { type filter hook input priority -10; policy accept; }\nflush chain inet sluice guard\n")
	for _, l := range walls[1:] {
		l.writeRules(w, doors)
	}
}

// tell says what the sets are for.
func (l *wall) tell(w io.Writer, name string) {
	whose := "all lists together; where listeners have different ones, a rule wants the sets of its port"
	if l.door != nil {
		whose = "who may connect to " + l.door.Listener.String()
	}
	fmt.Fprintf(w, "# %s4%s, %[1]s6%[2]s: %s\n", name, l.suffix, whose)
}

func (l *wall) writeNFT(w io.Writer) {
	l.tell(w, "edge")
	for _, f := range []struct {
		name, kind string
		list       []netip.Prefix
	}{{"edge4" + l.suffix, "ipv4_addr", l.set.v4}, {"edge6" + l.suffix, "ipv6_addr", l.set.v6}} {
		fmt.Fprintf(w, "add set inet sluice %s { type %s; flags interval; auto-merge; }\nflush set inet sluice %[1]s\n", f.name, f.kind)
		if len(f.list) > 0 {
			fmt.Fprintf(w, "add element inet sluice %s { %s }\n", f.name, join(f.list, ", "))
		}
	}
}

// writeRules closes the door to everybody else.
func (l *wall) writeRules(w io.Writer, doors []Door) {
	port := l.door.Listener.Port()
	for _, f := range []struct{ family, set string }{{"ip", "edge4"}, {"ip6", "edge6"}} {
		if to, ok := l.door.to(f.family, doors); ok {
			fmt.Fprintf(w, "add rule inet sluice guard iif != lo %stcp dport %d tcp flags & (fin | syn | rst | ack) == syn %s saddr != @%s%s drop\n",
				to, port, f.family, f.set, l.suffix)
		}
	}
}

// to matches what goes to the door in a family: to its address, or for one at all addresses to none that another has at the same port.
func (d *Door) to(family string, doors []Door) (match string, ok bool) {
	a, v4 := d.Listener.Addr(), family == "ip"
	if !a.IsUnspecified() {
		return fmt.Sprintf("%s daddr %v ", family, a), a.Is4() == v4
	}
	if a.Is4() && !v4 {
		return "", false
	}
	var others []netip.Addr
	for _, o := range doors {
		if b := o.Listener.Addr(); o.Listener.Port() == d.Listener.Port() && b != a && b.Is4() == v4 {
			if b.IsUnspecified() {
				return "", false // [::] is both families, where nobody else has the other
			}
			others = append(others, b)
		}
	}
	if len(others) == 0 {
		return "", true
	}
	return fmt.Sprintf("%s daddr != { %s } ", family, join(others, ", ")), true
}

// writeIPSet fills a new set of each family and swaps it with the one in use, which a swap never leaves empty.
func (l *wall) writeIPSet(w io.Writer) {
	l.tell(w, "sluice-edge")
	for _, f := range []struct {
		name, family string
		list         []netip.Prefix
	}{{"sluice-edge4", "inet", l.set.v4}, {"sluice-edge6", "inet6", l.set.v6}} {
		var b strings.Builder
		for _, p := range f.list {
			fmt.Fprintf(&b, "add %s-new %s\n", f.name, p)
		}
		fmt.Fprintf(w, "create %s%s hash:net family %s -exist\ncreate %[1]s-new hash:net family %[3]s -exist\nflush %[1]s-new\n%[4]s", f.name, l.suffix, f.family, b.String())
		fmt.Fprintf(w, "swap %s-new %[1]s%s\ndestroy %[1]s-new\n", f.name, l.suffix)
	}
}
