package dc

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

func ap(texts ...string) []netip.AddrPort {
	var addrs []netip.AddrPort
	for _, t := range texts {
		addrs = append(addrs, netip.MustParseAddrPort(t))
	}
	return addrs
}

func TestNumber(t *testing.T) {
	for id, want := range map[int16]int{0: 2, 1: 1, -4: 4, 203: 203, 10002: 10002, -10003: 10003, -32768: 32768} {
		if got := Number(id); got != want {
			t.Errorf("id %d: data centre %d, want %d", id, got, want)
		}
	}
}

func TestPreference(t *testing.T) {
	now := time.Now()
	v4, v4b, v6 := "149.154.167.51:443", "95.161.76.100:443", "[2001:67c:4e8:f002::a]:443"
	for name, c := range map[string]struct {
		p    Preference
		want []netip.AddrPort
	}{
		"prefer-ipv4": {PreferIPv4, ap(v4, v4b, v6)},
		"prefer-ipv6": {PreferIPv6, ap(v6, v4, v4b)},
		"only-ipv4":   {OnlyIPv4, ap(v4, v4b)},
		"only-ipv6":   {OnlyIPv6, ap(v6)},
	} {
		if got := NewBook(nil, c.p).Addrs(2, now); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestOverridesAndUnknown(t *testing.T) {
	now := time.Now()
	own := ap("[::1]:4430", "127.0.0.1:4430")
	b := NewBook(map[int][]netip.AddrPort{4: own, 42: own}, OnlyIPv4)
	for _, n := range []int{4, 42} {
		if got := b.Addrs(n, now); !slices.Equal(got, own) {
			t.Errorf("data centre %d: %v, want the override as written", n, got)
		}
	}
	if got := b.Addrs(7, now); len(got) != 0 {
		t.Errorf("data centre 7 is unknown, yet has %v", got)
	}
	if got := b.Addrs(Test+2, now); len(got) != 1 {
		t.Errorf("test data centre 2: %v", got)
	}
}

func TestFailedAddressesGoLastForAWhile(t *testing.T) {
	start := time.Now()
	addrs := ap("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3")
	b := NewBook(map[int][]netip.AddrPort{1: addrs}, PreferIPv4)
	order := func(at time.Duration, want ...int) {
		t.Helper()
		var w []netip.AddrPort
		for _, i := range want {
			w = append(w, addrs[i-1])
		}
		if got := b.Addrs(1, start.Add(at)); !slices.Equal(got, w) {
			t.Fatalf("at %v: %v, want %v", at, got, w)
		}
	}
	order(0, 1, 2, 3)
	b.Report(1, addrs[0], false, start)
	order(time.Second, 2, 3, 1)
	b.Report(1, addrs[1], false, start.Add(time.Second))
	order(2*time.Second, 3, 1, 2)
	order(5500*time.Millisecond, 1, 3, 2) // the first penalty has ended
	b.Report(1, addrs[0], false, start.Add(6*time.Second))
	order(7*time.Second, 2, 3, 1)
	order(12*time.Second, 2, 3, 1) // the second penalty is twice as long
	order(17*time.Second, 1, 2, 3)
	b.Report(1, addrs[0], true, start.Add(18*time.Second))
	b.Report(1, addrs[0], false, start.Add(19*time.Second))
	order(25*time.Second, 1, 2, 3) // success had wiped the slate
}

func TestHealthIsReported(t *testing.T) {
	now := time.Now()
	b := NewBook(map[int][]netip.AddrPort{1: ap("127.0.0.1:1")}, PreferIPv4)
	health := func() (ok bool) {
		b.Each(func(n int, _ netip.AddrPort, healthy bool) {
			if n == 1 {
				ok = healthy
			}
		})
		return
	}
	if !health() {
		t.Error("an untried address counts as healthy")
	}
	b.Report(1, netip.MustParseAddrPort("127.0.0.1:1"), false, now)
	if health() {
		t.Error("a failed address is not healthy")
	}
	b.Report(1, netip.MustParseAddrPort("127.0.0.1:9"), false, now) // not ours: nothing
	b.Report(9, netip.MustParseAddrPort("127.0.0.1:9"), false, now)
}

func TestNoAllocation(t *testing.T) {
	b, now := NewBook(nil, PreferIPv4), time.Now()
	if n := testing.AllocsPerRun(100, func() { b.Addrs(2, now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
