package faketls

import (
	"bytes"
	"crypto/rand"
	"testing"
)

// BenchmarkAccept is what the loop pays for a hello of a client of ours, but for the flight.
func BenchmarkAccept(b *testing.B) {
	v := vectors(b)[1]
	for name, wire := range map[string][]byte{"OneRecord": v.wire, "ThreeRecords": split(v.wire, 700)} {
		b.Run(name, func(b *testing.B) {
			m, join := NewMAC(), make([]byte, MaxHello)
			b.ReportAllocs()
			for b.Loop() {
				h, _, err := ParseHello(wire, join)
				if err != nil {
					b.Fatal(err)
				}
				if _, ok := m.Verify(&v.key, &h); !ok {
					b.Fatal("not verified")
				}
			}
		})
	}
}

func BenchmarkParseHello(b *testing.B) {
	wire := vectors(b)[1].wire
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := ParseHello(wire, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendFlight(b *testing.B) {
	v := vectors(b)[1]
	h := mustParse(b, v.wire)
	for name, shape := range map[string]Shape{"X25519": {}, "Hybrid": {Hybrid: true}} {
		b.Run(name, func(b *testing.B) {
			m, dst := NewMAC(), []byte(nil)
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if dst, err = AppendFlight(dst[:0], m, &v.key, h, shape, rand.Reader); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDeframe is a full scratch buffer of tdlib's records, the copy into the buffer included.
func BenchmarkDeframe(b *testing.B) {
	wire := bytes.Repeat(clientRecord(typeApplication, string(make([]byte, 2878))), 22)
	scratch := make([]byte, len(wire))
	b.SetBytes(int64(len(wire)))
	b.ReportAllocs()
	for b.Loop() {
		var d Deframer
		if _, err := d.Deframe(scratch[:copy(scratch, wire)]); err != nil {
			b.Fatal(err)
		}
	}
}
