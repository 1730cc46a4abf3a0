package ranges

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

// rulesOf are what an nft form does: from which set a connection to where must come.
func rulesOf(nft string) (all []string) {
	for line := range strings.Lines(nft) {
		rest, ok := strings.CutPrefix(line, "add rule inet sluice guard iif != lo ")
		if !ok {
			continue
		}
		to, from, _ := strings.Cut(strings.TrimSpace(rest), " tcp flags & (fin | syn | rst | ack) == syn ")
		all = append(all, strings.TrimSuffix(to, " drop")+" <- "+strings.TrimSuffix(from, " drop"))
	}
	return all
}

// Each listener is closed to everybody but those in its own ranges, and to nobody on another's account.
func TestEachDoorHasItsOwnRules(t *testing.T) {
	const a, b = "192.0.2.0/24,2001:db8::/32", "10.0.0.0/8,fd00::/16"
	for name, tt := range map[string]struct {
		doors [][2]string // listener, ranges
		want  []string
	}{
		"two ports": {
			[][2]string{{"[::]:443", a}, {"10.0.0.5:8444", b}},
			[]string{"tcp dport 443 <- ip saddr != @edge4-443", "tcp dport 443 <- ip6 saddr != @edge6-443", "ip daddr 10.0.0.5 tcp dport 8444 <- ip saddr != @edge4-8444"},
		},
		"one is open": {
			[][2]string{{"[::]:443", a}, {"[::]:8444", ""}},
			[]string{"tcp dport 443 <- ip saddr != @edge4-443", "tcp dport 443 <- ip6 saddr != @edge6-443"},
		},
		"two addresses": {
			[][2]string{{"10.0.0.5:443", a}, {"10.0.0.6:443", b}},
			[]string{"ip daddr 10.0.0.5 tcp dport 443 <- ip saddr != @edge4-443-0546412d", "ip daddr 10.0.0.6 tcp dport 443 <- ip saddr != @edge4-443-a75a740c"},
		},
		"one address beside all": {
			[][2]string{{"[::]:443", a}, {"10.0.0.5:443", ""}, {"[fd00::5]:443", ""}, {"10.0.0.6:443", ""}, {"10.0.0.7:8444", ""}},
			[]string{
				"ip daddr != { 10.0.0.5, 10.0.0.6 } tcp dport 443 <- ip saddr != @edge4-443",
				"ip6 daddr != { fd00::5 } tcp dport 443 <- ip6 saddr != @edge6-443",
			},
		},
		"both families apart": {
			[][2]string{{"0.0.0.0:443", ""}, {"[::]:443", a}},
			[]string{"tcp dport 443 <- ip6 saddr != @edge6-443"},
		},
		"all addresses of IPv4": {
			[][2]string{{"0.0.0.0:443", a}, {"10.0.0.5:443", b}},
			[]string{"ip daddr != { 10.0.0.5 } tcp dport 443 <- ip saddr != @edge4-443-19e36255", "ip daddr 10.0.0.5 tcp dport 443 <- ip saddr != @edge4-443-0546412d"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := &Keeper{}
			var doors []Door
			for _, d := range tt.doors {
				doors = append(doors, doorAt(t, d[0], d[1]))
				for _, s := range doors[len(doors)-1].Sources {
					k.lists = append(k.lists, list{source: s, prefixes: s.fixed})
				}
			}
			k.publish()
			nft := written(t, k, NFT, doors...)
			if got := rulesOf(nft); !slices.Equal(got, tt.want) {
				t.Errorf("rules %q\nwant %q", got, tt.want)
			}
			for _, set := range []string{"edge4", "edge6"} { // all together, for rules that were there before
				if !strings.Contains(nft, "flush set inet sluice "+set+"\n") {
					t.Errorf("%s is not filled:\n%s", set, nft)
				}
			}
		})
	}
}

// The sets of each listener hold its own ranges; their names fit, and stay when the ranges change.
func TestEachDoorHasItsOwnSets(t *testing.T) {
	k := keeperOf(t, "192.0.2.0/24,gcp-load-balancer")
	doors := []Door{doorAt(t, "[::]:443", "gcp-load-balancer"), doorAt(t, "255.255.255.255:65535", "192.0.2.0/24"), doorAt(t, "[2001:db8::7]:65535", "192.0.2.0/24")}
	sets := written(t, k, IPSet, doors...)
	filled := map[string]string{} // by the name of the set
	for part := range strings.SplitSeq(sets, "destroy ") {
		_, fill, _ := strings.Cut(part, "flush ")
		fill, swap, ok := strings.Cut(fill, "swap ")
		if fields := strings.Fields(swap); ok {
			filled[fields[1]] = fill
			if len(fields[1]) > 31 {
				t.Errorf("the name %s is longer than the kernel takes", fields[1])
			}
		}
	}
	const given, google = " 192.0.2.0/24\n", " 130.211.0.0/22\n"
	want := map[string][2]bool{ // whether it holds the one and the other
		"sluice-edge4": {true, true}, "sluice-edge4-443": {false, true}, "sluice-edge4-65535-f45462bf": {true, false}, "sluice-edge4-65535-f1ad3e62": {true, false},
		"sluice-edge6": {}, "sluice-edge6-443": {}, "sluice-edge6-65535-f45462bf": {}, "sluice-edge6-65535-f1ad3e62": {},
	}
	if len(filled) != len(want) {
		t.Errorf("%d sets:\n%s", len(filled), sets)
	}
	for name, holds := range want {
		fill, ok := filled[name]
		if got := [2]bool{strings.Contains(fill, given), strings.Contains(fill, google)}; !ok || got != holds {
			t.Errorf("%s is filled with %q", name, fill)
		}
	}
	changed := written(t, keeperOf(t, "198.51.100.0/24"), IPSet, doorAt(t, "[::]:443", "198.51.100.0/24"))
	if !strings.Contains(changed, "swap sluice-edge4-new sluice-edge4-443\n") {
		t.Errorf("with other ranges the set has another name:\n%s", changed)
	}
	if err := k.Write(&bytes.Buffer{}, NFT, []Door{doorAt(t, "[::]:443", "198.51.100.0/24")}); !errors.Is(err, ErrEmpty) {
		t.Errorf("a door whose list nobody keeps: %v", err)
	}
}
