package splice

import (
	"crypto/cipher"
	"time"

	"sluice/obfs"
)

// crypt is one direction's two streams: what comes in is decrypted by the one and encrypted by the other. Only keys and place
// are always there; the live streams, 1 KiB the two of them, are on a seat of the loop's warm set while they are in use.
type crypt struct {
	inKeys, outKeys obfs.Keys
	offset          uint64
	seat            uint16 // 1 and up; 0: none
	skip            uint8  // payload bytes that are still to be passed over: the client's frame
}

// crypts prepares the streams that q's mode needs.
func (r *relay) crypts(q *Relay) {
	if q.Mode != Raw {
		r.upload = crypt{inKeys: q.FromClient, outKeys: q.ToDC, offset: uint64(q.Skip), skip: q.Skip}
	}
	if q.Mode == Recrypt {
		r.download = &crypt{inKeys: q.FromDC, outKeys: q.ToClient}
	}
}

const (
	// seats bounds the memory of a loop's live streams, at 1 MiB. Building a pair anew costs some 2 µs.
	seats      = 1024
	seatSample = 8 // seats looked at for the one used longest ago

	quietAfter = 5 * time.Second // of no use: a seat is given up
	quietLook  = time.Second     // between looks for that
)

// warm is the set of live streams of a loop: those that were used last. Loop only.
type warm struct {
	seat  [seats]seat
	hand  int // where the next search begins
	taken int
	look  int64 // when to look for quiet ones next
}

type seat struct {
	of      *crypt // nil: empty
	in, out cipher.Stream
	used    int64
}

// apply passes b through both streams of c, in place.
func (w *warm) apply(c *crypt, b []byte, now int64) {
	if len(b) == 0 {
		return
	}
	if c.seat == 0 {
		w.admit(c)
	}
	s := &w.seat[c.seat-1]
	s.in.XORKeyStream(b, b)
	s.out.XORKeyStream(b, b)
	s.used = now
	c.offset += uint64(len(b))
}

// admit gives c a seat: an empty one, or of a few the one that was used longest ago.
func (w *warm) admit(c *crypt) {
	best := w.hand
	for i := range seatSample {
		at := (w.hand + i) % seats
		if w.seat[at].of == nil {
			best = at
			break
		}
		if w.seat[at].used < w.seat[best].used {
			best = at
		}
	}
	w.leave(w.seat[best].of)
	w.seat[best] = seat{of: c, in: c.inKeys.Stream(c.offset), out: c.outKeys.Stream(c.offset)}
	c.seat = uint16(best + 1)
	w.hand = (best + 1) % seats
	w.taken++
}

// leave takes c's seat, if it has one.
func (w *warm) leave(c *crypt) {
	if c == nil || c.seat == 0 {
		return
	}
	w.seat[c.seat-1] = seat{}
	c.seat = 0
	w.taken--
}

// rest empties the seats that have not been used for a while.
func (w *warm) rest(now int64) {
	if w.taken == 0 || now < w.look {
		return
	}
	w.look = now + int64(quietLook)
	for i := range w.seat {
		if s := &w.seat[i]; s.of != nil && now-s.used >= int64(quietAfter) {
			w.leave(s.of)
		}
	}
}
