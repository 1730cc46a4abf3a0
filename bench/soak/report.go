package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"sluice/bench/figure"
)

const summaryFile = "summary.md"

// writeReport judges the run whose record is in dir and writes what there is to read: summary.md and the graphs. It says the
// verdict on out.
func writeReport(dir string, out io.Writer) (bool, error) {
	r, samples, err := readRecord(dir)
	if err != nil {
		return false, err
	}
	rules := judge(r, samples)
	for name, c := range charts(r, samples) {
		if err := writeChart(filepath.Join(dir, name), c); err != nil {
			return false, err
		}
	}
	text := summary(r, samples, rules)
	if err := os.WriteFile(filepath.Join(dir, summaryFile), []byte(text), 0o644); err != nil {
		return false, err
	}
	for _, u := range rules {
		fmt.Fprintf(out, "soak: %-6s %s: %s\n", verdict(u.Held), u.Name, u.Got)
	}
	for i, x := range tally(r).unexplained {
		if i == 10 {
			fmt.Fprintln(out, "soak:        and more")
			break
		}
		fmt.Fprintf(out, "soak:        %s, DC %d, from %.1f s, open at %.1f s, until %.1f s: %s\n", x.Kind, x.DC, x.From, x.Opened, x.To, x.Error)
	}
	fmt.Fprintf(out, "soak: %s\n", filepath.Join(dir, summaryFile))
	return held(rules), nil
}

func verdict(held bool) string {
	if held {
		return "held"
	}
	return "BROKEN"
}

func readRecord(dir string) (*record, []sample, error) {
	b, err := os.ReadFile(filepath.Join(dir, recordFile))
	if err != nil {
		return nil, nil, err
	}
	r := &record{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", recordFile, err)
	}
	f, err := os.Open(filepath.Join(dir, samplesFile))
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	samples, err := readSamples(f)
	return r, samples, err
}

func writeChart(path string, c chart) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(c.write(f), f.Close())
}

// charts are the graphs by the names of their files.
func charts(r *record, samples []sample) map[string]chart {
	var marks []mark
	for _, f := range r.Faults {
		marks = append(marks, mark{f.Kind, f.From})
	}
	length := r.Lasted
	if len(samples) > 0 {
		length = max(length, samples[len(samples)-1][colTime])
	}
	over := func(title, unit string, scale float64, lines ...line) chart {
		return chart{title: title, unit: unit, scale: scale, lines: lines, marks: marks, length: length}
	}
	of := func(name string, col int) line { return series(name, samples, col) }
	lag := over("Lag: an exchange of 64 bytes, a new session to its first byte", "ms", 1e-3,
		of("exchange p50", colExchange50), of("exchange p99", colExchange99), of("new session p50", colHandshake50), of("new session p99", colHandshake99))
	lag.log = true
	return map[string]chart{
		"rss.svg":         over("Resident memory", "MiB", 1<<20, of("resident", colResident)),
		"descriptors.svg": over("Descriptors of the proxy", "", 1, of("sockets", colSockets), of("pipes", colPipeEnds), of("others", colOthers)),
		"pipes.svg":       over("Pipes", "", 1, of("idle", colPipesIdle), of("busy", colPipesBusy)),
		"lag.svg":         lag,
		"connections.svg": over("Connections at the proxy, and its goroutines", "", 1, of("relays", colRelays), of("fronted", colFronts),
			of("handshakes", colHandshakes), of("goroutines", colGoroutines)),
		"sockets.svg": over("TCP buffers of the whole machine", "MiB", 1<<20, of("memory", colSocketMemory)),
	}
}

// chartOrder is how the graphs are shown.
var chartOrder = []string{"rss.svg", "descriptors.svg", "pipes.svg", "lag.svg", "connections.svg", "sockets.svg"}

func series(name string, samples []sample, col int) line {
	l := line{name: name}
	for _, v := range samples {
		l.at, l.y = append(l.at, v[colTime]), append(l.y, v[col])
	}
	return l
}

// summary is the run in Markdown, with links to the graphs beside it.
func summary(r *record, samples []sample, rules []rule) string {
	var b strings.Builder
	word := "held"
	if !held(rules) {
		word = "did not hold"
	}
	fmt.Fprintf(&b, "The proxy %s: %.0f minutes of load, %d faults.\n\n", word, r.Lasted/60, len(r.Faults))
	table(&b, []string{"", ""}, facts(r, samples))
	var rows [][]string
	for _, u := range rules {
		rows = append(rows, []string{u.Name, u.Got, verdict(u.Held)})
	}
	table(&b, []string{"rule", "seen", ""}, rows)
	table(&b, []string{"figure", "least", "median", "99 %", "most"}, figures(r, samples))
	table(&b, []string{"connections", "as planned", "ended by a fault", "unexplained"}, ends(r))
	table(&b, []string{"fault", "times", "longest to work again, s", "connections it ended", "restarts of accepting"}, faultRows(r))
	for _, name := range chartOrder {
		fmt.Fprintf(&b, "![%s](%s)\n\n", strings.TrimSuffix(name, ".svg"), name)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func table(b *strings.Builder, head []string, rows [][]string) {
	fmt.Fprintf(b, "| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat("---|", len(head)))
	for _, row := range rows {
		for i := range row {
			row[i] = strings.ReplaceAll(row[i], "|", `\|`)
		}
		fmt.Fprintf(b, "| %s |\n", strings.Join(row, " | "))
	}
	b.WriteString("\n")
}

func facts(r *record, samples []sample) [][]string {
	proxy, own := share(samples, colProxyCPU), share(samples, colSoakCPU)
	return [][]string{
		{"date", r.Date},
		{"machine", r.Machine},
		{"proxy", r.Version},
		{"load", fmt.Sprintf("%.0f s, %g connections begun a second, seed %d", r.Lasted, r.Rate, r.Seed)},
		{"payload checked", fmt.Sprintf("%.2f GB", float64(r.Bytes)/1e9)},
		{"processor time", fmt.Sprintf("%.1f %% of one CPU by the proxy, %.1f %% by the load, data centres and site", proxy, own)},
	}
}

// share is per cent of one CPU over the run, of a column that counts seconds.
func share(samples []sample, col int) float64 {
	var first, last sample
	found := false
	for _, v := range samples {
		if math.IsNaN(v[col]) {
			continue
		}
		if !found {
			first, found = v, true
		}
		last = v
	}
	return 100 * (last[col] - first[col]) / max(last[colTime]-first[colTime], 1e-9)
}

func figures(r *record, samples []sample) (rows [][]string) {
	for _, f := range []struct {
		name  string
		col   int
		scale float64
	}{
		{"resident, MiB", colResident, 1 << 20},
		{"sockets", colSockets, 1},
		{"pipe descriptors", colPipeEnds, 1},
		{"other descriptors", colOthers, 1},
		{"pipes busy", colPipesBusy, 1},
		{"goroutines", colGoroutines, 1},
		{"relays", colRelays, 1},
		{"fronted", colFronts, 1},
		{"exchange p50, ms", colExchange50, 1e-3},
		{"exchange p99, ms", colExchange99, 1e-3},
		{"new session p50, ms", colHandshake50, 1e-3},
		{"new session p99, ms", colHandshake99, 1e-3},
	} {
		var v []float64
		for _, s := range samples {
			if s[colTime] <= r.Lasted && !math.IsNaN(s[f.col]) {
				v = append(v, s[f.col]/f.scale)
			}
		}
		if len(v) == 0 {
			continue
		}
		slices.Sort(v)
		rows = append(rows, []string{
			f.name, figure.Text(v[0]), figure.Text(figure.Median(v)), figure.Text(v[len(v)*99/100]), figure.Text(v[len(v)-1]),
		})
	}
	return rows
}

func ends(r *record) (rows [][]string) {
	excused, unexplained := map[string]int{}, map[string]int{}
	names := map[string]bool{}
	for n := range r.Good {
		names[n] = true
	}
	for _, x := range r.Ends {
		names[x.Kind] = true
		if slices.ContainsFunc(r.Faults, func(f fault) bool { return f.explains(x) }) {
			excused[x.Kind]++
		} else {
			unexplained[x.Kind]++
		}
	}
	for _, n := range slices.Sorted(maps.Keys(names)) {
		rows = append(rows, []string{n, fmt.Sprint(r.Good[n]), fmt.Sprint(excused[n]), fmt.Sprint(unexplained[n])})
	}
	return append(rows, []string{"still there when the load was over", fmt.Sprint(r.Cut), "", ""})
}

func faultRows(r *record) (rows [][]string) {
	explained := tally(r).explained
	for _, i := range injectors {
		times, longest, restarts := 0, 0.0, 0.0
		for _, f := range r.Faults {
			if f.Kind == i.kind {
				times++
				longest, restarts = max(longest, f.Until-f.From), restarts+f.Restarts
			}
		}
		rows = append(rows, []string{i.kind, fmt.Sprint(times), figure.Text(longest), fmt.Sprint(explained[i.kind]), fmt.Sprint(restarts)})
	}
	return rows
}

// version is what the proxy says of itself.
func version(binary string) string {
	cmd := exec.Command(binary, "version")
	cmd.Env = []string{}
	said, err := cmd.Output()
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(said), "\n")
	return first
}
