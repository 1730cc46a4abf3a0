// Package metric is what the process can tell a monitoring system about itself: a catalogue of families, the counters and histograms the
// engine feeds, and their exposition in the Prometheus text format.
//
// The [Catalogue] is the only list of names. A series that does not fit it is a mistake of ours and panics when it is made, at
// start; docs/metrics.md is generated from it. Labels are bounded: no client address, no server name and no secret is ever one.
package metric

import (
	"bytes"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"strings"
	"sync"

	"github.com/VictoriaMetrics/metrics"
)

// Set holds the series of one engine. Its methods may be called by any goroutine.
type Set struct {
	cells int // a power of two

	mu       sync.Mutex
	families map[string]*family
}

// family is the series of one catalogue row.
type family struct {
	def    *Def
	series []series              // sorted by name
	each   func(b *bytes.Buffer) // in place of series
}

// series is one line of the exposition, or the lines of one histogram.
type series struct {
	name  string // with its labels, as it is written
	write func(w io.Writer, name string)
}

// NewSet makes an empty set whose counters have a cell of their own for each of that many shards: one for each goroutine, most
// often a loop, that counts often.
func NewSet(shards int) *Set {
	cells := 1 << bits.Len(uint(max(shards, 1)-1))
	return &Set{cells: cells, families: make(map[string]*family)}
}

// WritePrometheus writes all families that have series, sorted by name, with their help and type. The callbacks of gauges run
// while it does; they must be quick and must not use the set. What w answers is not looked at: a scraper that went away
// notices by itself.
func (s *Set) WritePrometheus(w io.Writer) {
	var b bytes.Buffer
	s.mu.Lock()
	for i := range Catalogue {
		if f := s.families[Catalogue[i].Name]; f != nil {
			f.write(&b)
		}
	}
	s.mu.Unlock()
	_, _ = w.Write(b.Bytes())
}

func (f *family) write(b *bytes.Buffer) {
	d := f.def
	// The library's own metadata has empty help, which lints as an error, and a process-wide switch.
	fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s %s\n", d.Name, helpEscaper.Replace(d.Help), d.Name, d.Type)
	for _, s := range f.series {
		s.write(b, s.name)
	}
	if f.each != nil {
		f.each(b)
	}
}

// WriteProcess writes the families go_* and process_* of the library: memory, processor time, garbage collection. They are not in the
// catalogue and carry no help.
func WriteProcess(w io.Writer) { metrics.WriteProcessMetrics(w) }

// Counter makes a counter that the engine feeds. Labels are pairs of key and value, in any order. It panics unless name is a counter of
// the catalogue, the keys are those of its row, and the series is new.
func (s *Set) Counter(name string, labels ...string) *Counter {
	c := &Counter{cells: newCells(s.cells)}
	s.CounterFunc(name, c.Value, labels...)
	return c
}

// CounterFunc makes a counter whose value is kept elsewhere. f is called by the goroutine that writes the exposition. It panics as
// [Set.Counter] does.
func (s *Set) CounterFunc(name string, f func() uint64, labels ...string) {
	s.add(name, TypeCounter, labels, func(w io.Writer, name string) { metrics.WriteCounterUint64(w, name, f()) })
}

// Gauge makes a gauge read from f, which is called by the goroutine that writes the exposition. It panics as [Set.Counter] does.
func (s *Set) Gauge(name string, f func() float64, labels ...string) {
	s.add(name, TypeGauge, labels, func(w io.Writer, name string) { metrics.WriteGaugeFloat64(w, name, f()) })
}

// GaugeEach makes a gauge whose series come and go, such as one for each address of a table that is reloaded: at each exposition f
// calls emit once for every series there is. It panics when the family has series already; emit panics on labels that do
// not fit the catalogue.
func (s *Set) GaugeEach(name string, f func(emit func(value float64, labels ...string))) {
	s.addEach(name, TypeGauge, func(b *bytes.Buffer, d *Def) {
		f(func(value float64, labels ...string) { metrics.WriteGaugeFloat64(b, d.series(labels), value) })
	})
}

// CounterEach is GaugeEach for counters. A series that has been emitted once must go on being emitted.
func (s *Set) CounterEach(name string, f func(emit func(value uint64, labels ...string))) {
	s.addEach(name, TypeCounter, func(b *bytes.Buffer, d *Def) {
		f(func(value uint64, labels ...string) { metrics.WriteCounterUint64(b, d.series(labels), value) })
	})
}

func (s *Set) addEach(name, kind string, write func(b *bytes.Buffer, d *Def)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.family(name, kind)
	if f.each != nil || len(f.series) > 0 {
		panic("metric: series of " + name + " made twice")
	}
	f.each = func(b *bytes.Buffer) { write(b, f.def) }
}

// family returns the family of that name, made if it is new. The caller holds the lock.
func (s *Set) family(name, kind string) *family {
	d := lookup(name, kind)
	f := s.families[name]
	if f == nil {
		f = &family{def: d}
		s.families[name] = f
	}
	return f
}

func (s *Set) add(name, kind string, labels []string, write func(io.Writer, string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.family(name, kind)
	full := f.def.series(labels)
	i, found := slices.BinarySearchFunc(f.series, full, func(x series, n string) int { return strings.Compare(x.name, n) })
	if found || f.each != nil {
		panic("metric: series " + full + " made twice")
	}
	f.series = slices.Insert(f.series, i, series{full, write})
}

// Bool is a gauge's value for a condition: 1 if it holds, else 0.
func Bool(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
