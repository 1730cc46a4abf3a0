package ranges

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
)

func TestSet(t *testing.T) {
	s := NewSet(mustParse("192.0.2.0/24", "192.0.2.128/25", "198.51.100.7/32", "10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32", "2001:db8:1::/48", "::ffff:203.0.113.0/120", "10.0.0.0/8"))
	if got := join(s.all(), " "); got != "10.0.0.0/8 192.0.2.0/24 198.51.100.7/32 203.0.113.0/24 2001:db8::/32" {
		t.Errorf("the set is %s", got)
	}
	for text, want := range map[string]bool{
		"192.0.2.0": true, "192.0.2.255": true, "192.0.1.255": false, "192.0.3.0": false, "198.51.100.7": true, "198.51.100.6": false,
		"198.51.100.8": false, "10.255.255.255": true, "11.0.0.0": false, "9.255.255.255": false, "0.0.0.0": false, "255.255.255.255": false,
		"203.0.113.9": true, "::ffff:203.0.113.9": true, "::ffff:203.0.114.0": false, "2001:db8::": true, "2001:db8:ffff::1": true,
		"2001:db9::": false, "2001:db7:ffff::": false, "::": false, "fe80::1%eth0": false, "2001:db8::1%eth0": true,
	} {
		if s.Contains(netip.MustParseAddr(text)) != want {
			t.Errorf("%s: %v", text, !want)
		}
	}
	if new(Set).Contains(netip.MustParseAddr("10.0.0.1")) || s.Contains(netip.Addr{}) {
		t.Error("an empty set, or no address at all, is contained")
	}
}

// Whatever the prefixes, the set answers as a look at each of them does.
func TestSetAnswersAsEachPrefix(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 9))
	addr := func() netip.Addr {
		if rnd.IntN(2) == 0 {
			return netip.AddrFrom4([4]byte{10, byte(rnd.IntN(3)), byte(rnd.IntN(256)), byte(rnd.IntN(256))})
		}
		return netip.AddrFrom16([16]byte{0x20, 1, byte(rnd.IntN(3)), byte(rnd.IntN(256)), 15: byte(rnd.IntN(256))})
	}
	for range 200 {
		var list []netip.Prefix
		for range rnd.IntN(40) {
			a := addr()
			list = append(list, netip.PrefixFrom(a, 8+rnd.IntN(a.BitLen()-7)))
		}
		s := NewSet(list)
		for range 200 {
			a, want := addr(), false
			for _, p := range list {
				want = want || p.Masked().Contains(a)
			}
			if s.Contains(a) != want {
				t.Fatalf("%v in %v: %v", a, list, !want)
			}
		}
	}
}

func TestContainsAllocatesNothing(t *testing.T) {
	s := NewSet(mustParse("10.0.0.0/8", "2001:db8::/32"))
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("::ffff:10.1.1.1")
	if n := testing.AllocsPerRun(100, func() { _, _ = s.Contains(a), s.Contains(b) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestParseList(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want string
		err  error
	}{
		"as Cloudflare writes it":  {"173.245.48.0/20\n103.21.244.0/22", "173.245.48.0/20 103.21.244.0/22", nil},
		"with a last line's end":   {"2400:cb00::/32\n", "2400:cb00::/32", nil},
		"with CRLF and blanks":     {" 10.0.0.0/8\r\n\r\n10.1.2.3\r\n", "10.0.0.0/8 10.1.2.3/32", nil},
		"with remarks":             {"# ours\n192.0.2.0/24 # a rack\n", "192.0.2.0/24", nil},
		"bits beyond the length":   {"192.0.2.7/24", "192.0.2.0/24", nil},
		"IPv4 in IPv6":             {"::ffff:192.0.2.0/120", "192.0.2.0/24", nil},
		"nothing":                  {"", "", ErrEmpty},
		"remarks only":             {"# nothing\n\n", "", ErrEmpty},
		"a web page":               {"<!DOCTYPE html>\n<html>", "", ErrNoList},
		"a captive portal's words": {"Please log in", "", ErrNoList},
		"cut in a line":            {"173.245.48.0/20\n103.21.244.", "", ErrNoList},
		"two on a line":            {"192.0.2.0/24,198.51.100.0/24", "", ErrNoList},
		"a prefix too long":        {"192.0.2.0/33", "", ErrNoList},
		"a default route":          {"192.0.2.0/24\n0.0.0.0/0", "", ErrTooWide},
		"IPv6's default route":     {"::/0", "", ErrTooWide},
		"half the internet":        {"128.0.0.0/1", "", ErrTooWide},
		"just too wide":            {"10.0.0.0/6", "", ErrTooWide},
		"just not":                 {"10.0.0.0/7\n2000::/16", "10.0.0.0/7 2000::/16", nil},
		"IPv6 just too wide":       {"2000::/15", "", ErrTooWide},
		"IPv4 whole in IPv6":       {"::ffff:0.0.0.0/96", "", ErrTooWide},
		"too many":                 {strings.Repeat("192.0.2.1\n", maxPrefixes+1), "", ErrTooLong},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseList([]byte(tt.text))
			if !errors.Is(err, tt.err) || join(got, " ") != tt.want {
				t.Errorf("%s, %v", join(got, " "), err)
			}
		})
	}
}

func TestParseAWS(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want string
		err  error
	}{
		"the regions' accelerators": {
			`{"syncToken":"1","prefixes":[{"ip_prefix":"192.0.2.0/24","region":"eu-west-1","service":"GLOBALACCELERATOR","network_border_group":"eu-west-1"},
			{"ip_prefix":"198.51.100.0/24","region":"GLOBAL","service":"GLOBALACCELERATOR"},{"ip_prefix":"203.0.113.0/24","region":"eu-west-1","service":"EC2"}],
			"ipv6_prefixes":[{"ipv6_prefix":"2001:db8::/40","region":"us-east-1","service":"GLOBALACCELERATOR"}]}`,
			"192.0.2.0/24 2001:db8::/40", nil,
		},
		"none of them":  {`{"prefixes":[{"ip_prefix":"203.0.113.0/24","region":"eu-west-1","service":"EC2"}]}`, "", ErrEmpty},
		"cut":           {`{"prefixes":[{"ip_prefix":"203.0.1`, "", ErrNoList},
		"a web page":    {"<html>", "", ErrNoList},
		"another thing": {`["192.0.2.0/24"]`, "", ErrNoList},
		"a bad prefix":  {`{"prefixes":[{"ip_prefix":"x","region":"eu-west-1","service":"GLOBALACCELERATOR"}]}`, "", ErrNoList},
		"a default route": {
			`{"prefixes":[{"ip_prefix":"0.0.0.0/0","region":"eu-west-1","service":"GLOBALACCELERATOR"}]}`, "", ErrTooWide,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseAWS([]byte(tt.text))
			if !errors.Is(err, tt.err) || join(got, " ") != tt.want {
				t.Errorf("%s, %v", join(got, " "), err)
			}
		})
	}
}

// The lists that come with the program are good ones, with a date.
func TestSnapshots(t *testing.T) {
	for i := range known {
		list, taken, err := known[i].builtIn()
		if err != nil || len(list) < 4 || taken.Year() < 2026 {
			t.Errorf("%s: %d ranges as of %v, %v", known[i].Name, len(list), taken, err)
		}
		if _, err := checked(list); err != nil {
			t.Errorf("%s: %v", known[i].Name, err)
		}
	}
	list, _, _ := known[0].builtIn()
	if s := NewSet(list); !s.Contains(netip.MustParseAddr("172.70.1.2")) || s.Contains(netip.MustParseAddr("1.1.1.1")) {
		t.Error("Cloudflare's edge is not where it should be")
	}
}

func TestParseSources(t *testing.T) {
	for text, want := range map[string]string{
		"cloudflare":                                        "cloudflare",
		"cloudflare, 192.0.2.0/24,2001:db8::1":              "cloudflare|192.0.2.0/24,2001:db8::1/128",
		"/etc/sluice/edge.txt":                              "/etc/sluice/edge.txt",
		"https://example.org/list.txt http://127.0.0.1:1/x": "https://example.org/list.txt|http://127.0.0.1:1/x",
		"gcp-load-balancer,aws-global-accelerator":          "gcp-load-balancer|aws-global-accelerator",
	} {
		all, err := ParseSources(text)
		var texts []string
		for i := range all {
			texts = append(texts, all[i].String())
			if strings.ContainsAny(all[i].Name, "/ :") {
				t.Errorf("%s: a name is %q", text, all[i].Name)
			}
		}
		if got := strings.Join(texts, "|"); err != nil || got != want {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"": "empty", "akamai": "is none of cloudflare", "ftp://example.org/x": "is none of", "cloudflare,cloudflare": "given twice",
		"0.0.0.0/0": "almost everybody", "https://user:word@example.org/": "is none of", "edge.txt": "is none of", "http://example.org/x": "use https", "https://": "is none of",
	} {
		if all, err := ParseSources(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v", text, all, err)
		}
	}
}
