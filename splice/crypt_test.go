package splice

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"
)

// checked is a crypt with what should come out of it.
type checked struct {
	crypt
	keys keys
	in   int // bytes passed
}

// What passes through more directions than there are seats, in any order, is what passes through streams that live for ever.
func TestSeatsAreFew(t *testing.T) {
	const directions, rounds = 3 * seats, 4
	var w warm
	rnd := rand.New(rand.NewPCG(4, 2))
	all := make([]checked, directions)
	for i := range all {
		k := someKeys(uint64(i))
		all[i] = checked{crypt: crypt{inKeys: k.fromClient, outKeys: k.toDC}, keys: k}
	}
	now := int64(0)
	for range rounds {
		for _, i := range rnd.Perm(directions) {
			c, n := &all[i], rnd.IntN(200)
			now++
			b := bytes.Repeat([]byte{byte(i)}, n)
			want := crypted(c.keys.toDC, uint64(c.in), crypted(c.keys.fromClient, uint64(c.in), b))
			w.apply(&c.crypt, b, now)
			c.in += n
			if !bytes.Equal(b, want) {
				t.Fatalf("direction %d, %d bytes at %d: wrong", i, n, c.in-n)
			}
		}
	}
	if w.taken != seats {
		t.Errorf("%d of %d seats taken", w.taken, seats)
	}
	for i := range w.seat {
		if c := w.seat[i].of; c == nil || c.seat != uint16(i+1) {
			t.Fatalf("seat %d is not its owner's", i)
		}
	}
	for i := range all {
		w.leave(&all[i].crypt)
		w.leave(&all[i].crypt)
	}
	if w.taken != 0 {
		t.Errorf("%d seats taken after everybody left", w.taken)
	}
}

// A seat is kept while it is used and given up after quietAfter without; the bytes go on where they were.
func TestQuietSeatsAreGivenUp(t *testing.T) {
	var w warm
	k := someKeys(7)
	busy, quiet := crypt{inKeys: k.fromClient, outKeys: k.toDC}, crypt{inKeys: k.fromClient, outKeys: k.toDC}
	stream := crypted(k.toDC, 0, crypted(k.fromClient, 0, make([]byte, 100)))
	first := make([]byte, 33)
	w.apply(&quiet, first, 0)
	for now := int64(0); now < int64(quietAfter); now += int64(quietLook) {
		w.apply(&busy, make([]byte, 1), now)
		w.rest(now)
		if quiet.seat == 0 {
			t.Fatalf("given up after %v", time.Duration(now))
		}
	}
	w.rest(int64(quietAfter))
	if quiet.seat != 0 || busy.seat == 0 || w.taken != 1 {
		t.Errorf("after %v: quiet %d, busy %d, %d taken", quietAfter, quiet.seat, busy.seat, w.taken)
	}
	second := make([]byte, 67)
	w.apply(&quiet, second, int64(quietAfter))
	if !bytes.Equal(append(first, second...), stream) {
		t.Error("the stream does not go on where it was")
	}
}

// A relay that ends leaves its seats, both of them when it encrypts both ways.
func TestEndedRelayLeavesItsSeats(t *testing.T) {
	l := alone(t, Config{})
	_, _ = byHand(t, l, Recrypt)
	r := l.slab.at(0)
	l.warm.apply(&r.upload, make([]byte, 1), l.now)
	l.warm.apply(r.download, make([]byte, 1), l.now)
	l.end(r, Dropped)
	if l.warm.taken != 0 {
		t.Errorf("%d seats taken", l.warm.taken)
	}
}
