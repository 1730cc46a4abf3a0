// Package figure is the harness's arithmetic: latencies counted in a histogram, medians and ratios of rounds, and how numbers
// are written.
package figure

import (
	"math"
	"math/bits"
	"time"
)

// subBits is how finely a power of two is divided: into 64 parts, an error of at most 0.8 % either way.
const subBits = 6

// Histogram counts durations. The zero value is empty. It travels as JSON.
type Histogram struct {
	Counts map[int]uint64 `json:"counts,omitempty"`
	Total  uint64         `json:"total"`
}

// Add counts one duration.
func (h *Histogram) Add(d time.Duration) {
	if h.Counts == nil {
		h.Counts = map[int]uint64{}
	}
	h.Counts[bucket(d)]++
	h.Total++
}

// bucket is the index of the bucket that d falls into.
func bucket(d time.Duration) int {
	v := uint64(max(d, 0))
	if v < 1<<(subBits+1) {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return shift<<subBits + int(v>>shift)
}

// middle is the duration that stands for a bucket.
func middle(b int) time.Duration {
	if b < 1<<(subBits+1) {
		return time.Duration(b)
	}
	shift := b>>subBits - 1
	low := uint64(b-shift<<subBits) << shift
	return time.Duration(low + 1<<shift/2)
}

// Since is what h has counted after earlier, an older copy of it.
func (h *Histogram) Since(earlier *Histogram) Histogram {
	d := Histogram{Counts: map[int]uint64{}, Total: h.Total - earlier.Total}
	for b, n := range h.Counts {
		if n -= earlier.Counts[b]; n > 0 {
			d.Counts[b] = n
		}
	}
	return d
}

// Merge adds what other has counted.
func (h *Histogram) Merge(other *Histogram) {
	if h.Counts == nil {
		h.Counts = map[int]uint64{}
	}
	for b, n := range other.Counts {
		h.Counts[b] += n
	}
	h.Total += other.Total
}

// Quantile is the duration that a share q of those counted does not exceed; 0 when nothing was counted.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.Total == 0 {
		return 0
	}
	rank := uint64(math.Ceil(q * float64(h.Total)))
	rank = min(max(rank, 1), h.Total)
	highest := 0
	for b := range h.Counts {
		highest = max(highest, b)
	}
	seen := uint64(0)
	for b := 0; b <= highest; b++ {
		if seen += h.Counts[b]; seen >= rank {
			return middle(b)
		}
	}
	return middle(highest)
}
