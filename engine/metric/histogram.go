package metric

import (
	"io"
	"math"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"
)

// Histogram makes a histogram with the catalogue's bounds. It panics as [Set.Counter] does.
func (s *Set) Histogram(name string, labels ...string) *Histogram {
	d := lookup(name, TypeHistogram)
	h := &Histogram{bounds: d.Buckets, cells: make([]histogramCell, s.cells)}
	for i := range h.cells {
		// A tail of unused counts keeps two shards' arrays off one cache line.
		h.cells[i].counts = make([]atomic.Uint64, len(d.Buckets)+1, len(d.Buckets)+1+cacheLine/8)
	}
	lines := h.lines(d, labels)
	s.add(name, TypeHistogram, labels, func(w io.Writer, _ string) { h.write(w, lines) })
	return h
}

// Histogram counts observations by size. Its methods may be called by any goroutine and allocate nothing.
type Histogram struct {
	bounds []float64
	cells  []histogramCell
}

// histogramCell is one shard's part of a histogram.
type histogramCell struct {
	counts []atomic.Uint64 // by bound, not summed up; the last is for what exceeds them all
	sum    atomic.Uint64   // the bits of a float64
	_      [cacheLine - 32]byte
}

// Observe counts one value, in the family's unit (seconds). NaN is dropped, since one would spoil the sum for good. The shard is
// as for [Counter.Inc].
func (h *Histogram) Observe(shard int, seconds float64) {
	if math.IsNaN(seconds) {
		return
	}
	c := &h.cells[shard&(len(h.cells)-1)]
	i := 0
	for i < len(h.bounds) && seconds > h.bounds[i] {
		i++
	}
	c.counts[i].Add(1)
	for {
		old := c.sum.Load()
		if c.sum.CompareAndSwap(old, math.Float64bits(math.Float64frombits(old)+seconds)) {
			return
		}
	}
}

// lines are the names of a histogram's exposition: its buckets, the sum, the count.
func (h *Histogram) lines(d *Def, labels []string) []string {
	full := d.series(labels)
	inner := strings.TrimSuffix(strings.TrimPrefix(full[len(d.Name):], "{"), "}")
	var out []string
	for _, le := range append(slices.Clone(h.bounds), math.Inf(1)) {
		tag := `le="` + formatBound(le) + `"`
		if inner != "" {
			tag = inner + "," + tag
		}
		out = append(out, d.Name+"_bucket{"+tag+"}")
	}
	return append(out, d.Name+"_sum"+full[len(d.Name):], d.Name+"_count"+full[len(d.Name):])
}

func (h *Histogram) write(w io.Writer, lines []string) {
	var total uint64
	var sum float64
	for i := range h.bounds {
		for j := range h.cells {
			total += h.cells[j].counts[i].Load()
		}
		metrics.WriteCounterUint64(w, lines[i], total)
	}
	for j := range h.cells {
		total += h.cells[j].counts[len(h.bounds)].Load()
		sum += math.Float64frombits(h.cells[j].sum.Load())
	}
	// The count is the last bucket by construction, not a counter of its own: a scrape between two additions stays consistent.
	n := len(h.bounds)
	metrics.WriteCounterUint64(w, lines[n], total)
	metrics.WriteCounterFloat64(w, lines[n+1], sum)
	metrics.WriteCounterUint64(w, lines[n+2], total)
}
