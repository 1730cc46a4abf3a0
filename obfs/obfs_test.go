package obfs

import (
	"bytes"
	"math"
	"testing"
)

// TestStreamVectors: SP 800-38A, F.5.5.
func TestStreamVectors(t *testing.T) {
	k := keysAt(unhex(t, "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"))
	plain := unhex(t, "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710")
	sealed := unhex(t, "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c52b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6")
	for offset := range len(plain) {
		if got := through(k.Stream(uint64(offset)), plain[offset:]); !bytes.Equal(got, sealed[offset:]) {
			t.Errorf("from %d: %x, want %x", offset, got, sealed[offset:])
		}
	}
}

// TestStreamCarries: the counter is one number of 128 bits.
func TestStreamCarries(t *testing.T) {
	for _, iv := range []string{
		"00000000000000000000000000000000", "0000000000000000fffffffffffffffe", "00000000fffffffffffffffffffffffd",
		"ffffffffffffffffffffffffffffffff", "fffffffffffffffffffffffffffffff0", "0123456789abcdefffffffffffff0000",
	} {
		var k Keys
		copy(k.IV[:], unhex(t, iv))
		stream := through(ctr(k.Key[:], k.IV[:]), make([]byte, 1<<20+100))
		for _, offset := range []int{0, 1, 15, 16, 17, 31, 32, 64, 255, 4096, 1<<20 - 1, 1 << 20} {
			if got := through(k.Stream(uint64(offset)), make([]byte, 40)); !bytes.Equal(got, stream[offset:offset+40]) {
				t.Errorf("IV %s from %d: %x, want %x", iv, offset, got, stream[offset:offset+40])
			}
		}
	}
	var k Keys
	k.Stream(math.MaxUint64)
}

func TestReservedPrefix(t *testing.T) {
	for _, tc := range []struct {
		wire     string
		reserved bool
	}{
		{"HEAD / H", true},
		{"POST / H", true},
		{"GET / HT", true},
		{"OPTIONS ", true},
		{"\x16\x03\x01\x02\x00\x01\x00\x01", true},
		{"\x16\x03\x01\x01\x00\x01\x00\x01", false},
		{"\xdd\xdd\xdd\xddabcd", true},
		{"\xdd\xdd\xdd\xdeabcd", false},
		{"\xee\xee\xee\xeeabcd", true},
		{"\xee\xee\xef\xeeabcd", false},
		{"\xefabcdefg", true},
		{"\xefHEAD / ", true},
		{"a\xefbcdefg", false},
		{"abcd\x00\x00\x00\x00", true},
		{"abcd\x00\x00\x00\x01", false},
		{"\x00\x00\x00\x00abcd", false},
		{"head / h", false},
		{"PUT / HT", false},
	} {
		if ReservedPrefix([]byte(tc.wire)) != tc.reserved {
			t.Errorf("%q: reserved is not %v", tc.wire, tc.reserved)
		}
	}
}

func BenchmarkStream(b *testing.B) {
	var k Keys
	b.ReportAllocs()
	for b.Loop() {
		k.Stream(12345)
	}
}

func BenchmarkXORKeyStream(b *testing.B) {
	var k Keys
	s, buf := k.Stream(0), make([]byte, 16<<10)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		s.XORKeyStream(buf, buf)
	}
}
