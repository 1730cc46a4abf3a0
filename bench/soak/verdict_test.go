package main

import (
	"bytes"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// soundRun is a record of an hour without anything wrong, with the scatter, the bursts and the gaps that runs have.
func soundRun() (*record, []sample) {
	r := &record{
		Asked: 3600, Lasted: 3600.01, Every: 5, Rate: 8, Bytes: 1 << 30, Good: map[string]int{"probe": 4},
		Before: rest{Descriptors: map[string]int{"socket": 10, "pipe": 4}, Pipes: 2, Goroutines: 16, Resident: 14 << 20},
		After:  rest{Descriptors: map[string]int{"socket": 10, "pipe": 2}, Pipes: 1, Goroutines: 15, Resident: 15 << 20},
	}
	for _, k := range kinds {
		r.Good[k.name] = 2500
	}
	r.Errors = []string{"reload refused, everything stays as it was", "accept: too many open files"}
	for i := range 60 {
		f := fault{Kind: injectors[i%len(injectors)].kind, From: float64(i)*60 + 30, Until: float64(i)*60 + 35}
		switch f.Kind {
		case descriptorsFault:
			f.Restarts = 2
		case dcFault:
			r.Ends = append(r.Ends, end{Kind: "chat", DC: lameDC, From: f.From - 20, Opened: f.From - 19, To: f.From + 0.1, Error: "EOF"})
		}
		r.Faults = append(r.Faults, f)
	}
	rnd := rand.New(rand.NewPCG(1, 1))
	var all []sample
	for at := 5.0; at < 3610; at += 5 {
		var v sample
		v[colTime], v[colResident] = at, float64(18<<20)+rnd.NormFloat64()*float64(300<<10)
		if math.Mod(at, 360) < 20 { // after a burst
			v[colResident] += 2 << 20
		}
		for _, f := range r.Faults {
			if f.Until <= at {
				v[colRestarts] += f.Restarts
			}
		}
		if math.Mod(at, 300) == 0 { // the page did not answer
			v[colRestarts], v[colPanics] = math.NaN(), math.NaN()
		}
		all = append(all, v)
	}
	return r, all
}

func broken(rules []rule) (names []string) {
	for _, u := range rules {
		if !u.Held {
			names = append(names, u.Name)
		}
	}
	return names
}

func TestSoundRunIsHeld(t *testing.T) {
	r, samples := soundRun()
	if rules := judge(r, samples); !held(rules) {
		t.Errorf("broken: %+v", broken(rules))
	}
}

// Whatever is planted breaks its rule, and no other.
func TestPlantedFaultsBreakTheirRule(t *testing.T) {
	add := func(col int, f func(at float64) float64) func(*record, []sample) {
		return func(_ *record, samples []sample) {
			for i := range samples {
				samples[i][col] += f(samples[i][colTime])
			}
		}
	}
	lost := func(x end) func(*record, []sample) {
		return func(r *record, _ []sample) { r.Ends = append(r.Ends, x) }
	}
	after := func(change func(*rest)) func(*record, []sample) {
		return func(r *record, _ []sample) {
			r.After.Descriptors = maps.Clone(r.After.Descriptors)
			change(&r.After)
		}
	}
	for name, c := range map[string]struct {
		plant func(*record, []sample)
		rule  string
	}{
		"a leak of 5 MiB an hour":      {add(colResident, func(at float64) float64 { return 5 << 20 * at / 3600 }), "resident memory"},
		"a leak of 2 KiB a handshake":  {add(colResident, func(at float64) float64 { return 2 << 10 * 8 * at }), "resident memory"},
		"a leak with every burst":      {add(colResident, func(at float64) float64 { return float64(1<<20) * math.Floor(at/360) }), "resident memory"},
		"a leak in the last half":      {add(colResident, func(at float64) float64 { return 40 << 20 * max(0, at-1800) / 3600 }), "resident memory"},
		"memory not known":             {add(colResident, func(float64) float64 { return math.NaN() }), "resident memory|looked at"},
		"a panic":                      {add(colPanics, func(at float64) float64 { return math.Floor(at / 3000) }), "panicked"},
		"the metrics page never came":  {add(colPanics, func(float64) float64 { return math.NaN() }), "panicked"},
		"a restart without a fault":    {add(colRestarts, func(at float64) float64 { return math.Floor(at / 2000) }), "accepting began"},
		"a wrong byte":                 {lost(end{Kind: "chat", DC: lameDC, From: 90, Opened: 91, To: 92, Wrong: true}), "every byte|no connection ended"},
		"a session at the steady DC":   {lost(end{Kind: "chat", DC: steadyDC, From: 90, Opened: 91, To: 92, Error: "EOF"}), "no connection ended"},
		"a session between two faults": {lost(end{Kind: "chat", DC: lameDC, From: 111, Opened: 112, To: 119, Error: "EOF"}), "no connection ended"},
		"a replay let in":              {lost(end{Kind: "replay", From: 210, To: 212, LetIn: true}), "let in|no connection ended"},
		"a socket left":                {after(func(a *rest) { a.Descriptors["socket"] = 11 }), "nothing was left"},
		"a new kind of descriptor":     {after(func(a *rest) { a.Descriptors["anon_inode"] = 1 }), "nothing was left"},
		"a pipe too many":              {after(func(a *rest) { a.Pipes = 3 }), "nothing was left"},
		"a pipe still busy":            {after(func(a *rest) { a.Busy = 1 }), "nothing was left"},
		"rest that nobody saw":         {after(func(a *rest) { a.Descriptors = nil }), "nothing was left"},
		"a goroutine left":             {after(func(a *rest) { a.Goroutines = 17 }), "nothing was left"},
		"goroutines not known":         {after(func(a *rest) { a.Goroutines = -1 }), "nothing was left"},
		"a connection left":            {after(func(a *rest) { a.Connections = 1 }), "nothing was left"},
		"a connection at the DC left":  {after(func(a *rest) { a.Far = 1 }), "nothing was left"},
		"a fault that stayed":          {func(r *record, _ []sample) { r.Faults[3].Failed = "not within 20s" }, "all worked again"},
		"an error in the log":          {func(r *record, _ []sample) { r.Errors = append(r.Errors, "a relay loop ended") }, "no error was logged"},
		"a bad exit":                   {func(r *record, _ []sample) { r.ExitedBy = "exit status 1" }, "good order"},
		"an interrupted run":           {func(r *record, _ []sample) { r.Lasted = 3000 }, "the load was there"},
		"a kind that never came":       {func(r *record, _ []sample) { delete(r.Good, "upload") }, "the load was there"},
		"a fault that never came": {func(r *record, s []sample) {
			r.Faults = slices.DeleteFunc(r.Faults, func(f fault) bool { return f.Kind == burstFault })
		}, "the load was there"},
		"hardly a connection": {func(r *record, _ []sample) {
			for k := range r.Good {
				r.Good[k] = 1
			}
		}, "the load was there"},
		"faults that explain too much": {func(r *record, _ []sample) {
			for range 10_000 {
				r.Ends = append(r.Ends, r.Ends[0])
			}
		}, "the load was there"},
		"nothing checked":   {func(r *record, _ []sample) { r.Bytes = 0 }, "every byte"},
		"no fault was made": {func(r *record, _ []sample) { r.Faults, r.Ends = nil, nil }, "all worked again|the load was there|accepting began"},
	} {
		t.Run(name, func(t *testing.T) {
			r, samples := soundRun()
			c.plant(r, samples)
			got, want := broken(judge(r, samples)), strings.Split(c.rule, "|")
			if len(got) != len(want) {
				t.Fatalf("broken: %q", got)
			}
			for _, w := range want {
				if !slices.ContainsFunc(got, func(g string) bool { return strings.Contains(g, w) }) {
					t.Errorf("not broken: %s, but %q", w, got)
				}
			}
		})
	}
}

// A sampler that died half-way is noticed, even where all that it has seen is good.
func TestSamplerThatDied(t *testing.T) {
	r, samples := soundRun()
	if got := broken(judge(r, samples[:len(samples)/2])); !slices.Contains(got, "it was looked at all the time") {
		t.Errorf("broken: %q", got)
	}
}

// What is granted is bounded: a leak cannot hide in scatter, and growth below the bound is no leak.
func TestGrowth(t *testing.T) {
	for name, c := range map[string]struct {
		perHour, scatter float64 // MiB
		hours            float64
		held             bool
	}{
		"steady":                        {0, 0.3, 1.5, true},
		"within the bound":              {1.5, 0.3, 1.5, true},
		"beyond it":                     {4, 0.3, 1.5, false},
		"much scatter":                  {0, 4, 1.5, true},
		"a leak in much scatter":        {12, 4, 1.5, false},
		"ten minutes":                   {0, 0.3, 1. / 6, true},
		"a leak in ten minutes":         {30, 0.3, 1. / 6, false},
		"seconds":                       {600, 0.3, 20. / 3600, true},
		"a leak that shows in a second": {6000, 0.3, 20. / 3600, false},
	} {
		t.Run(name, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(4, 4))
			var all []sample
			seconds := c.hours * 3600 * 2 / 3
			for i := range 800 {
				var v sample
				v[colTime] = seconds * float64(i) / 800
				v[colResident] = (20 + c.perHour*v[colTime]/3600 + c.scatter*rnd.NormFloat64()) * (1 << 20)
				all = append(all, v)
			}
			if g := growth(all); g.held() != c.held {
				t.Error(g)
			}
		})
	}
	if growth(nil).held() || growth(make([]sample, 7)).held() {
		t.Error("no samples, no growth")
	}
}

func TestExplains(t *testing.T) {
	during := func(kind string, x end) bool { return fault{Kind: kind, From: 100, Until: 104}.explains(x) }
	open := func(dc int16, to float64) end { return end{DC: dc, From: 50, Opened: 51, To: to} }
	opening := func(dc int16, from, to float64) end { return end{DC: dc, From: from, To: to} }
	for name, c := range map[string]struct {
		kind string
		x    end
		want bool
	}{
		"session at the DC that is down":           {dcFault, open(lameDC, 101), true},
		"it notices late":                          {dcFault, open(lameDC, 108), true},
		"it notices too late":                      {dcFault, open(lameDC, 110), false},
		"it ended before":                          {dcFault, open(lameDC, 99.9), false},
		"session at the other DC":                  {dcFault, open(steadyDC, 101), false},
		"opening at the DC that is down":           {dcFault, opening(lameDC, 103, 120), true},
		"opening at the other DC":                  {dcFault, opening(steadyDC, 103, 120), false},
		"opening after the DC is back":             {dcFault, opening(lameDC, 104.1, 120), false},
		"stranger while the DC is down":            {dcFault, opening(0, 101, 102), false},
		"stranger while the front is down":         {frontFault, opening(0, 101, 102), true},
		"stranger before the front is down":        {frontFault, opening(0, 90, 99), false},
		"session while the front is down":          {frontFault, open(steadyDC, 101), false},
		"opening while the front is down":          {frontFault, opening(steadyDC, 101, 102), false},
		"session while there are few descriptors":  {descriptorsFault, open(lameDC, 101), false},
		"opening while there are few descriptors":  {descriptorsFault, opening(steadyDC, 99, 101), true},
		"stranger while there are few descriptors": {descriptorsFault, opening(0, 99, 101), true},
		"session during a reload":                  {reloadFault, open(steadyDC, 101), false},
		"opening during a reload":                  {reloadFault, opening(steadyDC, 101, 102), false},
		"stranger during a reload":                 {reloadFault, opening(0, 101, 102), false},
		"session while the process stands still":   {stopFault, open(lameDC, 101), false},
		"opening while the process stands still":   {stopFault, opening(lameDC, 101, 102), false},
		"session during a burst":                   {burstFault, open(steadyDC, 101), false},
		"stranger of a burst":                      {burstFault, opening(0, 101, 102), false},
		"wrong bytes from the DC that is down":     {dcFault, end{DC: lameDC, From: 50, Opened: 51, To: 101, Wrong: true}, false},
		"a replay let in while there are too few":  {descriptorsFault, end{From: 101, To: 102, LetIn: true}, false},
	} {
		if got := during(c.kind, c.x); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestSamplesAreReadAsWritten(t *testing.T) {
	_, samples := soundRun()
	var b bytes.Buffer
	if err := writeSamples(&b, samples); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	got, err := readSamples(&b)
	if err != nil || len(got) != len(samples) {
		t.Fatalf("%d of %d, %v", len(got), len(samples), err)
	}
	for i := range got {
		for col := range columns {
			a, b := samples[i][col], got[i][col]
			if math.IsNaN(a) != math.IsNaN(b) || math.Abs(a-b) > 1e-6*math.Abs(a) {
				t.Fatalf("%s of %d: %v, was %v", columnNames[col], i, b, a)
			}
		}
	}
	for name, bad := range map[string]string{
		"nothing":       "",
		"other columns": strings.Replace(text, "sockets", "rockets", 1),
		"no number":     strings.Replace(text, "\n5,", "\nfive,", 1),
		"short":         text[:len(text)-40],
	} {
		if _, err := readSamples(strings.NewReader(bad)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
