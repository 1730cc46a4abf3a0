package edge

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
)

type vector struct {
	name, want string
	wire       []byte
}

func (v *vector) accepted() bool { return strings.HasPrefix(v.want, "v") }

// vectors reads testdata/headers.txt.
func vectors(t testing.TB) []vector {
	t.Helper()
	text, err := os.ReadFile("testdata/headers.txt")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(strings.TrimSpace(string(text)), "\n\n")
	var out []vector
	for _, block := range blocks[1:] {
		lines := strings.Split(block, "\n")
		if len(lines) != 3 {
			t.Fatalf("not three lines: %q", block)
		}
		wire, err := decode(lines[1])
		if err != nil {
			t.Fatalf("%s: %v", lines[0], err)
		}
		out = append(out, vector{lines[0], lines[2], wire})
	}
	return out
}

func decode(line string) ([]byte, error) {
	if text, ok := strings.CutPrefix(line, "text "); ok {
		s, err := strconv.Unquote(text)
		return []byte(s), err
	}
	var out []byte
	for _, word := range strings.Fields(strings.TrimPrefix(line, "hex ")) {
		word, times, found := strings.Cut(word, "*")
		n := 1
		if found {
			var err error
			if n, err = strconv.Atoi(times); err != nil {
				return nil, err
			}
		}
		b, err := hex.DecodeString(strings.Repeat(word, n))
		if err != nil {
			return nil, err
		}
		out = append(out, b...)
	}
	return out, nil
}

// outcome writes a result in the words of the vectors.
func outcome(h *Header, n int, err error) string {
	switch {
	case errors.Is(err, ErrShort):
		return fmt.Sprintf("short %d", n)
	case errors.Is(err, ErrNone):
		return "none"
	case err != nil:
		words := map[Reject]string{Malformed: "malformed", TooLong: "too long", BadCRC: "bad crc", BadFamily: "bad family"}
		return words[err.(Reject)]
	}
	if h.Local {
		return fmt.Sprintf("v%d local", h.Version)
	}
	s := fmt.Sprintf("v%d %v %v", h.Version, h.Source, h.Dest)
	if h.UniqueID != nil {
		s += fmt.Sprintf(" id=%q", h.UniqueID)
	}
	if h.VPCE != nil {
		s += fmt.Sprintf(" vpce=%q", h.VPCE)
	}
	return s
}

func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.name, func(t *testing.T) {
			for _, after := range []string{"", "\x16\x03\x01\x06\xb9\x01", "\r\n", "PROXY "} {
				h, n, err := ParseHeader(append(v.wire[:len(v.wire):len(v.wire)], after...))
				if got := outcome(&h, n, err); got != v.want {
					t.Fatalf("followed by %q: %s, want %s", after, got, v.want)
				}
				if want := len(v.wire); v.accepted() && n != want {
					t.Errorf("followed by %q: %d bytes consumed, want %d", after, n, want)
				}
				if !v.accepted() && (n != 0 || !empty(&h)) {
					t.Errorf("followed by %q: refused with n = %d and %+v", after, n, h)
				}
				if h.Local && (h.Source.IsValid() || h.Dest.IsValid()) {
					t.Errorf("local, yet from %v to %v", h.Source, h.Dest)
				}
			}
		})
	}
}

func empty(h *Header) bool {
	return h.Version == 0 && !h.Local && h.Source == netip.AddrPort{} && h.Dest == netip.AddrPort{} && h.UniqueID == nil && h.VPCE == nil
}

// TestPrefixes feeds every prefix of every vector: an accepted header is short until its last byte, never asks for more than it then
// turns out to have, and comes true for whoever waits for what it asks; a refusal, once made, stands.
func TestPrefixes(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.name, func(t *testing.T) {
			settled := ""
			for i := range v.wire {
				h, n, err := ParseHeader(v.wire[:i:i])
				got := outcome(&h, n, err)
				if err == nil || !empty(&h) {
					t.Fatalf("%d bytes: %s, %+v", i, got, h)
				}
				if errors.Is(err, ErrShort) {
					if settled != "" {
						t.Fatalf("%d bytes: %s after %s", i, got, settled)
					}
					if n < 1 || v.accepted() && i+n > len(v.wire) {
						t.Fatalf("%d bytes: needs %d, of a header of %d", i, n, len(v.wire))
					}
					continue
				}
				if got != v.want || settled != "" && got != settled {
					t.Fatalf("%d bytes: %s, want %s", i, got, v.want)
				}
				settled = got
			}
		})
	}
}

// TestEarly: what is no header, or none to use, is told at the first byte that shows it.
func TestEarly(t *testing.T) {
	for _, tc := range []struct {
		name, wire string
		at         int // the length of the shortest prefix that decides
		want       error
	}{
		{"client hello", "\x16\x03\x01", 1, ErrNone},
		{"a POST", "POST /", 2, ErrNone},
		{"a PROPFIND", "PROPFIND /", 4, ErrNone},
		{"no blank after PROXY", "PROXYS", 6, ErrNone},
		{"blank line and a request", "\r\nGET", 3, ErrNone},
		{"v1 family", "PROXY HTTP", 7, Malformed},
		{"v1 transport", "PROXY TCP5", 10, Malformed},
		{"v1 a second CR after UNKNOWN", "PROXY UNKNOWN\r\r\n", 15, Malformed},
		{"v1 a letter in an address", "PROXY TCP4 1.2.x", 16, Malformed},
		{"v1 a line without an end", "PROXY UNKNOWN" + strings.Repeat(" ", 200), 107, TooLong},
		{"v2 signature", "\r\n\r\n\x00\r\nQUIX", 11, ErrNone},
		{"v2 version", v2Signature + "\x11", 13, Malformed},
		{"v2 UDP", v2Signature + "\x21\x12", 14, BadFamily},
		{"v2 length too small", v2Signature + "\x21\x11\x00\x0b", 16, Malformed},
		{"v2 length too large", v2Signature + "\x21\x11\x10\x01", 16, TooLong},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for i := range len(tc.wire) + 1 {
				_, _, err := ParseHeader([]byte(tc.wire[:i]))
				want := tc.want
				if i < tc.at {
					want = ErrShort
				}
				if err != want {
					t.Fatalf("%d bytes: %v, want %v", i, err, want)
				}
			}
		})
	}
}

// TestNeeds pins how much ParseHeader asks for.
func TestNeeds(t *testing.T) {
	for _, tc := range []struct {
		wire string
		want int
	}{
		{"", 15},
		{"P", 14},
		{"PROXY ", 9},
		{"PROXY UNKNOWN", 2},
		{"PROXY UNKNOWN\r", 1},
		{"PROXY UNKNOWN   ", 2},
		{"PROXY TCP4 1.1.1.1 2.2.2.2 1 2", 2},
		{"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r", 1},
		{"\r", 15},
		{v2Signature, 4},
		{v2Signature + "\x21\x11\x00", 1},
		{v2Signature + "\x21\x11\x00\x0c", 12},
		{v2Signature + "\x20\x11\x00\x54\x03", 83},
	} {
		if _, n, err := ParseHeader([]byte(tc.wire)); err != ErrShort || n != tc.want {
			t.Errorf("%q: %d, %v, want %d", tc.wire, n, err, tc.want)
		}
	}
}

// TestAliases: the TLVs are the caller's own bytes, without room to grow into their neighbours.
func TestAliases(t *testing.T) {
	wire := []byte(v2Signature + "\x21\x11\x00\x18" + "\x01\x01\x01\x01\x02\x02\x02\x02\x00\x01\x00\x02" + "\x05\x00\x02ab" + "\xea\x00\x04\x01xyz")
	h, n, err := ParseHeader(wire)
	if err != nil || n != len(wire) {
		t.Fatal(n, err)
	}
	wire[16+12+3] = 'A'
	if string(h.UniqueID) != "Ab" || string(h.VPCE) != "xyz" {
		t.Errorf("id %q, endpoint %q", h.UniqueID, h.VPCE)
	}
	if cap(h.UniqueID) != 2 || cap(h.VPCE) != 3 {
		t.Errorf("capacities %d and %d", cap(h.UniqueID), cap(h.VPCE))
	}
}

// TestChecksumOfCapture: AWS's own health check, recorded in the field, carries the CRC32C that we compute.
func TestChecksumOfCapture(t *testing.T) {
	for _, v := range vectors(t) {
		if strings.HasPrefix(v.name, "aws nlb health check") {
			if got := checksum(v.wire, 19); got != 0xbce5951f {
				t.Errorf("%08x", got)
			}
			return
		}
	}
	t.Error("the vector is missing")
}

func TestReject(t *testing.T) {
	seen := make(map[string]bool)
	for _, r := range []Reject{0, Malformed, TooLong, BadCRC, BadFamily} {
		if s := r.Error(); !strings.HasPrefix(s, "edge: ") || seen[s] {
			t.Errorf("%d is %q", r, s)
		}
		seen[r.Error()] = true
	}
	if got := Reject(99).Error(); got != Reject(0).Error() {
		t.Errorf("99 is %q", got)
	}
}

func TestAcceptAllocatesNothing(t *testing.T) {
	for _, v := range vectors(t) {
		if !v.accepted() && v.want != "none" {
			continue
		}
		if n := testing.AllocsPerRun(100, func() { _, _, _ = ParseHeader(v.wire) }); n != 0 {
			t.Errorf("%s: %v allocations", v.name, n)
		}
		if n := testing.AllocsPerRun(100, func() { _, _, _ = ParseHeader(v.wire[:len(v.wire)-1]) }); n != 0 {
			t.Errorf("%s, cut: %v allocations", v.name, n)
		}
	}
}

func BenchmarkParseHeader(b *testing.B) {
	for _, v := range vectors(b) {
		switch v.name {
		case "spectrum v1, ipv4", "spectrum v1, ipv6", "haproxy send-proxy-v2, ipv4", "aws nlb, vpc endpoint, crc32c, padding", "client hello":
			b.Run(v.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					_, _, _ = ParseHeader(v.wire)
				}
			})
		}
	}
}
