package replay

import "hash/maphash"

// entry is a key in its slot; the zero entry is an empty slot.
type entry [16]byte

const (
	entrySize = 16
	minSlots  = 16
)

// generation is an open-addressed set with linear probing, at most three quarters full. Its zero value is empty.
type generation struct {
	slots []entry // its length is zero or a power of two
	used  int     // slots taken
	zero  bool    // the zero key, which a slot cannot hold
	stale bool    // the slots hold keys of an older generation and are to be emptied before use
}

func (g *generation) len() int {
	if g.zero {
		return g.used + 1
	}
	return g.used
}

func (g *generation) bytes() int { return len(g.slots) * entrySize }

// find returns the slot that holds the key, or the empty one where it belongs. The generation must have an empty slot.
func (g *generation) find(key entry, hash uint64) int {
	mask := len(g.slots) - 1
	for i := int(hash) & mask; ; i = (i + 1) & mask {
		if g.slots[i] == key || g.slots[i] == (entry{}) {
			return i
		}
	}
}

func (g *generation) has(key entry, hash uint64) bool {
	if key == (entry{}) {
		return g.zero
	}
	return g.used > 0 && g.slots[g.find(key, hash)] == key
}

// put adds a key that the generation does not have; grow must have been called.
func (g *generation) put(key entry, hash uint64) {
	if key == (entry{}) {
		g.zero = true
		return
	}
	g.slots[g.find(key, hash)] = key
	g.used++
}

// grow makes room for one key more, doubling the slots when they are three quarters full.
func (g *generation) grow(seed maphash.Seed) {
	if g.stale {
		clear(g.slots)
		g.stale = false
	}
	if g.used+1 <= len(g.slots)/4*3 {
		return
	}
	old := g.slots
	g.slots = make([]entry, max(minSlots, 2*len(old)))
	for i := range old {
		if old[i] != (entry{}) {
			g.slots[g.find(old[i], maphash.Bytes(seed, old[i][:])/shards)] = old[i]
		}
	}
}

// recycled makes the next generation from one that is out of date. It keeps its slots unless there are more than
// the generation just ended needed for its n keys: so memory follows the load downwards, one window behind.
func (g *generation) recycled(n int) generation {
	if len(g.slots) > slotsFor(n) {
		return generation{}
	}
	return generation{slots: g.slots, stale: len(g.slots) > 0}
}

// slotsFor is how many slots a generation that grew to n keys has.
func slotsFor(n int) int {
	size := 0
	for n > size/4*3 {
		size = max(minSlots, 2*size)
	}
	return size
}
