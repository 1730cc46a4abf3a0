package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Bounds of the verdict.
const (
	mostExcused = 0.15 // of all connections: more, and the faults have hidden the rest
	longRun     = 300  // seconds from which on every kind and every fault must have been there
)

// rule is one thing that had to hold.
type rule struct {
	Name string
	Got  string
	Held bool
}

// judge says of every rule whether it held.
func judge(r *record, samples []sample) []rule {
	t := tally(r)
	g := growth(loaded(r, samples))
	left := r.After.more(r.Before)
	restarts := restartsAlone(r, samples)
	panics := highest(samples, colPanics)
	logged := unasked(r.Errors)
	rules := []rule{
		{"every byte was right", fmt.Sprintf("%d connections with a wrong one; %.2f GB checked", t.wrong, float64(r.Bytes)/1e9), t.wrong == 0 && r.Bytes > 0},
		{"no connection ended without a fault that explains it", fmt.Sprintf("%d of %d", len(t.unexplained), t.all), len(t.unexplained) == 0},
		{"no replay, wrong clock or wrong key was let in", fmt.Sprint(t.letIn), t.letIn == 0},
		{"no loop panicked", number(panics), panics == 0},
		{"accepting began again only for want of descriptors", fmt.Sprintf("%s times without, %s with", number(restarts), number(t.restarts)), restarts == 0},
		{"all worked again soon after every fault", recoveries(r), len(r.Faults) > 0 && !slices.ContainsFunc(r.Faults, fault.failed)},
		{"nothing was left when the load was over", leftText(r.After, left), len(left) == 0 && r.After.quiet()},
		{"resident memory did not grow", g.String(), g.held()},
		{"no error was logged that no fault asks for", strings.Join(append([]string{fmt.Sprint(len(logged))}, logged...), "; "), len(logged) == 0},
		{"the proxy ended in good order", orElse(r.ExitedBy, "status 0"), r.ExitedBy == ""},
		{"the load was there", presence(r, t), present(r, t)},
		{"it was looked at all the time", fmt.Sprintf("%d samples", len(samples)), watched(r, samples)},
	}
	return rules
}

// errorsOfFaults are parts of the errors that reloads of a wrong file and a lack of descriptors ask for.
var errorsOfFaults = []string{
	"reload refused", "accepting stopped by itself", "handshakes fail for want of descriptors", "too many open files",
}

// unasked are the errors that no fault asks for.
func unasked(errors []string) (rest []string) {
	for _, e := range errors {
		if !slices.ContainsFunc(errorsOfFaults, func(part string) bool { return strings.Contains(e, part) }) {
			rest = append(rest, e)
		}
	}
	return rest
}

func held(rules []rule) bool {
	return !slices.ContainsFunc(rules, func(u rule) bool { return !u.Held })
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

func number(v float64) string {
	if math.IsNaN(v) {
		return "unknown"
	}
	return fmt.Sprint(v)
}

// sums are what the ledger comes to.
type sums struct {
	all, good, wrong, letIn int
	explained               map[string]int // by the fault's kind
	excused                 int
	unexplained             []end
	restarts                float64 // in faults that ask for them
}

func tally(r *record) (t sums) {
	t.explained = map[string]int{}
	for _, n := range r.Good {
		t.good += n
	}
	t.all = t.good + r.Cut + len(r.Ends)
	for _, x := range r.Ends {
		if x.Wrong {
			t.wrong++
		}
		if x.LetIn {
			t.letIn++
		}
		i := slices.IndexFunc(r.Faults, func(f fault) bool { return f.explains(x) })
		if i < 0 {
			t.unexplained = append(t.unexplained, x)
			continue
		}
		t.excused++
		t.explained[r.Faults[i].Kind]++
	}
	for _, f := range r.Faults {
		if f.Kind == descriptorsFault {
			t.restarts += f.Restarts
		}
	}
	return t
}

// highest is the greatest value of a column; NaN when it was never seen.
func highest(samples []sample, col int) float64 {
	most := math.NaN()
	for _, v := range samples {
		if math.IsNaN(most) || v[col] > most {
			most = v[col]
		}
	}
	return most
}

// restartsAlone are those that no lack of descriptors explains.
func restartsAlone(r *record, samples []sample) float64 {
	n := highest(samples, colRestarts)
	for _, f := range r.Faults {
		if f.Kind == descriptorsFault {
			n -= f.Restarts
		}
	}
	return n
}

// quiet says whether nothing is carried. Where nothing could be seen, nothing is known of it.
func (r rest) quiet() bool {
	return len(r.Descriptors) > 0 && r.Connections == 0 && r.Busy == 0 && r.Far == 0
}

// like says whether a later look saw the same.
func (r rest) like(o rest) bool { return len(r.more(o)) == 0 && len(o.more(r)) == 0 }

// more is what r holds that before did not.
func (r rest) more(before rest) (what []string) {
	for kind, n := range r.Descriptors {
		if was := before.Descriptors[kind]; n > was {
			what = append(what, fmt.Sprintf("%s: %d, were %d", kind, n, was))
		}
	}
	for _, f := range []struct {
		name     string
		now, was float64
	}{{"pipes", r.Pipes, before.Pipes}, {"goroutines", r.Goroutines, before.Goroutines}} {
		if f.now < 0 || f.now > f.was {
			what = append(what, fmt.Sprintf("%s: %v, were %v", f.name, f.now, f.was))
		}
	}
	slices.Sort(what)
	return what
}

func leftText(after rest, left []string) string {
	switch {
	case len(left) > 0:
		return strings.Join(left, "; ")
	case !after.quiet():
		return fmt.Sprintf("%v connections, %v at the data centres, %v busy pipes", after.Connections, after.Far, after.Busy)
	}
	return "descriptors, pipes and goroutines are back"
}

func recoveries(r *record) string {
	failed := []string{}
	for _, f := range r.Faults {
		if f.failed() {
			failed = append(failed, fmt.Sprintf("%s at %.0f s: %s", f.Kind, f.From, f.Failed))
		}
	}
	return strings.Join(append([]string{fmt.Sprintf("%d of %d", len(r.Faults)-len(failed), len(r.Faults))}, failed...), "; ")
}

// present says whether there was enough load for the rest to mean something.
func present(r *record, t sums) bool {
	if r.Lasted < r.Asked-1 || t.good == 0 || float64(t.all) < r.Rate*r.Asked/2 || float64(t.excused) > mostExcused*float64(t.all) {
		return false
	}
	return len(missing(r)) == 0
}

// missing are the kinds and faults that a long run has not had.
func missing(r *record) (names []string) {
	if r.Asked < longRun {
		return nil
	}
	for _, k := range kinds {
		if r.Good[k.name] == 0 {
			names = append(names, k.name)
		}
	}
	for _, i := range injectors {
		if !slices.ContainsFunc(r.Faults, func(f fault) bool { return f.Kind == i.kind }) {
			names = append(names, i.kind)
		}
	}
	return names
}

func presence(r *record, t sums) string {
	text := fmt.Sprintf("%.0f s of %.0f, %d connections, %d of them ended by a fault", r.Lasted, r.Asked, t.all, t.excused)
	if m := missing(r); len(m) > 0 {
		text += "; never: " + strings.Join(m, ", ")
	}
	return text
}

// watched says whether no third of the load went by with fewer than half of its samples.
func watched(r *record, samples []sample) bool {
	for third := range 3 {
		from, to := r.Asked*float64(third)/3, r.Asked*float64(third+1)/3
		n := 0.0
		for _, v := range samples {
			if v[colTime] >= from && v[colTime] < to && !math.IsNaN(v[colResident]) {
				n++
			}
		}
		if n < (to-from)/r.Every/2 {
			return false
		}
	}
	return true
}
