package ranges

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

const (
	// MaxList is the longest list that is read, in bytes. AWS's has about 2 MB.
	MaxList = 16 << 20
	// maxPrefixes is the most a list may hold.
	maxPrefixes = 20_000

	// A prefix shorter than these lets in so much that a guard is none: the mistake it stands for is a default route.
	leastBits4 = 7
	leastBits6 = 16
)

// What is wrong with a list.
var (
	ErrNoList  = errors.New("not a list of address ranges")
	ErrEmpty   = errors.New("the list is empty")
	ErrTooWide = errors.New("a range takes in almost everybody")
	ErrShrunk  = errors.New("the list has shrunk to less than half")
	ErrTooLong = errors.New("the list is too long")
)

// parser reads a list as its publisher writes it.
type parser func([]byte) ([]netip.Prefix, error)

// ParseList reads a list of one prefix or address a line, as Cloudflare publishes it. Empty lines and what follows a # are
// passed over; a missing end of the last line is no fault.
func ParseList(b []byte) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for n, line := range strings.Split(string(b), "\n") {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		p, err := ParsePrefix(line)
		if err != nil {
			return nil, fmt.Errorf("%w: line %d is %.40q", ErrNoList, n+1, line)
		}
		all = append(all, p)
	}
	return checked(all)
}

// ParsePrefix reads a prefix, or an address as the prefix of itself alone.
func ParsePrefix(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return plain(netip.PrefixFrom(a, a.BitLen())), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, err
	}
	return plain(p), nil
}

const (
	awsAccelerator = "GLOBALACCELERATOR"
	awsOwn         = "GLOBAL" // the region of the accelerators' public addresses, which nothing comes from
)

// ParseAWS reads the sources of AWS Global Accelerator out of ip-ranges.json.
func ParseAWS(b []byte) ([]netip.Prefix, error) {
	type entry struct {
		V4      string `json:"ip_prefix"`
		V6      string `json:"ipv6_prefix"`
		Region  string `json:"region"`
		Service string `json:"service"`
	}
	var list struct {
		V4 []entry `json:"prefixes"`
		V6 []entry `json:"ipv6_prefixes"`
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, fmt.Errorf("%w: %.60q: %w", ErrNoList, bytes.TrimSpace(b), err)
	}
	var all []netip.Prefix
	for _, e := range append(list.V4, list.V6...) {
		if e.Service != awsAccelerator || e.Region == awsOwn {
			continue
		}
		p, err := netip.ParsePrefix(e.V4 + e.V6)
		if err != nil {
			return nil, fmt.Errorf("%w: a prefix is %.40q", ErrNoList, e.V4+e.V6)
		}
		all = append(all, p)
	}
	return checked(all)
}

// checked refuses what no load balancer's list can be.
func checked(all []netip.Prefix) ([]netip.Prefix, error) {
	if len(all) == 0 {
		return nil, ErrEmpty
	}
	if len(all) > maxPrefixes {
		return nil, fmt.Errorf("%w: %d ranges", ErrTooLong, len(all))
	}
	for _, p := range all {
		least := leastBits6
		if p = plain(p); p.Addr().Is4() {
			least = leastBits4
		}
		if p.Bits() < least {
			return nil, fmt.Errorf("%w: %v", ErrTooWide, p)
		}
	}
	return all, nil
}
