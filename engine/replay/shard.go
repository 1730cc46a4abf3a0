package replay

import "sync"

// shard is the part of the table for keys of one hash class.
type shard struct {
	mu                sync.Mutex
	current, previous generation

	_ [64]byte // two shards' locks never share a cache line
}

// turn ends the shard's current generation, after that many windows, and returns how many keys it had. It is quick, since every
// caller of the table waits for it: emptying old slots is left to the next insert of the shard.
func (s *shard) turn(windows uint64) (ended int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ended = s.current.len()
	if windows == 1 {
		s.current, s.previous = s.previous.recycled(ended), s.current
	} else {
		s.current, s.previous = generation{}, generation{}
	}
	return ended
}

// insert is Table.Insert under the shard's lock; hash chooses the slot.
func (s *shard) insert(t *Table, key entry, hash uint64) Result {
	if s.current.has(key, hash) || s.previous.has(key, hash) {
		return Replayed
	}
	if t.filling.Add(1) > t.limit {
		t.filling.Add(-1)
		t.full.Add(1)
		return Full
	}
	s.current.grow(t.seed)
	s.current.put(key, hash)
	return Fresh
}
