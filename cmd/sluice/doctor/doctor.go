// Package doctor looks at a configuration and at what is around it, as an operator would who has time and knows where to look:
// names, certificates, the load balancer, the clock, the data centres, the front, leaks of the origin and limits of the host.
//
// It changes nothing, and everything that it touches comes in as a [World], so that a test can stand in for each failure.
// Every look is bounded in time; what cannot be asked is said so, and is no failure.
package doctor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"sluice/engine/config"
)

// Status is how a finding came out.
type Status string

const (
	// OK: as it should be.
	OK Status = "ok"
	// Warn: it works, and somebody may come to regret it; or it could not be asked.
	Warn Status = "warn"
	// Fail: the set-up does not do what it is for.
	Fail Status = "fail"
	// Skip: it does not apply here, or was not to be asked.
	Skip Status = "skip"
)

// Finding is the outcome of one look.
type Finding struct {
	// ID names the look; it stays the same from one version to the next.
	ID     string `json:"id"`
	Title  string `json:"title"`
	Status Status `json:"status"`
	// Seen is what was found.
	Seen string `json:"seen"`
	// Why says why it matters.
	Why string `json:"why"`
	// Do says what to do about it; empty when there is nothing to be done.
	Do string `json:"do,omitempty"`
	// Details are lists too long for a sentence.
	Details []string `json:"details,omitempty"`

	front string // which one it is about, where it is about one of several
	far   bool   // a failure that only says that something far away was not reached
}

// Report is all that was found, in the order of the catalogue.
type Report struct {
	Version  string         `json:"version"`
	Time     time.Time      `json:"time"`
	Status   Status         `json:"status"` // the worst of the findings
	Counts   map[Status]int `json:"counts"`
	Findings []Finding      `json:"findings"`
}

// check makes the findings of some IDs.
type check struct {
	ids []string
	run func(context.Context, *exam) []Finding
}

// one is a check with one finding.
func one(id string, f func(context.Context, *exam) Finding) check {
	return check{ids: []string{id}, run: func(ctx context.Context, x *exam) []Finding { return []Finding{f(ctx, x).named(id)} }}
}

func (f Finding) named(id string) Finding {
	f.ID = id
	return f
}

// Run makes every look, side by side, and returns when the slowest has ended or ctx has. Those in ignore are reported as not
// looked at.
func Run(ctx context.Context, cfg *config.Config, w World, version string, ignore []string) Report {
	x := newExam(ctx, cfg, w)
	all := allChecks()
	results := make([]chan []Finding, len(all))
	for i, c := range all {
		results[i] = make(chan []Finding, 1) // so that a look that is given up ends all the same
		go func() { results[i] <- c.run(ctx, x) }()
	}
	over, giveUp := context.WithCancel(context.Background())
	defer giveUp()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(w.Grace, giveUp) })()
	var found []Finding
	for i, c := range all {
		select {
		case f := <-results[i]:
			found = append(found, f...)
			continue
		case <-over.Done():
		}
		select {
		case f := <-results[i]: // it was in time, and only its turn was not
			found = append(found, f...)
		default:
			found = append(found, late(c)...)
		}
	}
	if !x.reached.Load() {
		excuse(found)
	}
	return report(found, w.Now(), version, ignore)
}

// late are the findings of a check that did not end in time.
func late(c check) (all []Finding) {
	for _, id := range c.ids {
		all = append(all, Finding{ID: id, Status: Warn, Seen: "could not be asked in the time there was", Do: "run sluice doctor again; if it stays so, look at the host's network and resolver"})
	}
	return all
}

// excuse turns failures to reach something far away into warnings: nothing far away could be reached.
func excuse(found []Finding) {
	for i := range found {
		if f := &found[i]; f.far && f.Status == Fail {
			f.Status, f.Seen = Warn, "could not be asked, for nothing beyond this host can be reached: "+f.Seen
		}
	}
}

func report(found []Finding, now time.Time, version string, ignore []string) Report {
	r := Report{Version: version, Time: now.UTC(), Status: OK, Counts: map[Status]int{OK: 0, Warn: 0, Fail: 0, Skip: 0}}
	for i := range found {
		f := &found[i]
		if slices.Contains(ignore, f.ID) {
			*f = Finding{ID: f.ID, Status: Skip, Seen: "not looked at: --ignore"}
		}
		at := place(f.ID)
		f.Title, f.Why = catalogue[at].title, catalogue[at].why
		r.Counts[f.Status]++
	}
	slices.SortStableFunc(found, func(a, b Finding) int { return place(a.ID) - place(b.ID) })
	r.Findings = found
	switch {
	case r.Counts[Fail] > 0:
		r.Status = Fail
	case r.Counts[Warn] > 0:
		r.Status = Warn
	}
	return r
}

// Failed says how many findings are failures.
func (r Report) Failed() int { return r.Counts[Fail] }

func ok(format string, args ...any) Finding {
	return Finding{Status: OK, Seen: fmt.Sprintf(format, args...)}
}

func skip(format string, args ...any) Finding {
	return Finding{Status: Skip, Seen: fmt.Sprintf(format, args...)}
}

func warn(do, format string, args ...any) Finding {
	return Finding{Status: Warn, Seen: fmt.Sprintf(format, args...), Do: do}
}

func fail(do, format string, args ...any) Finding {
	return Finding{Status: Fail, Seen: fmt.Sprintf(format, args...), Do: do}
}
