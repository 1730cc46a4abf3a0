package figure

import (
	"math"
	"slices"
	"strconv"
)

// Summary is what is left of the rounds of one figure.
type Summary struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	Rounds int     `json:"rounds"`
}

// Summarize needs at least one round; without one the zero Summary comes back.
func Summarize(rounds []float64) Summary {
	if len(rounds) == 0 {
		return Summary{}
	}
	return Summary{Median: Median(rounds), Min: slices.Min(rounds), Max: slices.Max(rounds), Rounds: len(rounds)}
}

// Median is the middle of the values, or the mean of the two in the middle; NaN of none. The values stay as they are.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(values))
	half := len(s) / 2
	if len(s)%2 == 1 {
		return s[half]
	}
	return (s[half-1] + s[half]) / 2
}

// Ratio is the median of a over b, each taken inside its own round, so that what slows a whole round down does not count. Rounds in
// which one is missing (NaN) or b is zero are left out; NaN when none is left.
func Ratio(a, b []float64) float64 {
	var r []float64
	for i := range min(len(a), len(b)) {
		if b[i] != 0 && !math.IsNaN(a[i]) && !math.IsNaN(b[i]) {
			r = append(r, a[i]/b[i])
		}
	}
	return Median(r)
}

// Text writes a number with three significant digits; "–" stands for one that is not there.
func Text(v float64) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "–"
	case v == 0:
		return "0"
	}
	digits := max(0, 2-int(math.Floor(math.Log10(math.Abs(v)))))
	return strconv.FormatFloat(v, 'f', min(digits, 5), 64)
}
