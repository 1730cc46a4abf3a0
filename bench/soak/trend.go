package main

import (
	"fmt"
	"math"

	"sluice/bench/figure"
)

// Bounds of what resident memory may do.
const (
	slopeBound = 2 << 20  // bytes an hour that resident memory may grow by
	noiseLeast = 1 << 20  // what is granted beyond that: twice the scatter, but so much at least, and
	noiseMost  = 4 << 20  // so much at most
	levelTime  = 3.0 / 60 // hours, twice or so of which a process takes to find its level: the shorter it is looked at, the more that counts
)

// loaded are the samples of the last two thirds of the load.
func loaded(r *record, samples []sample) (part []sample) {
	for _, v := range samples {
		if t := v[colTime]; t >= r.Asked/3 && t <= min(r.Lasted, r.Asked) && !math.IsNaN(v[colResident]) {
			part = append(part, v)
		}
	}
	return part
}

// trend is how resident memory went, over the last two thirds of the load.
type trend struct {
	span    float64 // hours
	slope   float64 // bytes an hour
	scatter float64 // bytes: half of the points are no further from the line
}

// points are how many a trend is laid through, at most.
const points = 60

// growth lays a line through the medians of equal spans of time: the median of the slopes between any two of them, which no
// burst or pause can tilt.
func growth(samples []sample) (g trend) {
	g.slope = math.NaN()
	size := max(1, len(samples)/points)
	var at, bytes []float64
	for i := 0; i+size <= len(samples); i += size {
		var t, b []float64
		for _, v := range samples[i : i+size] {
			t, b = append(t, v[colTime]/3600), append(b, v[colResident])
		}
		at, bytes = append(at, figure.Median(t)), append(bytes, figure.Median(b))
	}
	var slopes, rests []float64
	for i := range at {
		for j := range i {
			slopes = append(slopes, (bytes[i]-bytes[j])/(at[i]-at[j]))
		}
	}
	if len(at) < 8 {
		return g
	}
	g.span, g.slope = at[len(at)-1]-at[0], figure.Median(slopes)
	for i := range at {
		rests = append(rests, bytes[i]-g.slope*at[i])
	}
	middle := figure.Median(rests)
	for i := range rests {
		rests[i] = math.Abs(rests[i] - middle)
	}
	g.scatter = figure.Median(rests)
	return g
}

// noise is what cannot be told from growth: scatter, and the way to the level, which weighs less the longer the span is.
func (g trend) noise() float64 {
	least := max(noiseLeast, noiseMost*levelTime/g.span)
	return min(max(2*g.scatter, least), noiseMost)
}

// allowed is by how much memory may have grown over the span.
func (g trend) allowed() float64 { return slopeBound*g.span + g.noise() }

func (g trend) held() bool { return g.slope*g.span <= g.allowed() } // false for NaN

func (g trend) String() string {
	if math.IsNaN(g.slope) {
		return "too few samples"
	}
	return fmt.Sprintf("%+.2f MiB an hour, %+.2f MiB in %.0f minutes; %.2f MiB allowed, of them %.2f for scatter",
		g.slope/(1<<20), g.slope*g.span/(1<<20), g.span*60, g.allowed()/(1<<20), g.noise()/(1<<20))
}
