package front

import (
	"sync"
	"sync/atomic"
	"time"
)

// Places are the connections that there may be to the fronts at a time, and the line of those that wait for one: a web server that has no
// place left lets a visitor wait in its backlog, too. Any goroutine may use them.
type Places struct {
	count, room int // places, and those who may wait

	mu      sync.Mutex
	used    int
	line    []inLine // the first to come stands first
	waiting atomic.Int64
}

type inLine struct {
	who   Waiter
	until time.Time
}

// Waiter is a refused connection in line. Its calls come without a lock held, one of them, once.
type Waiter interface {
	// Admit says that it has a place, on the goroutine that gave the place back. With false it no longer wants it, and the next one gets it.
	Admit() bool
	// TurnAway says that it has waited too long, or that there are no more places.
	TurnAway()
}

// NewPlaces makes places of which none is taken, and a line in which room connections may wait.
func NewPlaces(count, room int) *Places { return &Places{count: count, room: room} }

// Take takes a place; false means that all are taken. Each one taken must be given back by Release.
func (p *Places) Take() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.take()
}

func (p *Places) take() bool {
	if p.used >= p.count {
		return false
	}
	p.used++
	return true
}

// Standing is what became of a connection that asked for a place.
type Standing uint8

// The standings.
const (
	Placed Standing = iota // it has a place
	InLine                 // it will hear of it by its Waiter
	Full                   // it has neither
)

// Join takes a place for w or, when all are taken, lets it wait in line until the given time.
func (p *Places) Join(w Waiter, until time.Time) Standing {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.take():
		return Placed
	case len(p.line) >= p.room:
		return Full
	}
	p.line = append(p.line, inLine{w, until})
	p.waiting.Add(1)
	return InLine
}

// Release gives a place back, to the first in line if there is one.
func (p *Places) Release() {
	for w := p.next(); w != nil && !w.Admit(); w = p.next() {
	}
}

// next takes the first out of the line. Without one the place is free.
func (p *Places) next() Waiter {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.line) == 0 {
		p.used--
		return nil
	}
	w := p.line[0].who
	p.waiting.Add(-1)
	p.line[0] = inLine{}
	if p.line = p.line[1:]; len(p.line) == 0 {
		p.line = nil
	}
	return w
}

// Sweep turns those away whose time is over.
func (p *Places) Sweep(now time.Time) {
	p.mu.Lock()
	late := 0
	for late < len(p.line) && now.After(p.line[late].until) {
		late++
	}
	gone := p.line[:late:late]
	p.line = p.line[late:]
	p.waiting.Add(-int64(late))
	p.mu.Unlock()
	for _, g := range gone {
		g.who.TurnAway()
	}
}

// Leave takes those out of the line for whom f is true: they hear nothing more from the places.
func (p *Places) Leave(f func(Waiter) bool) (gone []Waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var stay []inLine
	for _, w := range p.line {
		if f(w.who) {
			gone = append(gone, w.who)
		} else {
			stay = append(stay, w)
		}
	}
	p.line = stay
	p.waiting.Add(-int64(len(gone)))
	return gone
}

// Close turns everybody away who still waits; nobody waits from now on.
func (p *Places) Close() {
	p.mu.Lock()
	p.room = 0
	gone := p.line
	p.line = nil
	p.waiting.Store(0)
	p.mu.Unlock()
	for _, g := range gone {
		g.who.TurnAway()
	}
}

// Count is the number of places.
func (p *Places) Count() int { return p.count }

// Full says whether all places are taken.
func (p *Places) Full() bool { return p.Used() >= p.count }

// Used is the number of places taken.
func (p *Places) Used() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}

// Waiting is the number of connections in line. It takes no lock.
func (p *Places) Waiting() int { return int(p.waiting.Load()) }
