package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// few is how many fronts, or reasons not to look at them, are told in one sentence.
const few = 3

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

// own notes which front a finding is about, and takes its label out of what was seen.
func (f *front) own(found Finding) Finding {
	found.front = f.label
	found.Seen = strings.TrimPrefix(found.Seen, f.label+" ")
	return found
}

// together makes one finding of one for each front.
func (x *exam) together(good string, all []Finding) Finding {
	if len(all) == 1 {
		return all[0]
	}
	by := map[Status][]Finding{}
	for i, f := range all {
		all[i] = x.fronts[i].own(f)
		by[f.Status] = append(by[f.Status], all[i])
	}
	var sum Finding
	switch skipped := unlooked(by[Skip]); {
	case len(by[Fail])+len(by[Warn]) > 0:
		sum = badOf(by[Fail], by[Warn], len(all))
		sum.Seen += skipped
		return sum
	case len(by[OK]) == 0:
		sum = skip("%s", reasons(all))
	case len(by[OK]) == 1:
		sum = ok("%s: %s%s", by[OK][0].front, by[OK][0].Seen, skipped)
	default:
		sum = ok("%s%s", fmt.Sprintf(good, len(by[OK])), skipped)
	}
	for _, f := range all {
		sum.Details = append(sum.Details, f.front+": "+f.Seen)
	}
	return sum
}

// badOf puts the worst of what was found first, and what is near before what is far: a failure is far if all are.
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
	n := len(fails) + len(warns)
	all := alike(slices.Concat(fails, warns))
	f := all[0].Finding
	f.Seen = fmt.Sprintf("%d of %d fronts: %s: %s", n, fronts, some(all[0].fronts, ", "), f.Seen)
	f.Details = nil
	for i, b := range all {
		if i == 0 && len(b.fronts) <= few {
			continue // all of it has been said
		}
		line := fmt.Sprintf("%s: %s: %s", b.Status, strings.Join(b.fronts, ", "), b.Seen)
		if b.Do != "" && b.Do != f.Do {
			line += "; do: " + b.Do
		}
		f.Details = append(f.Details, line)
	}
	return f
}

// shared is what was found of one front, or of several alike.
type shared struct {
	Finding
	fronts []string
}

// alike brings together what is the same of several fronts.
func alike(all []Finding) (groups []shared) {
	for _, f := range all {
		i := slices.IndexFunc(groups, func(g shared) bool { return g.Status == f.Status && g.Seen == f.Seen && g.Do == f.Do })
		if i < 0 {
			groups = append(groups, shared{f, []string{f.front}})
			continue
		}
		groups[i].fronts = append(groups[i].fronts, f.front)
	}
	return groups
}

// unlooked says of how many fronts nothing was seen, and why.
func unlooked(skipped []Finding) string {
	if len(skipped) == 0 {
		return ""
	}
	return fmt.Sprintf("; %d not looked at: %s", len(skipped), reasons(skipped))
}

// reasons are what some findings say, each once.
func reasons(all []Finding) string {
	var texts []string
	for _, f := range all {
		if !slices.Contains(texts, f.Seen) {
			texts = append(texts, f.Seen)
		}
	}
	return some(texts, "; ")
}

// some writes a few texts, and of the others how many they are.
func some(texts []string, between string) string {
	if more := len(texts) - few; more > 0 {
		texts = append(slices.Clone(texts[:few]), fmt.Sprintf("and %d more", more))
	}
	return strings.Join(texts, between)
}
