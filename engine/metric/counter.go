package metric

import "sync/atomic"

const cacheLine = 64

// cell is one shard's part of a counter, alone on its cache line.
type cell struct {
	n atomic.Uint64
	_ [cacheLine - 8]byte
}

func newCells(n int) []cell { return make([]cell, n) }

// Counter only grows. Its methods may be called by any goroutine and allocate nothing.
type Counter struct{ cells []cell }

// Inc adds one. The shard is the caller's own number, 0 to shards-1; any other is folded into that range, so that a wrong one
// costs only speed.
func (c *Counter) Inc(shard int) { c.Add(shard, 1) }

// Add adds n, as Inc adds one.
func (c *Counter) Add(shard int, n uint64) { c.cells[shard&(len(c.cells)-1)].n.Add(n) }

// Value is the sum over all shards.
func (c *Counter) Value() uint64 {
	var sum uint64
	for i := range c.cells {
		sum += c.cells[i].n.Load()
	}
	return sum
}
