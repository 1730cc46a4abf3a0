package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"sluice/bench/figure"
)

// report is a run's outcome, as it is written to JSON.
type report struct {
	Facts     []fact         `json:"facts"`
	Scenarios []scenarioJSON `json:"scenarios"`
	Goals     []goalJSON     `json:"goals"`
}

type scenarioJSON struct {
	Name     string              `json:"name"`
	About    string              `json:"about"`
	Figures  []string            `json:"figures"`
	Variants []variantJSON       `json:"variants"`
	Rounds   []map[string]values `json:"rounds"`
	Failures []string            `json:"failures,omitempty"`
}

type variantJSON struct {
	Name    string                    `json:"name"`
	Figures map[string]figure.Summary `json:"figures"`
	// The first figure's ratios, taken inside each round.
	ToRaw   *float64 `json:"to_raw,omitempty"`
	ToPlain *float64 `json:"to_plain,omitempty"`
}

func numeral(v float64) string { return figure.Text(v) }

func (d *driver) report(machine []fact, took time.Duration) *report {
	r := &report{Facts: machine}
	r.Facts = append(r.Facts, fact{"load average after", loadAverage()})
	for _, n := range d.networks {
		r.Facts = append(r.Facts, fact{"set-up", n})
	}
	r.Facts = append(r.Facts, fact{"rounds", fmt.Sprintf("%d interleaved, %v a measurement, %v in all", d.rounds, d.time, took.Round(time.Second))})
	for _, res := range d.results {
		r.Scenarios = append(r.Scenarios, res.json())
	}
	if !d.quick && d.profiles == "" {
		r.Goals = d.judge()
	}
	return r
}

func (r *result) json() scenarioJSON {
	s := scenarioJSON{Name: r.name, About: r.about, Figures: r.figures, Rounds: r.rounds, Failures: r.failures}
	for _, v := range r.variants {
		row := variantJSON{Name: v, Figures: map[string]figure.Summary{}}
		names := map[string]bool{}
		for _, round := range r.rounds {
			for n := range round[v] {
				names[n] = true
			}
		}
		for n := range names {
			present := slices.DeleteFunc(r.series(v, n), math.IsNaN)
			row.Figures[n] = figure.Summarize(present)
		}
		row.ToRaw, row.ToPlain = r.ratio(v, rawName), r.ratio(v, plainName)
		s.Variants = append(s.Variants, row)
	}
	return s
}

// ratio is that of the first figure, nil where there is none.
func (r *result) ratio(variant, base string) *float64 {
	q := figure.Ratio(r.series(variant, r.figures[0]), r.series(base, r.figures[0]))
	if math.IsNaN(q) {
		return nil
	}
	return &q
}

// publish prints the table and writes the files that the options name.
func (r *report) publish(o options) error {
	if o.quick {
		fmt.Println("quick: every scenario small and once; the bytes were checked, the times mean nothing")
	} else {
		r.markdown(os.Stdout)
	}
	if o.table != "" {
		var b strings.Builder
		r.markdown(&b)
		if err := os.WriteFile(o.table, []byte(b.String()), 0o644); err != nil {
			return err
		}
	}
	if o.json == "" {
		return nil
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.json, append(b, '\n'), 0o644)
}

// markdown writes the machine's facts, a table for each kind of figure, and the goals.
func (r *report) markdown(w io.Writer) {
	fmt.Fprintln(w, "| | |\n|---|---|")
	for _, f := range r.Facts {
		fmt.Fprintf(w, "| %s | %s |\n", f.Name, strings.ReplaceAll(f.Value, "|", "\\|"))
	}
	last := ""
	for _, s := range r.Scenarios {
		if columns := strings.Join(s.Figures, " | "); columns != last {
			last = columns
			fmt.Fprintf(w, "\n| scenario | variant | %s | × raw | × plain |\n|---|---|%s---|---|\n", legend(s.Figures), strings.Repeat("---|", len(s.Figures)))
		}
		for _, v := range s.Variants {
			s.row(w, v)
		}
		for _, f := range s.Failures {
			first, _, _ := strings.Cut(f, "\n")
			fmt.Fprintf(w, "| %s | failed: %s |%s\n", s.Name, strings.ReplaceAll(first, "|", "\\|"), strings.Repeat(" |", len(s.Figures)+2))
		}
	}
	if len(r.Goals) == 0 {
		return
	}
	fmt.Fprint(w, "\n| goal | wanted | measured | |\n|---|---|---|---|\n")
	for _, g := range r.Goals {
		fmt.Fprintf(w, "| %s | %s | %s | %s |\n", g.About, g.Wanted, g.Measured, g.Outcome)
	}
}

// row is a variant's medians, of the first figure with the least and the most.
func (s *scenarioJSON) row(w io.Writer, v variantJSON) {
	fmt.Fprintf(w, "| %s | %s |", s.Name, v.Name)
	for i, name := range s.Figures {
		f, ok := v.Figures[name]
		switch {
		case !ok:
			fmt.Fprint(w, " – |")
		case i == 0 && f.Rounds > 1:
			fmt.Fprintf(w, " %s (%s–%s) |", numeral(f.Median), numeral(f.Min), numeral(f.Max))
		default:
			fmt.Fprintf(w, " %s |", numeral(f.Median))
		}
	}
	fmt.Fprintf(w, " %s | %s |\n", optional(v.ToRaw), optional(v.ToPlain))
}

func optional(v *float64) string {
	if v == nil {
		return "–"
	}
	return numeral(*v)
}

// units say what the figures' names mean.
var units = map[string]string{
	"cpu_s_per_gb": "CPU s/GB", "gb_per_s": "GB/s", "cpu_us_per_exchange": "CPU µs/exchange", "p50_ms": "p50 ms", "p99_ms": "p99 ms", "p999_ms": "p99.9 ms",
	"exchanges_per_s": "exchanges/s", "cpu_us_per_session": "CPU µs/session", "sessions_per_cpu_s": "sessions/CPU s", "sessions_per_s": "sessions/s",
	"fresh_kib": "fresh KiB/relay", "moved_kib": "after 64 KiB", "quiet_kib": "quiet KiB/relay", "process_mib": "process MiB", "own_kernel_mib": "its sockets MiB", "kernel_mib": "all sockets MiB",
	"others_ms": "8 others, 4 MiB each, ms", "scale": "two over one", "cpu_share": "share of a CPU",
	"sessions_per_s_1": "sessions/s, 1", "sessions_per_s_2": "sessions/s, 2", "sessions_per_cpu_s_1": "per CPU s, 1", "sessions_per_cpu_s_2": "per CPU s, 2",
}

func legend(figures []string) string {
	var all []string
	for _, f := range figures {
		text, ok := units[f]
		if !ok {
			text = f
		}
		all = append(all, text)
	}
	return strings.Join(all, " | ")
}
