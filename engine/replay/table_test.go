package replay

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// start is when the tests' time begins; what matters is only that it has no part in the wall clock.
var start = time.Unix(1_700_000_000, 0)

const window = 10 * time.Second

func key(n uint64) (k [16]byte) {
	binary.LittleEndian.PutUint64(k[3:], n)
	return k
}

type step struct {
	at   time.Duration
	key  uint64
	want Result
}

func TestInsert(t *testing.T) {
	for _, tc := range []struct {
		name  string
		limit int
		steps []step
	}{
		{"once and again", 10, []step{{0, 1, Fresh}, {0, 1, Replayed}, {0, 2, Fresh}, {0, 1, Replayed}}},
		{"the zero key", 10, []step{{0, 0, Fresh}, {0, 0, Replayed}, {window, 0, Replayed}, {2 * window, 0, Fresh}}},
		{"kept for the window", 10, []step{{0, 1, Fresh}, {window - 1, 1, Replayed}, {window, 1, Replayed}}},
		{"inserted just before the turn, kept for a window after", 10, []step{
			{0, 9, Fresh}, {window - 1, 1, Fresh}, {window, 2, Fresh}, {2*window - 1, 1, Replayed}, {2 * window, 1, Fresh},
		}},
		{"dropped in the third window", 10, []step{{0, 1, Fresh}, {window, 2, Fresh}, {2 * window, 1, Fresh}}},
		{"a lookup does not prolong", 10, []step{{0, 1, Fresh}, {window, 1, Replayed}, {2 * window, 1, Fresh}}},
		{"all dropped after a gap", 10, []step{{0, 1, Fresh}, {5, 2, Fresh}, {10 * window, 1, Fresh}, {10 * window, 2, Fresh}}},
		{"the first now sets the clock", 10, []step{{1000 * window, 1, Fresh}, {1001*window - 1, 1, Replayed}}},
		{"a late now turns nothing back", 10, []step{
			{0, 1, Fresh}, {window, 2, Fresh}, {0, 3, Fresh}, {0, 1, Replayed}, {3*window - 1, 3, Replayed},
		}},
		{"full, but replays are still known", 2, []step{{0, 1, Fresh}, {0, 2, Fresh}, {0, 3, Full}, {0, 1, Replayed}, {0, 3, Full}}},
		{"the limit counts the zero key", 1, []step{{0, 0, Fresh}, {0, 1, Full}, {0, 0, Replayed}}},
		{"full until the next window", 1, []step{{0, 1, Fresh}, {window - 1, 2, Full}, {window, 2, Fresh}, {window, 1, Replayed}, {window, 3, Full}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			table := New(window, tc.limit)
			for i, s := range tc.steps {
				if got := table.Insert(key(s.key), start.Add(s.at)); got != s.want {
					t.Errorf("step %d: key %d at %v is %v, want %v", i, s.key, s.at, got, s.want)
				}
			}
		})
	}
}

// TestModel compares the table with a map that forgets nothing, under random keys and times that jump both ways.
func TestModel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	table := New(window, 1<<20)
	model := make(map[uint64]time.Duration) // when it was last fresh
	var now, latest time.Duration
	for range 60_000 {
		switch r := rnd.IntN(1000); {
		case r == 0:
			now += time.Duration(rnd.Int64N(int64(4 * window)))
		case r < 20:
			now -= time.Duration(rnd.Int64N(int64(window / 20)))
		default:
			now += time.Duration(rnd.Int64N(int64(window / 100)))
		}
		latest = max(latest, now)
		k := rnd.Uint64N(3000)
		got := table.Insert(key(k), start.Add(now))
		old, known := model[k]
		age := latest - old
		switch {
		case !known && got != Fresh:
			t.Fatalf("new key %d at %v is %v", k, now, got)
		case known && age < window && got != Replayed:
			t.Fatalf("key %d, %v old, at %v is %v", k, age, now, got)
		case known && age > 2*window && got != Fresh:
			t.Fatalf("key %d, %v old, at %v is %v: kept too long", k, age, now, got)
		}
		if got == Fresh {
			model[k] = latest
		}
	}
}

// TestOneFresh has many goroutines insert the same keys, each in an order of its own and while generations turn. Each key is Fresh
// for exactly one of them.
func TestOneFresh(t *testing.T) {
	const goroutines, keys = 16, 5000
	table := New(window, keys)
	for i := range uint64(1000) {
		table.Insert(key(1<<40|i), start) // something for the first turn to end
	}
	var fresh [keys]atomic.Int32
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 0))
			for i, k := range rnd.Perm(keys) {
				// From before the first turn to just before the second: everything inserted here is younger than the window.
				now := start.Add(window - time.Second + time.Duration(i)*(window-time.Second)/keys)
				switch table.Insert(key(uint64(k)), now) {
				case Fresh:
					fresh[k].Add(1)
				case Full:
					t.Errorf("key %d: full", k)
				}
				if i%1000 == 0 {
					table.Sweep(now)
					table.Stats()
				}
			}
		})
	}
	wg.Wait()
	for k := range fresh {
		if n := fresh[k].Load(); n != 1 {
			t.Errorf("key %d was fresh %d times", k, n)
		}
	}
	if got := table.Stats(); got.Rotations != 1 {
		t.Errorf("%d rotations, want 1", got.Rotations)
	}
}

// TestLimitUnderRace: concurrent inserts of different keys fill the table to its limit and not beyond.
func TestLimitUnderRace(t *testing.T) {
	const goroutines, each, limit = 16, 1000, 3333
	table := New(window, limit)
	var fresh, full atomic.Int32
	var wg sync.WaitGroup
	for g := range uint64(goroutines) {
		wg.Go(func() {
			for i := range uint64(each) {
				switch table.Insert(key(g<<32|i), start) {
				case Fresh:
					fresh.Add(1)
				case Full:
					full.Add(1)
				}
			}
		})
	}
	wg.Wait()
	// Two callers that meet at the limit may both be turned away for a moment, but the keys that follow take the room.
	if fresh.Load() != limit || full.Load() != goroutines*each-limit {
		t.Errorf("%d fresh and %d full, want %d and %d", fresh.Load(), full.Load(), limit, goroutines*each-limit)
	}
	st := table.Stats()
	if st.Entries != limit || st.Full != uint64(full.Load()) || st.Capacity != limit {
		t.Errorf("stats %+v", st)
	}
}

func TestMemoryFollowsTheLoad(t *testing.T) {
	const n = 100_000
	table := New(window, n)
	if got := table.Stats(); got != (Stats{Capacity: n}) {
		t.Errorf("a new table has %+v", got)
	}
	fill := func(from, count uint64, at time.Duration) {
		for i := range count {
			if got := table.Insert(key(from+i), start.Add(at)); got != Fresh {
				t.Fatalf("key %d is %v", from+i, got)
			}
		}
	}
	fill(1, n, 0)
	st := table.Stats()
	if st.Entries != n || st.Bytes < 16*n*4/3 || st.Bytes > 16*n*4 {
		t.Errorf("full: %+v", st)
	}
	fill(n+1, n, window)
	if st := table.Stats(); st.Entries != n || st.Previous != n || st.Rotations != 1 || st.Bytes > 2*16*n*4 {
		t.Errorf("two full generations: %+v", st)
	}
	steady := table.Stats().Bytes
	fill(2*n+1, n, 2*window)
	if st := table.Stats(); st.Entries != n || st.Previous != n || st.Rotations != 2 || st.Bytes > steady*5/4 {
		t.Errorf("three generations later: %+v, bytes before %d", st, steady)
	}
	fill(3*n+1, 1000, 3*window)
	fill(4*n+1, 1000, 4*window)
	fill(5*n+1, 1000, 5*window)
	if st := table.Stats(); st.Bytes > 2*16*1000*16 {
		t.Errorf("after the load fell: %+v", st)
	}
	fill(6*n+1, 1, 7*window)
	if st := table.Stats(); st.Entries != 1 || st.Previous != 0 || st.Bytes != minSlots*entrySize {
		t.Errorf("one key after a gap: %+v", st)
	}
	table.Sweep(start.Add(9 * window))
	if st := table.Stats(); st.Entries != 0 || st.Previous != 0 || st.Bytes != 0 {
		t.Errorf("swept after a gap: %+v", st)
	}
	fill(7*n+1, n, 9*window) // the limit is free again to its last key
}

func TestInsertAllocatesNothing(t *testing.T) {
	table := New(window, 1<<20)
	for i := range uint64(10_000) {
		table.Insert(key(i), start)
	}
	var i uint64
	if n := testing.AllocsPerRun(1000, func() { table.Insert(key(i%10_000), start); i++ }); n != 0 {
		t.Errorf("%v allocations for a replay", n)
	}
	// Fresh keys: only doubling allocates, and the slots have room for more than these.
	table = New(window, 1<<20)
	for i := range uint64(64 * 13) {
		table.Insert(key(i), start)
	}
	i = 1 << 32
	if n := testing.AllocsPerRun(100, func() { table.Insert(key(i), start); i++ }); n > 0.5 {
		t.Errorf("%v allocations for a fresh key", n)
	}
}

func TestNewPanics(t *testing.T) {
	for _, tc := range []struct {
		name   string
		window time.Duration
		limit  int
	}{{"no window", 0, 1}, {"negative window", -1, 1}, {"no room", 1, 0}} {
		t.Run(tc.name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			New(tc.window, tc.limit)
		})
	}
}

func TestResultString(t *testing.T) {
	for r, want := range map[Result]string{Fresh: "fresh", Replayed: "replayed", Full: "full", 99: "unknown"} {
		if got := r.String(); got != want {
			t.Errorf("%d is %q, want %q", r, got, want)
		}
	}
}

// FuzzInsert runs a script of inserts, two bytes each (key, time step), against a map that forgets nothing.
func FuzzInsert(f *testing.F) {
	f.Add([]byte{1, 0, 1, 0, 2, 200, 1, 255, 0, 1, 0, 0})
	f.Add([]byte{0, 0, 0, 100, 0, 100, 0, 100, 0, 100})
	f.Fuzz(func(t *testing.T, script []byte) {
		table := New(100, 1<<10)
		model := make(map[byte]time.Duration)
		var now time.Duration
		for ; len(script) >= 2; script = script[2:] {
			k := script[0]
			now += time.Duration(script[1])
			at, known := model[k]
			got := table.Insert(key(uint64(k)), start.Add(now))
			if !known && got != Fresh || known && now-at < 100 && got != Replayed || known && now-at > 200 && got != Fresh {
				t.Fatalf("key %d at %d, known %v since %d: %v", k, now, known, at, got)
			}
			if got == Fresh {
				model[k] = now
			}
		}
	})
}
