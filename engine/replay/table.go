// Package replay remembers the hellos that were accepted, so that none is accepted twice.
//
// The memory is exact: no filter that may err, no cache that may evict. A hello is only worth replaying while its time lies in the
// clock window (protocol.md 2.1), so keys are kept for at least that long and then dropped by the generation:
//
//	insert ──▶ current ──window passed──▶ previous ──window passed──▶ dropped
//	                └────────── looked up ───────────┘
//
// Each key is kept for at least one window and, while calls come, at most two.
package replay

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// Result is what the table says about a key.
type Result uint8

const (
	// Fresh: the key was not in the table and now is. Exactly one of any number of concurrent callers with one key gets it.
	Fresh Result = iota
	// Replayed: the key was in the table already.
	Replayed
	// Full: the key is not in the table and cannot be put there. The caller must refuse, since it could not recognise a replay.
	Full
)

var results = [...]string{Fresh: "fresh", Replayed: "replayed", Full: "full"}

// String is the result's name in lower case.
func (r Result) String() string {
	if int(r) < len(results) {
		return results[r]
	}
	return "unknown"
}

// shards is how many independent parts the table has: enough that two cores rarely meet at one lock.
const shards = 64

// Table is an exact, bounded, self-expiring set of 16-byte keys. All its methods may be called by any goroutine.
type Table struct {
	window time.Duration
	limit  int64
	seed   maphash.Seed

	began sync.Once
	base  time.Time // when generation 0 began: the first now

	turning sync.Mutex    // held while the generation changes
	number  atomic.Uint64 // of the current generation; every shard has turned to it
	filling atomic.Int64  // keys in the current generation, at most limit
	full    atomic.Uint64

	shard [shards]shard
}

// New makes a table that recognises a key for at least window after its insertion, and that takes at most maxPerGeneration keys in each
// window. To be exact for hellos, the window must be the whole span of the accepted clock skew: the sum of how far a client may be
// behind and ahead. It starts small; a key costs 21 to 43 bytes, and at most two generations exist. It panics unless both are positive.
func New(window time.Duration, maxPerGeneration int) *Table {
	if window <= 0 || maxPerGeneration <= 0 {
		panic("replay: window and maxPerGeneration must be positive")
	}
	return &Table{window: window, limit: int64(maxPerGeneration), seed: maphash.MakeSeed()}
}

// Insert looks the key up and, if it is new, remembers it: one atomic step. now should carry a monotonic reading (as time.Now's
// does), so that a stepped system clock neither forgets nor keeps keys. Callers may come late with their now; a key is kept a
// whole window after the latest now seen before it. A lookup does not prolong a key's life.
func (t *Table) Insert(key [16]byte, now time.Time) Result {
	t.Sweep(now)
	// The seed is random: whoever chooses keys cannot aim them at one bucket.
	hash := maphash.Bytes(t.seed, key[:])
	s := &t.shard[hash%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.insert(t, key, hash/shards)
}

// Sweep drops the keys that are out of date at now and gives their memory back. Insert begins with it, so that a call of its own,
// from a tick, only matters while no hello comes at all. It costs a few nanoseconds unless a window has passed.
func (t *Table) Sweep(now time.Time) {
	t.began.Do(func() { t.base = now })
	age := now.Sub(t.base)
	if age < t.window {
		return
	}
	// Whoever is in the new window waits here until all shards are: no key is put into a generation that began before
	// the key's own window, and so none is dropped before a window has passed.
	if number := uint64(age / t.window); number > t.number.Load() {
		t.turn(number)
	}
}

// turn makes all shards begin the generation of that number, unless another goroutine did it first.
func (t *Table) turn(number uint64) {
	t.turning.Lock()
	defer t.turning.Unlock()
	passed := number - t.number.Load()
	if int64(passed) <= 0 {
		return
	}
	for i := range t.shard {
		t.filling.Add(-int64(t.shard[i].turn(passed)))
	}
	t.number.Store(number)
}

// Stats is a view of the table for metrics. Its parts are read one shard after the other, not at one instant.
type Stats struct {
	// Entries counts the keys of the current generation, Previous those of the one before it, which only expire.
	Entries, Previous int
	// Capacity is the most keys that the current generation takes: when Entries reaches it, new keys are Full.
	Capacity int
	// Bytes is the memory held for keys.
	Bytes int
	// Rotations counts the windows that ended, Full the keys that were turned away.
	Rotations, Full uint64
}

// Stats reads the table's state.
func (t *Table) Stats() Stats {
	st := Stats{Capacity: int(t.limit), Full: t.full.Load(), Rotations: t.number.Load()}
	for i := range t.shard {
		s := &t.shard[i]
		s.mu.Lock()
		st.Entries += s.current.len()
		st.Previous += s.previous.len()
		st.Bytes += s.current.bytes() + s.previous.bytes()
		s.mu.Unlock()
	}
	return st
}
