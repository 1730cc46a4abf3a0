// Package dc knows the data centres: their addresses, the order to try them in, and which of them failed lately.
package dc

import "net/netip"

// Test is added to the number of a data centre of the test servers (protocol.md 3.1).
const Test = 10000

// Default is the data centre for clients that do not say which they want.
const Default = 2

// builtin is the table of protocol.md 4, IPv4 first.
var builtin = map[int][]string{
	1:        {"149.154.175.50:443", "[2001:b28:f23d:f001::a]:443"},
	2:        {"149.154.167.51:443", "95.161.76.100:443", "[2001:67c:4e8:f002::a]:443"},
	3:        {"149.154.175.100:443", "[2001:b28:f23d:f003::a]:443"},
	4:        {"149.154.167.91:443", "[2001:67c:4e8:f004::a]:443"},
	5:        {"149.154.171.5:443", "[2001:b28:f23f:f005::a]:443"},
	203:      {"91.105.192.100:443", "[2a0a:f280:203:a:5000::100]:443"},
	Test + 1: {"149.154.175.10:443", "[2001:b28:f23d:f001::e]:443"},
	Test + 2: {"149.154.167.40:443", "[2001:67c:4e8:f002::e]:443"},
	Test + 3: {"149.154.175.117:443", "[2001:b28:f23d:f003::e]:443"},
}

// Number is the data centre that a client's signed id asks for: media ids are negative, 0 means that it did not say.
func Number(id int16) int {
	switch n := int(id); {
	case n == 0:
		return Default
	case n < 0:
		return -n
	default:
		return n
	}
}

// Preference orders, or restricts, the address families of the built-in table.
type Preference uint8

// The preferences.
const (
	PreferIPv4 Preference = iota
	PreferIPv6
	OnlyIPv4
	OnlyIPv6
)

// apply orders addrs by the preference, keeping the order within a family.
func (p Preference) apply(addrs []netip.AddrPort) []netip.AddrPort {
	var v4, v6 []netip.AddrPort
	for _, a := range addrs {
		if a.Addr().Unmap().Is4() {
			v4 = append(v4, a)
		} else {
			v6 = append(v6, a)
		}
	}
	switch p {
	case OnlyIPv4:
		return v4
	case OnlyIPv6:
		return v6
	case PreferIPv6:
		return append(v6, v4...)
	}
	return append(v4, v6...)
}
