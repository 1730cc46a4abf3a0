package main

import (
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"sluice/bench/client"
)

func drawn(seed uint64, rate float64, longest time.Duration, n int) (all []plan) {
	g := newGenerator(seed, rate, longest)
	for range n {
		all = append(all, g.next())
	}
	return all
}

func TestGeneratorRepeatsItself(t *testing.T) {
	a, b := drawn(7, 8, time.Minute, 1000), drawn(7, 8, time.Minute, 1000)
	if !slices.Equal(a, b) {
		t.Error("one seed, two sequences")
	}
	if slices.Equal(a, drawn(8, 8, time.Minute, 1000)) {
		t.Error("two seeds, one sequence")
	}
}

// The generator draws what its table and its rate say. (The seeds are fixed, so the bounds are not a matter of luck.)
func TestGeneratorKeepsItsShares(t *testing.T) {
	const n, rate, longest = 50_000, 8.0, 4 * time.Minute
	count, weights := map[kind]int{}, 0
	gaps, short := time.Duration(0), 0
	for _, p := range drawn(3, rate, longest, n) {
		count[p.kind]++
		gaps += p.gap
		if p.life < shortest || p.life > longest {
			t.Fatalf("a life of %v", p.life)
		}
		if p.life < 15*time.Second+500*time.Millisecond { // the geometric middle
			short++
		}
	}
	if got := n / gaps.Seconds(); math.Abs(got-rate) > 0.05*rate {
		t.Errorf("%v arrivals a second, want %v", got, rate)
	}
	if share := float64(short) / n; share < 0.48 || share > 0.52 {
		t.Errorf("%v live for less than the middle", share)
	}
	for _, k := range kinds {
		weights += k.weight
	}
	for i, k := range kinds {
		want := float64(k.weight) / float64(weights)
		if got := float64(count[kind(i)]) / n; math.Abs(got-want) > 0.1*want {
			t.Errorf("%s: a share of %v, want %v", k.name, got, want)
		}
		if (k.session == nil) == (k.visit == nil) {
			t.Errorf("%s is neither a session nor a visit, or both", k.name)
		}
	}
}

func TestGeneratorAtTheLeast(t *testing.T) {
	for _, p := range drawn(1, 1, 0, 100) {
		if p.life != shortest {
			t.Fatalf("a life of %v", p.life)
		}
	}
}

// A secret is good for the reload after the one it came with, and a reload that fails changes nothing for who comes.
func TestKeysTurn(t *testing.T) {
	k, err := newKeys(t.TempDir() + "/secrets")
	if err != nil {
		t.Fatal(err)
	}
	first, second := k.older, k.current()
	if _, err := k.turn(func() error { return errStuck }); err == nil || k.current() != second {
		t.Fatal("a failed reload has turned the keys")
	}
	gone, err := k.turn(func() error { return nil })
	if err != nil || gone != first || k.older != second || k.current() == second {
		t.Fatalf("after one turn: %v", err)
	}
	b, err := os.ReadFile(k.file)
	if err != nil || string(b) != k.text()+"\n" {
		t.Errorf("the file holds %q, %v", b, err)
	}
	if gone, _ = k.turn(func() error { return nil }); gone != second {
		t.Error("the second turn takes another one away")
	}
	for _, s := range []client.Secret{k.lasting, k.older, k.newest} {
		if s.Host != host {
			t.Errorf("a secret for %q", s.Host)
		}
	}
}
