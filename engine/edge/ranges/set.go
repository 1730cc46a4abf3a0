// Package ranges knows from which addresses a load balancer's or a CDN's own machines connect: who publishes the list, how it
// is read and judged, where the last good one is kept, and how it is written for a firewall.
//
// A list that cannot be had, or that looks wrong, never replaces one that could: what is in force stays in force.
package ranges

import (
	"net/netip"
	"slices"
)

// Set is a set of addresses, given as prefixes. It is immutable; any goroutine may read it. The zero value is empty.
type Set struct {
	v4, v6 []netip.Prefix // sorted, disjoint
}

// NewSet makes a set of prefixes, in any order, that may contain one another. IPv4 addresses mapped into IPv6 count as IPv4.
func NewSet(prefixes []netip.Prefix) *Set {
	s := &Set{}
	for _, p := range prefixes {
		if p = plain(p); p.Addr().Is4() {
			s.v4 = append(s.v4, p)
		} else if p.IsValid() {
			s.v6 = append(s.v6, p)
		}
	}
	s.v4, s.v6 = disjoint(s.v4), disjoint(s.v6)
	return s
}

// plain masks a prefix and takes IPv4 out of IPv6.
func plain(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked()
}

// disjoint sorts prefixes of one family and leaves out those that lie within another.
func disjoint(list []netip.Prefix) []netip.Prefix {
	slices.SortFunc(list, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	kept := list[:0]
	for _, p := range list {
		if n := len(kept); n == 0 || !kept[n-1].Contains(p.Addr()) {
			kept = append(kept, p)
		}
	}
	return slices.Clip(kept)
}

// Contains says whether an address, also one mapped into IPv6, is in the set.
func (s *Set) Contains(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	list := s.v6
	if a.Is4() {
		list = s.v4
	}
	i, exact := slices.BinarySearchFunc(list, a, func(p netip.Prefix, a netip.Addr) int { return p.Addr().Compare(a) })
	return exact || i > 0 && list[i-1].Contains(a)
}

// Prefixes are those of the set, IPv4 first, sorted and disjoint. The caller must not change them.
func (s *Set) Prefixes() (v4, v6 []netip.Prefix) { return s.v4, s.v6 }

// Len is the number of prefixes.
func (s *Set) Len() int { return len(s.v4) + len(s.v6) }
