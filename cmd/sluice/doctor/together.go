package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// mostReasons is how many reasons not to look are told in one sentence.
const mostReasons = 3

// each does n jobs side by side.
func each(n int, job func(int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { job(i) })
	}
	all.Wait()
}

// eachFront judges every front, and makes one finding of it. Good is what is said of several that are as they should be.
func (x *exam) eachFront(ctx context.Context, good string, judge func(context.Context, *front) Finding) Finding {
	if x.cfg.Front.Builtin {
		return skip(builtInPage)
	}
	all := make([]Finding, len(x.fronts))
	each(len(all), func(i int) { all[i] = judge(ctx, x.fronts[i]) })
	return x.together(good, all)
}

// outOfTime is the finding of a look at a front whose turn did not come.
func outOfTime() Finding {
	return warn("run sluice doctor again; if it stays so, look at the fronts that do not answer", "%v", errLate)
}

// of has a finding say which front it is about, if there are several.
func (x *exam) of(f *front, found Finding) Finding {
	if x.several() && found.Status != Skip {
		found.Seen = f.label + ": " + found.Seen
	}
	return found
}

// together makes one finding of one for each front, in their order.
func (x *exam) together(good string, all []Finding) Finding {
	if !x.several() {
		return all[0]
	}
	by := map[Status][]Finding{}
	for i, f := range all {
		if f.Status == Skip {
			f.Details = []string{x.fronts[i].label + ": " + f.Seen}
		}
		by[f.Status] = append(by[f.Status], f)
	}
	switch {
	case len(by[Fail])+len(by[Warn]) > 0:
		return badOf(by[Fail], by[Warn], len(all))
	case len(by[OK]) == 0:
		return Finding{Status: Skip, Seen: reasons(all), Details: detailsOf(all)}
	case len(by[OK]) > 1:
		f := ok(good, len(by[OK]))
		f.Seen += unlooked(by[Skip])
		f.Details = detailsOf(all)
		return f
	}
	return ok("%s%s", by[OK][0].Seen, unlooked(by[Skip]))
}

// badOf puts the worst of what was found first. Fronts that cannot be reached are far if all are.
func badOf(fails, warns []Finding, fronts int) Finding {
	slices.SortStableFunc(fails, func(a, b Finding) int {
		switch {
		case a.far == b.far:
			return 0
		case b.far:
			return -1
		}
		return 1
	})
	all := slices.Concat(fails, warns)
	f := all[0]
	f.Seen = fmt.Sprintf("%d of %d fronts: %s", len(all), fronts, f.Seen)
	if len(all) == 1 {
		return f
	}
	f.Details = nil
	for _, b := range all {
		line := fmt.Sprintf("%s: %s", b.Status, b.Seen)
		if b.Do != "" && b.Do != f.Do {
			line += "; do: " + b.Do
		}
		f.Details = append(f.Details, line)
	}
	return f
}

// detailsOf is a line for each front.
func detailsOf(all []Finding) (lines []string) {
	for _, f := range all {
		if f.Status == Skip && len(f.Details) > 0 {
			lines = append(lines, f.Details...)
		} else {
			lines = append(lines, f.Seen)
		}
	}
	return lines
}

// unlooked says of how many fronts nothing was seen, and why.
func unlooked(skipped []Finding) string {
	if len(skipped) == 0 {
		return ""
	}
	return fmt.Sprintf("; %d not looked at: %s", len(skipped), reasons(skipped))
}

// reasons are what some findings say, each once, and not too many.
func reasons(all []Finding) string {
	var some []string
	for _, f := range all {
		if !slices.Contains(some, f.Seen) {
			some = append(some, f.Seen)
		}
	}
	if more := len(some) - mostReasons; more > 0 {
		some = append(some[:mostReasons], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(some, "; ")
}
