package main

import (
	"context"
	"math"
	"math/rand/v2"
	"time"
)

// plan is one connection to come: everything random about it follows from its seed.
type plan struct {
	gap  time.Duration // after the one before it
	kind kind
	life time.Duration
	seed uint64
}

// generator draws plans. The same seed draws the same plans. One goroutine at a time.
type generator struct {
	rnd     *rand.Rand
	rate    float64 // a second
	longest time.Duration
	weights int
}

// shortest is the least life of a session.
const shortest = time.Second

func newGenerator(seed uint64, rate float64, longest time.Duration) *generator {
	g := &generator{rnd: rand.New(rand.NewPCG(seed, 1)), rate: rate, longest: max(longest, shortest)}
	for _, k := range kinds {
		g.weights += k.weight
	}
	return g
}

// next is a Poisson process of arrivals; lives are spread evenly over their logarithm, most short and a few long.
func (g *generator) next() plan {
	return plan{
		gap:  time.Duration(g.rnd.ExpFloat64() / g.rate * float64(time.Second)),
		kind: g.kind(),
		life: logarithmic(g.rnd, shortest, g.longest),
		seed: g.rnd.Uint64(),
	}
}

func (g *generator) kind() kind {
	n := g.rnd.IntN(g.weights)
	for i, k := range kinds {
		if n -= k.weight; n < 0 {
			return kind(i)
		}
	}
	panic("soak: the weights are not their sum")
}

// logarithmic draws from least to most, every order of magnitude alike.
func logarithmic[T ~int64](r *rand.Rand, least, most T) T {
	l, m := math.Log(float64(least)), math.Log(float64(most))
	return max(least, min(T(math.Exp(l+r.Float64()*(m-l))), most))
}

// churn begins connections until ctx ends. Each has a goroutine of its own.
func (s *soak) churn(ctx context.Context) {
	g := newGenerator(s.opts.seed, s.opts.rate, s.longest)
	for {
		p := g.next()
		if !sleep(ctx, p.gap) {
			return
		}
		s.load.Go(func() { s.attend(ctx, p) })
	}
}

// sleep waits, and says whether ctx has not ended meanwhile.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
