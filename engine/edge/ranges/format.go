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

// Write writes the set in force in one of the forms. A firewall also gets who may come in by each door; it gets nothing where a
// source has no list, for it would shut that source's machines out.
func (k *Keeper) Write(w io.Writer, format string, doors []Door) error {
	set, states := k.Set(), k.States()
	if err := k.Missing(); err != nil && (set.Len() == 0 || format == NFT || format == IPSet) {
		return err
	}
	if set.Len() == 0 {
		return fmt.Errorf("%w: nothing to write", ErrEmpty) // a firewall with an empty set is shut to everybody, or open
	}
	var b strings.Builder
	var err error
	switch format {
	case Plain:
		for _, p := range set.all() {
			fmt.Fprintln(&b, p)
		}
	case JSON:
		err = writeJSON(&b, set, states)
	case NFT, IPSet:
		var walls []wall
		if walls, err = k.walls(set, doors); err == nil {
			writeFirewall(&b, format, states, walls, doors)
		}
	default:
		err = fmt.Errorf("no format %q: there are %s", format, strings.Join(Formats(), ", "))
	}
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, b.String())
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

func join[T any](list []T, by string) string {
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = fmt.Sprint(v)
	}
	return strings.Join(texts, by)
}
