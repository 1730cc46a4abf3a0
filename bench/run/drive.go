package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// result is what the rounds of one scenario found.
type result struct {
	scenario
	variants []string
	rounds   []map[string]values
	failures []string
}

// series are a variant's values of one figure, round by round, NaN where there is none.
func (r *result) series(variant, figure string) []float64 {
	var s []float64
	for _, round := range r.rounds {
		v, ok := round[variant][figure]
		if !ok {
			v = math.NaN()
		}
		s = append(s, v)
	}
	return s
}

// driver runs the scenarios and keeps a bench for each kind of network.
type driver struct {
	options
	ctx      context.Context
	proxy    []int // CPUs
	load     []int
	benches  map[bool]*bench
	networks []string // what they are, for the report
	results  []*result
}

// drive runs what the options ask for and reports it. An error means that something did not work, never that it was slow.
func drive(ctx context.Context, o options) error {
	all := scenarios()
	if o.list {
		for _, s := range all {
			fmt.Printf("%-22s %s\n", s.name, s.about)
		}
		return nil
	}
	picked, err := chosen(all, o.scenarios)
	if err != nil {
		return err
	}
	if o.quick && !o.keepLong {
		picked = slices.DeleteFunc(picked, func(s scenario) bool { return s.long })
	}
	d := &driver{options: o, ctx: ctx, benches: map[bool]*bench{}}
	defer d.close()
	if err := d.layOut(); err != nil {
		return err
	}
	machine := machineFacts(o)
	began := time.Now()
	for _, s := range picked {
		if err = d.scenario(s); err != nil {
			break
		}
	}
	r := d.report(machine, time.Since(began))
	if reportErr := r.publish(o); reportErr != nil {
		return errors.Join(err, reportErr)
	}
	return errors.Join(err, d.failure())
}

// layOut decides which CPUs are whose, and says so.
func (d *driver) layOut() error {
	cpus, err := allowedCPUs()
	if err != nil {
		return err
	}
	if !d.pin || len(cpus) < 2 {
		d.say("nothing is pinned: the scheduler decides on which of %d CPUs what runs", len(cpus))
		return nil
	}
	d.proxy, d.load = cpus[len(cpus)-1:], cpus[:len(cpus)-1]
	d.say("pinned: the proxy to CPU %v, load and far side to %v; -pin off leaves it to the scheduler", d.proxy, d.load)
	return nil
}

func (d *driver) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	d.networks = append(d.networks, text)
	fmt.Fprintln(os.Stderr, text)
}

// bench returns the bench for a kind of network; the first call makes it.
func (d *driver) bench(bridge bool) (*bench, error) {
	if b := d.benches[bridge]; b != nil {
		return b, nil
	}
	n, err := d.network(bridge)
	if err != nil {
		return nil, err
	}
	d.say("network: %s; congestion control: %s", n.note, n.congestion)
	b, err := newBench(d.ctx, d.options, n)
	d.benches[bridge] = b
	return b, err
}

func (d *driver) network(bridge bool) (*network, error) {
	if bridge {
		return wire(d.proxy, d.load, d.congestion)
	}
	n, err := ownLoopback(d.proxy, d.load, d.congestion)
	if err != nil {
		d.say("no network namespace of its own (%v): the machine's loopback and its congestion control are used", err)
		return plainNetwork(d.proxy, d.load)
	}
	return n, nil
}

// scenario runs all rounds. What fails is noted and the rest goes on, unless the whole run is being ended.
func (d *driver) scenario(s scenario) error {
	r := &result{scenario: s}
	var variants []variant
	for _, v := range d.allVariants() {
		if d.wants(v.name) && !slices.Contains(s.not, v.name) && (!s.own || v.own) {
			variants = append(variants, v)
			r.variants = append(r.variants, v.name)
		}
	}
	d.results = append(d.results, r)
	b, err := d.bench(s.bridge)
	if err != nil {
		r.failures = append(r.failures, err.Error())
		fmt.Fprintf(os.Stderr, "%s: %v\n", s.name, err)
		return nil
	}
	if d.profiles != "" {
		b.profile = &profiling{dir: filepath.Join(d.profiles, s.name)}
		if err := os.MkdirAll(b.profile.dir, 0o755); err != nil {
			return err
		}
	}
	failed := map[string]bool{}
	for round := range d.rounds {
		found := map[string]values{}
		r.rounds = append(r.rounds, found)
		for i := range variants {
			v := variants[(i+round)%len(variants)] // another one is first each time
			if failed[v.name] {
				continue
			}
			began := time.Now()
			got, err := s.run(b, v)
			if ended := context.Cause(d.ctx); ended != nil {
				return ended
			}
			if err != nil {
				failed[v.name] = true
				r.failures = append(r.failures, fmt.Sprintf("%s: %v", v.name, err))
				fmt.Fprintf(os.Stderr, "%s, %s: %v\n", s.name, v.name, err)
				continue
			}
			found[v.name] = got
			fmt.Fprintf(os.Stderr, "%-22s round %d/%d  %-10s %s  (%v)\n", s.name, round+1, d.rounds, v.name, d.line(s, got),
				time.Since(began).Round(100*time.Millisecond))
		}
	}
	return nil
}

// line is one measurement for whoever watches.
func (d *driver) line(s scenario, got values) string {
	names := s.figures
	if d.verbose {
		names = nil
		for n := range got {
			names = append(names, n)
		}
		slices.Sort(names)
	}
	var words []string
	for _, n := range names {
		words = append(words, n+" "+numeral(got[n]))
	}
	return strings.Join(words, "  ")
}

// failure is an error when any variant failed in any scenario.
func (d *driver) failure() error {
	var all []error
	for _, r := range d.results {
		for _, f := range r.failures {
			first, _, _ := strings.Cut(f, "\n")
			all = append(all, fmt.Errorf("%s: %s", r.name, first))
		}
	}
	return errors.Join(all...)
}

func (d *driver) close() {
	for _, b := range d.benches {
		if b != nil {
			b.close()
		}
	}
}
