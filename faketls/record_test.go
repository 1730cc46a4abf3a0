package faketls

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"unsafe"
)

func TestPutHeader(t *testing.T) {
	for n, want := range map[int]string{0: "1703030000", 1: "1703030001", 255: "17030300ff", MaxRecord: "1703034011"} {
		b := []byte("xxxxxx")
		PutHeader(b, n)
		if !bytes.Equal(b, append(unhex(t, want), 'x')) {
			t.Errorf("PutHeader(%d): %x, want %s", n, b, want)
		}
	}
}

// clientRecord is a record as clients send them after the flight.
func clientRecord(kind byte, payload string) []byte {
	return append([]byte{kind, 3, 3, byte(len(payload) >> 8), byte(len(payload))}, payload...)
}

func TestDeframe(t *testing.T) {
	data := func(payload string) []byte { return clientRecord(typeApplication, payload) }
	long := string(bytes.Repeat([]byte{0x16, 0x17, 0x14}, 65535/3))
	cases := []struct {
		name    string
		wire    [][]byte
		payload string
		err     error
	}{
		{"nothing", nil, "", nil},
		{"one record", [][]byte{data("hello")}, "hello", nil},
		{"ccs, then records", [][]byte{clientRecord(typeCCS, "\x01"), data("a"), data("bc"), data("defg")}, "abcdefg", nil},
		{"ccs between", [][]byte{data("a"), clientRecord(typeCCS, "\x01"), clientRecord(typeCCS, ""), data("b")}, "ab", nil},
		{"empty records", [][]byte{data(""), data("a"), data(""), data(""), data("b"), data("")}, "ab", nil},
		{"a whole client record", [][]byte{data(long[:16408])}, long[:16408], nil},
		{"as long as can be", [][]byte{data(long), data("end")}, long + "end", nil},
		{"alert", [][]byte{data("a"), clientRecord(0x15, "\x01\x00"), data("b")}, "a", UnexpectedRecord},
		{"handshake", [][]byte{clientRecord(0x16, "x")}, "", UnexpectedRecord},
		{"wrong major", [][]byte{data("a"), {0x17, 2}}, "a", BadVersion},
		{"wrong minor", [][]byte{data("a"), {0x17, 3, 1, 0, 1, 'b'}}, "a", BadVersion},
		{"wrong version of a ccs", [][]byte{{0x14, 3, 1, 0, 1, 1}}, "", BadVersion},
		{"cut in a header", [][]byte{data("a"), {0x17, 3, 3, 0}}, "a", nil},
		{"cut in a payload", [][]byte{data("a"), {0x17, 3, 3, 0, 9, 'b', 'c'}}, "abc", nil},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			wire := bytes.Join(tc.wire, nil)
			for _, step := range []int{len(wire) + 1, 1, 2, 3, 4, 5, 6, 7, 4096} {
				got, err := deframe(wire, func() int { return step })
				if string(got) != tc.payload || err != tc.err {
					t.Fatalf("in steps of %d: %d bytes, %v; want %d bytes, %v", step, len(got), err, len(tc.payload), tc.err)
				}
			}
			for cut := range min(len(wire), 100) {
				first := true
				got, err := deframe(wire, func() int {
					if first {
						first = false
						return cut
					}
					return len(wire)
				})
				if string(got) != tc.payload || err != tc.err {
					t.Fatalf("cut at %d: %q, %v", cut, got, err)
				}
			}
		})
	}
}

// deframe gives wire to a Deframer in pieces of the lengths that step says.
func deframe(wire []byte, step func() int) (payload []byte, err error) {
	var d Deframer
	for len(wire) > 0 && err == nil {
		piece := bytes.Clone(wire[:min(step(), len(wire))])
		wire = wire[len(piece):]
		var n int
		n, err = d.Deframe(piece)
		payload = append(payload, piece[:n]...)
	}
	if err != nil {
		if n, again := d.Deframe([]byte{typeApplication, 3, 3, 0, 1, 'x'}); n != 0 || again != err {
			return nil, errors.New("the error does not stay")
		}
	}
	return payload, err
}

func TestDeframerIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(Deframer{}); n > 8 {
		t.Errorf("a Deframer takes %d bytes, and every relay has one", n)
	}
}

func TestDeframeAllocatesNothing(t *testing.T) {
	wire := bytes.Repeat(clientRecord(typeApplication, "four"), 100)
	bad := clientRecord(0x15, "\x01\x00")
	scratch := make([]byte, len(wire))
	if n := testing.AllocsPerRun(100, func() {
		var d Deframer
		if n, err := d.Deframe(scratch[:copy(scratch, wire)]); n != 400 || err != nil {
			t.Error(n, err)
		}
		if _, err := d.Deframe(scratch[:copy(scratch, bad)]); err != UnexpectedRecord {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzDeframe: what is put into records of any sizes and cut anywhere comes out as it was.
func FuzzDeframe(f *testing.F) {
	f.Add([]byte("hello, world"), uint64(1))
	f.Add([]byte{0x17, 3, 3, 0, 1, 1}, uint64(2))
	f.Add(bytes.Repeat([]byte{0x14}, 70000), uint64(3))
	f.Fuzz(func(t *testing.T, payload []byte, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 0))
		var wire []byte
		for rest := payload; len(rest) > 0; {
			n := min(r.IntN(1<<r.IntN(17)), len(rest), 65535)
			if r.IntN(4) == 0 {
				wire = append(wire, clientRecord(typeCCS, string(rest[:min(n, 3)]))...)
			}
			wire = append(wire, clientRecord(typeApplication, string(rest[:n]))...)
			rest = rest[n:]
		}
		got, err := deframe(wire, func() int { return 1 + r.IntN(1<<r.IntN(17)) })
		if err != nil || !bytes.Equal(got, payload) {
			t.Fatalf("%d bytes came out as %d, %v", len(payload), len(got), err)
		}
		// Whatever it is given, it does not fail otherwise, and says the same however it is cut.
		whole, wholeErr := deframe(payload, func() int { return len(payload) })
		parts, partsErr := deframe(payload, func() int { return 1 + r.IntN(9) })
		if !bytes.Equal(whole, parts) || wholeErr != partsErr {
			t.Fatalf("whole: %x, %v; in parts: %x, %v", whole, wholeErr, parts, partsErr)
		}
	})
}
