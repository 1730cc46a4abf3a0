package ranges

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func keeperOf(t *testing.T, text string) *Keeper {
	t.Helper()
	s, err := ParseSources(text)
	if err != nil {
		t.Fatal(err)
	}
	k, err := NewKeeper(s, "", nil, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// doorAt is a listener that is open to the ranges named; none: to everybody.
func doorAt(t *testing.T, listener, ranges string) Door {
	t.Helper()
	d := Door{Listener: netip.MustParseAddrPort(listener)}
	if ranges != "" {
		var err error
		if d.Sources, err = ParseSources(ranges); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func written(t *testing.T, k *Keeper, format string, doors ...Door) string {
	t.Helper()
	var b bytes.Buffer
	if err := k.Write(&b, format, doors); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestFormats(t *testing.T) {
	const text = "198.51.100.0/24,192.0.2.0/24,2001:db8::/32"
	k := keeperOf(t, text)
	if got := written(t, k, Plain); got != "192.0.2.0/24\n198.51.100.0/24\n2001:db8::/32\n" {
		t.Errorf("plain: %q", got)
	}
	if list, err := ParseList([]byte(written(t, k, Plain))); err != nil || len(list) != 3 {
		t.Errorf("what is written is not read: %v", err)
	}
	var back struct {
		Sources []struct{ Name string }
		V4      []netip.Prefix `json:"ipv4"`
		V6      []netip.Prefix `json:"ipv6"`
	}
	if err := json.Unmarshal([]byte(written(t, k, JSON)), &back); err != nil || len(back.V4) != 2 || len(back.V6) != 1 || back.Sources[0].Name != given {
		t.Errorf("json: %+v, %v", back, err)
	}
	var doors []Door
	for _, l := range []string{"[::]:443", "0.0.0.0:444", "192.0.2.7:445", "[2001:db8::7]:446"} {
		doors = append(doors, doorAt(t, l, text))
	}
	nft := written(t, k, NFT, doors...)
	for _, want := range []string{
		"flush set inet sluice edge4\nadd element inet sluice edge4 { 192.0.2.0/24, 198.51.100.0/24 }\n",
		"flush set inet sluice edge4-443\nadd element inet sluice edge4-443 { 192.0.2.0/24, 198.51.100.0/24 }\n",
		"add element inet sluice edge6 { 2001:db8::/32 }\n", "guard iif != lo tcp dport 443 tcp flags & (fin | syn | rst | ack) == syn ip saddr != @edge4-443 drop\n",
		"guard iif != lo tcp dport 443 tcp flags & (fin | syn | rst | ack) == syn ip6 saddr != @edge6-443 drop\n",
		"guard iif != lo tcp dport 444 tcp", "guard iif != lo ip daddr 192.0.2.7 tcp dport 445 tcp", "guard iif != lo ip6 daddr 2001:db8::7 tcp dport 446 tcp",
	} {
		if !strings.Contains(nft, want) {
			t.Errorf("nft lacks %q:\n%s", want, nft)
		}
	}
	if n := strings.Count(nft, "add rule"); n != 5 {
		t.Errorf("%d rules", n)
	}
	if sets := written(t, k, NFT); strings.Contains(sets, "chain") {
		t.Errorf("without ports there is a rule:\n%s", sets)
	}
	set := written(t, k, IPSet)
	for _, want := range []string{"flush sluice-edge4-new\nadd sluice-edge4-new 192.0.2.0/24\n", "swap sluice-edge6-new sluice-edge6\n"} {
		if !strings.Contains(set, want) {
			t.Errorf("ipset lacks %q:\n%s", want, set)
		}
	}
	if strings.Contains(set, "flush sluice-edge4\n") {
		t.Error("ipset empties the set in use")
	}
}

// Nothing is written of an empty set: a firewall would be shut to everybody.
func TestNothingIsWrittenOfNothing(t *testing.T) {
	k := keeperOf(t, "https://127.0.0.1:1/list")
	for _, f := range Formats() {
		var b bytes.Buffer
		if err := k.Write(&b, f, []Door{doorAt(t, "[::]:443", "192.0.2.0/24")}); !errors.Is(err, ErrEmpty) || b.Len() > 0 {
			t.Errorf("%s: %q, %v", f, b.String(), err)
		}
	}
	if err := keeperOf(t, "192.0.2.0/24").Write(&bytes.Buffer{}, "csv", nil); err == nil {
		t.Error("there is a format csv")
	}
}

// A firewall gets nothing rather than a part; people get what there is.
func TestNothingIsWrittenOfAPart(t *testing.T) {
	k := keeperOf(t, "192.0.2.0/24,https://127.0.0.1:1/list")
	for f, want := range map[string]bool{Plain: true, JSON: true, NFT: false, IPSet: false} {
		var b bytes.Buffer
		err := k.Write(&b, f, []Door{doorAt(t, "[::]:443", "192.0.2.0/24")})
		_, missing := errors.AsType[*MissingError](err)
		if missing == want || (b.Len() > 0) != want {
			t.Errorf("%s: %q, %v", f, b.String(), err)
		}
	}
	if err := k.Missing(); err == nil || !strings.Contains(err.Error(), "https://127.0.0.1:1/list") {
		t.Errorf("what is missing: %v", err)
	}
	if err := keeperOf(t, "192.0.2.0/24").Missing(); err != nil {
		t.Error(err)
	}
}
