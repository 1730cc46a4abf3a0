package dc

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	firstPenalty = 5 * time.Second // an address that failed is tried last for so long; doubled with every further failure
	maxPenalty   = 5 * time.Minute
)

// Book is the addresses in force with what is remembered of them. Any goroutine may use it.
type Book struct {
	routes map[int]*route
}

// route is one data centre's addresses.
type route struct {
	order atomic.Pointer[order]

	mu    sync.Mutex
	addrs []netip.AddrPort // as configured
	marks []mark
}

// order is an immutable answer of Addrs, good until the next penalty ends.
type order struct {
	addrs []netip.AddrPort
	until time.Time // zero: for ever
}

// mark is what is remembered of one address.
type mark struct {
	failures int
	until    time.Time // tried last until then
}

// NewBook makes the book of the built-in table. An override replaces its data centre's addresses and keeps the order it was
// given in: whoever writes one knows better.
func NewBook(overrides map[int][]netip.AddrPort, p Preference) *Book {
	b := &Book{routes: map[int]*route{}}
	for n, texts := range builtin {
		addrs := make([]netip.AddrPort, len(texts))
		for i, text := range texts {
			addrs[i] = netip.MustParseAddrPort(text)
		}
		b.routes[n] = newRoute(p.apply(addrs))
	}
	for n, addrs := range overrides {
		b.routes[n] = newRoute(slices.Clone(addrs))
	}
	return b
}

func newRoute(addrs []netip.AddrPort) *route {
	r := &route{addrs: addrs, marks: make([]mark, len(addrs))}
	r.order.Store(&order{addrs: addrs})
	return r
}

// Addrs are the addresses of data centre n in the order to try them at the given time, those that failed lately last. The
// slice is shared: read only. It is empty when n is unknown or the preference leaves it nothing.
func (b *Book) Addrs(n int, now time.Time) []netip.AddrPort {
	r := b.routes[n]
	if r == nil {
		return nil
	}
	o := r.order.Load()
	if !o.until.IsZero() && now.After(o.until) {
		r.mu.Lock()
		o = r.sort(now)
		r.mu.Unlock()
	}
	return o.addrs
}

// Report says how a dial of an address of data centre n ended.
func (b *Book) Report(n int, addr netip.AddrPort, ok bool, now time.Time) {
	r := b.routes[n]
	if r == nil {
		return
	}
	i := slices.Index(r.addrs, addr)
	if i < 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	m := &r.marks[i]
	switch {
	case !ok:
		penalty := min(firstPenalty<<min(m.failures, 10), maxPenalty)
		m.failures++
		m.until = now.Add(penalty)
	case m.failures == 0:
		return
	default:
		*m = mark{}
	}
	r.sort(now)
}

// sort publishes the order at the given time. r.mu is held.
func (r *route) sort(now time.Time) *order {
	o := &order{addrs: make([]netip.AddrPort, 0, len(r.addrs))}
	var last []netip.AddrPort
	for i, a := range r.addrs {
		m := r.marks[i]
		if m.until.After(now) {
			last = append(last, a)
			if o.until.IsZero() || m.until.Before(o.until) {
				o.until = m.until
			}
			continue
		}
		o.addrs = append(o.addrs, a)
	}
	o.addrs = append(o.addrs, last...)
	r.order.Store(o)
	return o
}

// Each calls f with every address and whether its last dial, if any, went well.
func (b *Book) Each(f func(n int, addr netip.AddrPort, healthy bool)) {
	for n, r := range b.routes {
		for i, a := range r.addrs {
			r.mu.Lock()
			healthy := r.marks[i].failures == 0
			r.mu.Unlock()
			f(n, a, healthy)
		}
	}
}
