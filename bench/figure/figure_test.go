package figure

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []float64
		want   float64
	}{
		{"one", []float64{3}, 3},
		{"odd", []float64{9, 1, 5}, 5},
		{"even", []float64{4, 1, 2, 100}, 3},
		{"equal", []float64{2, 2, 2}, 2},
	} {
		before := slices.Clone(c.values)
		if got := Median(c.values); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if !slices.Equal(c.values, before) {
			t.Errorf("%s: the values were moved", c.name)
		}
	}
	if got := Median(nil); !math.IsNaN(got) {
		t.Errorf("of none: %v", got)
	}
}

func TestRatio(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		name string
		a, b []float64
		want float64
	}{
		// The second round was slow for both: the ratio does not see it, that of the medians would.
		{"inside rounds", []float64{2, 20, 4}, []float64{1, 10, 2}, 2},
		{"one round lacks a", []float64{nan, 6, 8}, []float64{1, 2, 2}, 3.5},
		{"one round lacks b", []float64{3, 6}, []float64{nan, 2}, 3},
		{"zero", []float64{3, 6}, []float64{0, 2}, 3},
		{"a longer", []float64{3, 6, 9}, []float64{1}, 3},
	} {
		if got := Ratio(c.a, c.b); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if got := Ratio([]float64{1}, []float64{0}); !math.IsNaN(got) {
		t.Errorf("of nothing: %v", got)
	}
}

func TestSummarize(t *testing.T) {
	if got, want := Summarize([]float64{5, 1, 3}), (Summary{Median: 3, Min: 1, Max: 5, Rounds: 3}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := Summarize(nil); got != (Summary{}) {
		t.Errorf("of none: %+v", got)
	}
}

func TestText(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 1: "1.00", 0.1234: "0.123", 12.345: "12.3", 123.45: "123", 98765.4: "98765", 0.00012345: "0.00012", -2.5: "-2.50",
		math.Inf(1): "–",
	} {
		if got := Text(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
	if got := Text(math.NaN()); got != "–" {
		t.Errorf("NaN: %q", got)
	}
}

// TestQuantile compares the histogram with the sorted durations themselves.
func TestQuantile(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, spread := range []float64{100, 1e5, 1e9, 1e12} {
		var h Histogram
		var all []time.Duration
		for range 5000 {
			d := time.Duration(math.Exp(r.Float64() * math.Log(spread)))
			h.Add(d)
			all = append(all, d)
		}
		slices.Sort(all)
		for _, q := range []float64{0, 0.001, 0.5, 0.9, 0.99, 0.999, 1} {
			want := all[min(max(int(math.Ceil(q*float64(len(all))))-1, 0), len(all)-1)]
			got := h.Quantile(q)
			if diff := math.Abs(float64(got - want)); diff > 0.009*float64(want)+1 {
				t.Errorf("spread %v, quantile %v: %v, want %v", spread, q, got, want)
			}
		}
	}
}

func TestHistogramOfNone(t *testing.T) {
	var h Histogram
	if got := h.Quantile(0.5); got != 0 {
		t.Errorf("median of none: %v", got)
	}
	h.Add(-time.Second)
	if got := h.Quantile(0.5); got != 0 {
		t.Errorf("a clock that went back: %v", got)
	}
}

// TestHistogramTravels: what came after an older copy, once both have been through JSON, and put together again.
func TestHistogramTravels(t *testing.T) {
	var h Histogram
	h.Add(time.Millisecond)
	earlier := travel(t, h)
	h.Add(time.Second)
	h.Add(time.Millisecond)
	later := travel(t, h)
	d := later.Since(&earlier)
	if d.Total != 2 || len(d.Counts) != 2 || d.Quantile(1) < 990*time.Millisecond {
		t.Errorf("since: %+v", d)
	}
	d.Merge(&earlier)
	if d.Total != 3 || d.Quantile(0.5) > 1100*time.Microsecond {
		t.Errorf("merged: %+v", d)
	}
}

func travel(t *testing.T, h Histogram) (out Histogram) {
	t.Helper()
	b, err := json.Marshal(h)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}
