// Package wheel is the coarse timer wheel that every loop keeps its deadlines in.
//
// A wheel knows nothing of deadlines it cannot see: it hands an item back at, or some time before, the moment it was added
// for, and the owner looks whether the deadline that now counts has really come; if not, it adds the item again. So a deadline
// that moves at every byte costs nothing until the wheel comes by.
package wheel

import "time"

// Wheel is a timer wheel. It is loop only: one goroutine owns it. Times are nanoseconds of one monotonic clock.
type Wheel struct {
	slots [][]uint64
	spare []uint64 // the slice of the slot being fired, swapped so that firing may add
	tick  int64
	at    int64 // the last tick that was fired
	held  int
}

// keptItems bounds the memory that a burst of items leaves behind in every slot it comes by.
const keptItems = 256

// New makes a wheel of so many slots, each a tick wide, that starts at now.
func New(tick time.Duration, slots int, now int64) *Wheel {
	return &Wheel{slots: make([][]uint64, slots), tick: int64(tick), at: now / int64(tick)}
}

// Add asks for item at due. A due beyond the wheel's span comes back at the span's end, one in the past at the next tick. It
// returns the moment that was chosen: the item is fired by the first Advance to then or later, never before.
func (w *Wheel) Add(due int64, item uint64) (at int64) {
	t := (due + w.tick - 1) / w.tick
	t = max(t, w.at+1)
	t = min(t, w.at+int64(len(w.slots))-1)
	s := &w.slots[t%int64(len(w.slots))]
	*s = append(*s, item)
	w.held++
	return t * w.tick
}

// Advance moves the wheel to now and hands every item that is due to fire, which may call Add.
func (w *Wheel) Advance(now int64, fire func(item uint64)) {
	end := now / w.tick
	if w.held == 0 || end-w.at > int64(len(w.slots)) {
		w.at = max(w.at, end-int64(len(w.slots)))
		if w.held == 0 {
			w.at = max(w.at, end)
		}
	}
	for w.at < end {
		w.at++
		s := &w.slots[w.at%int64(len(w.slots))]
		if len(*s) == 0 {
			continue
		}
		due := *s
		*s, w.spare = w.spare[:0], nil
		w.held -= len(due)
		for _, item := range due {
			fire(item)
		}
		if w.spare = due[:0]; cap(due) > keptItems {
			w.spare = nil
		}
	}
}

// Next says how long after now the next item may be due; ok is false when the wheel is empty.
func (w *Wheel) Next(now int64) (wait time.Duration, ok bool) {
	if w.held == 0 {
		return 0, false
	}
	for t := w.at + 1; ; t++ {
		if len(w.slots[t%int64(len(w.slots))]) > 0 {
			return time.Duration(max(t*w.tick-now, 0)), true
		}
	}
}

// Len is the number of items held.
func (w *Wheel) Len() int { return w.held }
