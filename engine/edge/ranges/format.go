package ranges

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// The forms in which a set can be written.
const (
	Plain = "plain" // a prefix a line
	JSON  = "json"
	NFT   = "nft"   // for nft -f: one transaction
	IPSet = "ipset" // for ipset restore: filled aside, then swapped
)

// Formats lists the forms.
func Formats() []string { return []string{Plain, NFT, IPSet, JSON} }

// MissingError tells of sources of which no list is known: what is in force lacks their ranges.
type MissingError struct{ Sources []string }

func (e *MissingError) Error() string {
	return "no list is known of " + strings.Join(e.Sources, ", ")
}

func (e *MissingError) Unwrap() error { return ErrEmpty }

// Missing is a MissingError where sources have no list, else nil.
func (k *Keeper) Missing() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var none []string
	for i := range k.lists {
		if l := &k.lists[i]; len(l.prefixes) == 0 {
			none = append(none, fmt.Sprintf("%s (%s)", l.source.Name, &l.source))
		}
	}
	if none == nil {
		return nil
	}
	return &MissingError{none}
}

// Write writes the set in force in one of the forms. For a firewall the listeners are those to close to everybody else; it gets
// nothing where a source has no list, for it would shut that source's machines out.
func (k *Keeper) Write(w io.Writer, format string, listeners []netip.AddrPort) error {
	set, states := k.Set(), k.States()
	if err := k.Missing(); err != nil && (set.Len() == 0 || format == NFT || format == IPSet) {
		return err
	}
	if set.Len() == 0 {
		return fmt.Errorf("%w: nothing to write", ErrEmpty) // a firewall with an empty set is shut to everybody, or open
	}
	var b strings.Builder
	switch format {
	case Plain:
		for _, p := range set.all() {
			fmt.Fprintln(&b, p)
		}
	case JSON:
		if err := writeJSON(&b, set, states); err != nil {
			return err
		}
	case NFT:
		writeNFT(&b, set, states, listeners)
	case IPSet:
		writeIPSet(&b, set, states)
	default:
		return fmt.Errorf("no format %q: there are %s", format, strings.Join(Formats(), ", "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (s *Set) all() []netip.Prefix { return slices.Concat(s.v4, s.v6) }

func writeJSON(w io.Writer, s *Set, states []State) error {
	type source struct {
		Name     string    `json:"name"`
		Prefixes int       `json:"prefixes"`
		Taken    time.Time `json:"taken,omitzero"`
	}
	out := struct {
		Sources []source       `json:"sources"`
		V4      []netip.Prefix `json:"ipv4"`
		V6      []netip.Prefix `json:"ipv6"`
	}{V4: s.v4, V6: s.v6}
	for _, st := range states {
		out.Sources = append(out.Sources, source{st.Source, st.Prefixes, st.Taken.UTC()})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(out)
}

func writeSources(w io.Writer, states []State) {
	for _, s := range states {
		fmt.Fprintf(w, "# %s: %d ranges", s.Source, s.Prefixes)
		if !s.Taken.IsZero() { // ranges that were given have no date
			fmt.Fprintf(w, " as of %s", s.Taken.UTC().Format(time.DateOnly))
		}
		fmt.Fprintln(w)
	}
}

// writeNFT writes one transaction: nft -f applies all of it or nothing, so there is no moment in which the sets are empty or
// the ports are open. Only the SYN is judged: a connection outlives the range it came from.
func writeNFT(w io.Writer, s *Set, states []State, listeners []netip.AddrPort) {
	writeSources(w, states)
	fmt.Fprint(w, "# nft -f - loads it; loading a newer one later replaces it.\nadd table inet sluice\n")
	for _, f := range []struct {
		name, kind string
		list       []netip.Prefix
	}{{"edge4", "ipv4_addr", s.v4}, {"edge6", "ipv6_addr", s.v6}} {
		fmt.Fprintf(w, "add set inet sluice %s { type %s; flags interval; auto-merge; }\nflush set inet sluice %[1]s\n", f.name, f.kind)
		if len(f.list) > 0 {
			fmt.Fprintf(w, "add element inet sluice %s { %s }\n", f.name, join(f.list, ", "))
		}
	}
	if len(listeners) == 0 {
		return
	}
	fmt.Fprint(w, "add chain inet sluice guard { type filter hook input priority -10; policy accept; }\nflush chain inet sluice guard\n")
	rule := func(family, to string, port uint16, set string) {
		fmt.Fprintf(w, "add rule inet sluice guard iif != lo %stcp dport %d tcp flags & (fin | syn | rst | ack) == syn %s saddr != @%s drop\n", to, port, family, set)
	}
	for _, l := range listeners {
		a, to4, to6 := l.Addr(), "", ""
		if !a.IsUnspecified() {
			to4, to6 = fmt.Sprintf("ip daddr %v ", a), fmt.Sprintf("ip6 daddr %v ", a)
		}
		if a.Is4() || a.IsUnspecified() { // [::] is both families
			rule("ip", to4, l.Port(), "edge4")
		}
		if a.Is6() {
			rule("ip6", to6, l.Port(), "edge6")
		}
	}
}

// writeIPSet fills two new sets and swaps them with those in use, which a swap never leaves empty.
func writeIPSet(w io.Writer, s *Set, states []State) {
	writeSources(w, states)
	for _, f := range []struct {
		name, family string
		list         []netip.Prefix
	}{{"sluice-edge4", "inet", s.v4}, {"sluice-edge6", "inet6", s.v6}} {
		fmt.Fprintf(w, "create %s hash:net family %s -exist\ncreate %[1]s-new hash:net family %[2]s -exist\nflush %[1]s-new\n", f.name, f.family)
		for _, p := range f.list {
			fmt.Fprintf(w, "add %s-new %s\n", f.name, p)
		}
		fmt.Fprintf(w, "swap %s-new %[1]s\ndestroy %[1]s-new\n", f.name)
	}
}

func join[T any](list []T, by string) string {
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = fmt.Sprint(v)
	}
	return strings.Join(texts, by)
}
