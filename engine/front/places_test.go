package front

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// visitor notes what it hears.
type visitor struct {
	heard []string
	gone  bool
}

func (v *visitor) Admit() bool {
	v.heard = append(v.heard, "admit")
	return !v.gone
}

func (v *visitor) TurnAway() { v.heard = append(v.heard, "turn away") }

func TestPlaces(t *testing.T) {
	p := NewPlaces(2, 1)
	if got := []bool{p.Take(), p.Take(), p.Take()}; !slices.Equal(got, []bool{true, true, false}) {
		t.Fatal("two places, and no third")
	}
	p.Release()
	if !p.Take() || p.Used() != 2 || p.Count() != 2 {
		t.Fatalf("a place given back can be taken again; used %d", p.Used())
	}
}

// The first in line gets the place that is given back, and nobody gets it before.
func TestLine(t *testing.T) {
	now := time.Now()
	p := NewPlaces(1, 2)
	var first, second, third, fourth visitor
	if p.Join(&first, now) != Placed || p.Join(&second, now.Add(time.Second)) != InLine || p.Join(&third, now.Add(time.Minute)) != InLine {
		t.Fatal("one place, and two in line")
	}
	if p.Join(&fourth, now) != Full || p.Take() {
		t.Fatal("there is no room for a fourth")
	}
	p.Release()
	if p.Used() != 1 || p.Waiting() != 1 || len(second.heard) != 1 || len(third.heard) != 0 {
		t.Fatalf("%d used, %d in line, %v, %v", p.Used(), p.Waiting(), second, third)
	}
	if p.Join(&fourth, now.Add(time.Hour)) != InLine {
		t.Fatal("there is room in line again")
	}
	third.gone = true
	p.Release() // who no longer wants it leaves it to the next
	if !slices.Equal(fourth.heard, []string{"admit"}) || p.Used() != 1 || p.Waiting() != 0 {
		t.Fatalf("%v, %d used, %d in line", fourth.heard, p.Used(), p.Waiting())
	}
	p.Release()
	if p.Used() != 0 {
		t.Fatalf("%d used at the end", p.Used())
	}
}

// Some leave the line; the others keep their order, and there is room for as many again.
func TestLeave(t *testing.T) {
	p, v := NewPlaces(1, 4), make([]visitor, 6)
	later := time.Now().Add(time.Hour)
	for i := range v[:5] {
		p.Join(&v[i], later)
	}
	gone := p.Leave(func(w Waiter) bool { return w == &v[1] || w == &v[3] })
	if !slices.Equal(gone, []Waiter{&v[1], &v[3]}) || p.Waiting() != 2 {
		t.Fatalf("%v have left, %d wait", gone, p.Waiting())
	}
	if p.Join(&v[5], later) != InLine {
		t.Fatal("no room where somebody has left")
	}
	for range 3 {
		p.Release()
	}
	for i, want := range [][]string{nil, nil, {"admit"}, nil, {"admit"}, {"admit"}} {
		if !slices.Equal(v[i].heard, want) {
			t.Errorf("%d has heard %v, want %v", i, v[i].heard, want)
		}
	}
	if gone := p.Leave(func(Waiter) bool { return true }); len(gone) > 0 || p.Waiting() != 0 {
		t.Errorf("%v leave an empty line", gone)
	}
}

func TestPatience(t *testing.T) {
	now := time.Now()
	p := NewPlaces(0, 3)
	var a, b, c visitor
	p.Join(&a, now)
	p.Join(&b, now.Add(time.Second))
	p.Join(&c, now.Add(time.Minute))
	p.Sweep(now)
	if len(a.heard) != 0 {
		t.Error("turned away a moment too early")
	}
	p.Sweep(now.Add(time.Second + 1))
	if !slices.Equal(a.heard, []string{"turn away"}) || !slices.Equal(b.heard, a.heard) || len(c.heard) != 0 || p.Waiting() != 1 {
		t.Errorf("%v, %v, %v", a.heard, b.heard, c.heard)
	}
	p.Close()
	if !slices.Equal(c.heard, a.heard) || p.Join(&a, now.Add(time.Hour)) != Full {
		t.Error("who waits when the places are closed is turned away, and nobody waits from then on")
	}
}

// crowd is a visitor of many at once: each gives its place back as soon as it has it.
type crowd struct {
	places   *Places
	admitted *atomic.Int64
	done     *sync.WaitGroup
}

func (c crowd) Admit() bool {
	c.admitted.Add(1)
	go func() {
		c.places.Release()
		c.done.Done()
	}()
	return true
}

func (c crowd) TurnAway() { c.done.Done() }

// Whoever comes, from however many goroutines, is admitted once or turned away once, and all places are free in the end.
func TestCrowd(t *testing.T) {
	p := NewPlaces(3, 1000)
	var admitted atomic.Int64
	var done, coming sync.WaitGroup
	for range 8 {
		coming.Go(func() {
			for range 100 {
				c := crowd{p, &admitted, &done}
				done.Add(1)
				if p.Join(c, time.Now().Add(time.Hour)) == Placed {
					c.Admit()
				}
			}
		})
	}
	coming.Wait()
	done.Wait()
	if admitted.Load() != 800 || p.Used() != 0 || p.Waiting() != 0 {
		t.Errorf("%d admitted, %d used, %d in line", admitted.Load(), p.Used(), p.Waiting())
	}
}
