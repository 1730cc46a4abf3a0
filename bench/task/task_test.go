package task

import (
	"bytes"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	for _, want := range []Task{
		{Op: Down, Down: 1},
		{Op: Up, Up: 1 << 40, Seed: 7},
		{Op: Source},
		{Op: Sink, Seed: ^uint64(0)},
		{Op: Exchange, Up: 256, Down: 1024},
		{Op: Exchanges, Up: 1, Down: 0, Seed: 3},
	} {
		b := want.Append([]byte("x"))[1:]
		if len(b) != Len {
			t.Fatalf("%+v: %d bytes", want, len(b))
		}
		if got, err := Parse(b); err != nil || got != want {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
		for i := range b {
			if _, err := Parse(b[:i]); err != ErrNoTask {
				t.Errorf("%d bytes of it: %v", i, err)
			}
		}
	}
}

func TestParseRejects(t *testing.T) {
	good := Task{Op: Exchange, Up: 1}.Append(nil)
	for name, change := range map[string]func([]byte){
		"no magic":            func(b []byte) { b[0]++ },
		"no operation":        func(b []byte) { b[4] = 0 },
		"unknown operation":   func(b []byte) { b[4] = byte(Exchanges) + 1 },
		"exchange of nothing": func(b []byte) { b[8] = 0 },
	} {
		b := bytes.Clone(good)
		change(b)
		if got, err := Parse(b); err != ErrNoTask {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// TestPattern: any two stretches agree with each other, across the period too, and no other offset or seed does.
func TestPattern(t *testing.T) {
	whole := make([]byte, 3*period)
	Fill(whole, 5, 0)
	for _, c := range []struct{ offset, size int }{{0, 1}, {1, 5000}, {period - 3, 10}, {period, 100}, {2*period - 1, 70_000}, {100, 2 * period}} {
		part := make([]byte, c.size)
		Fill(part, 5, uint64(c.offset))
		if !bytes.Equal(part, whole[c.offset:c.offset+c.size]) {
			t.Errorf("%+v: not what the whole says", c)
		}
		if !Matches(part, 5, uint64(c.offset)) {
			t.Errorf("%+v: does not match itself", c)
		}
		part[c.size-1] ^= 0x40
		if Matches(part, 5, uint64(c.offset)) {
			t.Errorf("%+v: a flipped bit was not seen", c)
		}
	}
	if Matches(whole[:64], 5, 1) || Matches(whole[:64], 6, 0) {
		t.Error("another place matches")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(Task{Op: Down, Down: 9}.Append(nil))
	f.Add(Task{Op: Exchanges, Up: 1, Down: 2, Seed: 3}.Append(nil))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n...............\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Parse(b)
		if err != nil {
			return
		}
		again, err := Parse(got.Append(nil))
		if err != nil || again != got {
			t.Errorf("%+v became %+v, %v", got, again, err)
		}
	})
}
