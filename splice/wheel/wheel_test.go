package wheel

import (
	"math/rand/v2"
	"testing"
	"time"
)

const ms = int64(time.Millisecond)

func TestFiresAtItsTick(t *testing.T) {
	w := New(10*time.Millisecond, 8, 1000*ms)
	w.Add(1025*ms, 1)
	w.Add(1000*ms, 2) // past: the next tick
	w.Add(9999*ms, 3) // beyond the span: comes back early, and the owner adds it again
	var got []uint64
	fire := func(i uint64) { got = append(got, i) }
	for _, step := range []struct {
		now  int64
		want int
	}{{1009, 0}, {1010, 1}, {1029, 1}, {1030, 2}, {1069, 2}, {1070, 3}, {5000, 3}} {
		w.Advance(step.now*ms, fire)
		if len(got) != step.want {
			t.Fatalf("at %d ms: fired %v, want %d items", step.now, got, step.want)
		}
	}
	if w.Len() != 0 {
		t.Fatalf("%d items left", w.Len())
	}
}

func TestNext(t *testing.T) {
	w := New(10*time.Millisecond, 8, 0)
	if _, ok := w.Next(0); ok {
		t.Fatal("an empty wheel has nothing next")
	}
	w.Add(35*ms, 1)
	if d, ok := w.Next(5 * ms); !ok || d != 35*time.Millisecond {
		t.Fatalf("next in %v (%v), want 35ms", d, ok)
	}
	if d, _ := w.Next(100 * ms); d != 0 {
		t.Fatalf("overdue by now, yet next in %v", d)
	}
}

// Every item comes back, never late by more than a tick, through long gaps and additions while firing.
func TestNothingIsLostOrLate(t *testing.T) {
	const tick = 10 * ms
	w := New(time.Duration(tick), 16, 0)
	due := map[uint64]int64{}
	rnd := rand.New(rand.NewPCG(1, 2))
	now, id := int64(0), uint64(0)
	for range 5000 {
		for range rnd.IntN(4) {
			id++
			due[id] = now + rnd.Int64N(400*ms)
			w.Add(due[id], id)
		}
		step := rnd.Int64N(15 * ms)
		if rnd.IntN(200) == 0 {
			step = 3000 * ms
		}
		now += step
		w.Advance(now, func(i uint64) {
			if now < due[i] {
				w.Add(due[i], i)
				return
			}
			if now-due[i] > 2*tick+step {
				t.Fatalf("item %d late by %v", i, time.Duration(now-due[i]))
			}
			delete(due, i)
		})
	}
	w.Advance(now+1000*ms, func(i uint64) { delete(due, i) })
	if len(due) != 0 || w.Len() != 0 {
		t.Fatalf("%d items lost, %d held", len(due), w.Len())
	}
}

func TestNoAllocationOnceWarm(t *testing.T) {
	w := New(10*time.Millisecond, 8, 0)
	now := int64(0)
	turn := func() {
		w.Add(now+20*ms, 7)
		now += 10 * ms
		w.Advance(now, func(uint64) {})
	}
	for range 100 {
		turn()
	}
	if n := testing.AllocsPerRun(1000, turn); n != 0 {
		t.Fatalf("%v allocations per turn", n)
	}
}
