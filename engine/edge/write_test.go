package edge

import (
	"net/netip"
	"testing"
)

func TestAppendHeader(t *testing.T) {
	ap := netip.MustParseAddrPort
	for _, tc := range []struct {
		name     string
		version  int
		src, dst netip.AddrPort
		want     string // as the vectors write it
	}{
		{"v1, ipv4", 1, ap("203.0.113.7:51234"), ap("192.0.2.9:443"), "v1 203.0.113.7:51234 192.0.2.9:443"},
		{"v2, ipv4", 2, ap("203.0.113.7:51234"), ap("192.0.2.9:443"), "v2 203.0.113.7:51234 192.0.2.9:443"},
		{"v1, ipv6", 1, ap("[2001:db8::7]:1"), ap("[2001:db8::443]:443"), "v1 [2001:db8::7]:1 [2001:db8::443]:443"},
		{"v2, ipv6", 2, ap("[2001:db8::7]:1"), ap("[2001:db8::443]:443"), "v2 [2001:db8::7]:1 [2001:db8::443]:443"},
		{"v1, mapped, as a dual-stack listener sees them", 1, ap("[::ffff:203.0.113.7]:1"), ap("[::ffff:192.0.2.9]:2"), "v1 203.0.113.7:1 192.0.2.9:2"},
		{"v2, mapped and plain", 2, ap("[::ffff:203.0.113.7]:1"), ap("192.0.2.9:2"), "v2 203.0.113.7:1 192.0.2.9:2"},
		{"v1, two families", 1, ap("203.0.113.7:1"), ap("[2001:db8::443]:2"), "v1 [::ffff:203.0.113.7]:1 [2001:db8::443]:2"},
		{"v2, two families", 2, ap("[2001:db8::7]:1"), ap("192.0.2.9:2"), "v2 [2001:db8::7]:1 [::ffff:192.0.2.9]:2"},
		{"v1, zone", 1, ap("[fe80::1%eth0]:1"), ap("[fe80::2%eth0]:2"), "v1 [fe80::1]:1 [fe80::2]:2"},
		{"v1, no source", 1, netip.AddrPort{}, ap("192.0.2.9:2"), "v1 local"},
		{"v2, no destination", 2, ap("192.0.2.9:2"), netip.AddrPort{}, "v2 local"},
		{"v2, nothing", 2, netip.AddrPort{}, netip.AddrPort{}, "v2 local"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := AppendHeader([]byte("before"), tc.version, tc.src, tc.dst, nil)
			if string(b[:6]) != "before" {
				t.Fatalf("%q", b)
			}
			h, n, err := ParseHeader(b[6:])
			if got := outcome(&h, n, err); got != tc.want || n != len(b)-6 {
				t.Errorf("%q reads %s of %d bytes, want %s", b[6:], got, n, tc.want)
			}
		})
	}
}

// TestAppendHeaderWire pins the bytes, so that a round trip through two matching mistakes does not pass.
func TestAppendHeaderWire(t *testing.T) {
	src, dst := netip.MustParseAddrPort("203.0.113.7:51234"), netip.MustParseAddrPort("192.0.2.9:443")
	if got, want := string(AppendHeader(nil, 1, src, dst, nil)), "PROXY TCP4 203.0.113.7 192.0.2.9 51234 443\r\n"; got != want {
		t.Errorf("v1 is %q, want %q", got, want)
	}
	if got, want := string(AppendHeader(nil, 2, src, dst, nil)), v2Signature+"\x21\x11\x00\x0c\xcb\x00\x71\x07\xc0\x00\x02\x09\xc8\x22\x01\xbb"; got != want {
		t.Errorf("v2 is %q, want %q", got, want)
	}
}

// Only a header of version 2 that names addresses can carry the marks.
func TestMarks(t *testing.T) {
	src, dst := netip.MustParseAddrPort("203.0.113.7:51234"), netip.MustParseAddrPort("192.0.2.9:443")
	marks := []byte("first---second--")
	wire := AppendHeader(nil, 2, src, dst, marks)
	if want := v2Signature + "\x21\x11\x00\x1f\xcb\x00\x71\x07\xc0\x00\x02\x09\xc8\x22\x01\xbb\xe7\x00\x10" + string(marks); string(wire) != want {
		t.Errorf("%q, want %q", wire, want)
	}
	for version, want := range map[int]string{1: "", 2: string(marks)} {
		if h, _, err := ParseHeader(AppendHeader(nil, version, src, dst, marks)); err != nil || string(h.Marks) != want {
			t.Errorf("version %d: %q, %v; want %q", version, h.Marks, err, want)
		}
	}
	if h, _, err := ParseHeader(AppendHeader(nil, 2, src, netip.AddrPort{}, marks)); err != nil || h.Marks != nil || !h.Local {
		t.Errorf("without an address: %+v, %v", h, err)
	}
}

func TestAppendHeaderPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic for version 3")
		}
	}()
	AppendHeader(nil, 3, netip.AddrPort{}, netip.AddrPort{}, nil)
}

func BenchmarkAppendHeader(b *testing.B) {
	src, dst := netip.MustParseAddrPort("203.0.113.7:51234"), netip.MustParseAddrPort("192.0.2.9:443")
	buf := make([]byte, 0, MaxHeader)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendHeader(buf[:0], 2, src, dst, nil)
	}
}
