package main

import (
	"fmt"
	"math"
	"slices"

	"sluice/bench/figure"
)

// goal is a limit that the proxy under test sets itself. A missed one fails nothing: times are the machine's too.
type goal struct {
	about    string
	scenario string
	figure   string
	over     string // the baseline that the figure is divided by; empty: the figure itself
	limit    float64
	least    bool // the limit is what it must reach, not what it must stay below
}

var goals = []goal{
	{"download, 8 flows, CPU per GB", "download-8", "cpu_s_per_gb", rawName, 1.5, false},
	{"download, 8 flows, CPU per GB", "download-8", "cpu_s_per_gb", plainName, 0.17, false},
	{"the same across the namespace pair", "download-8-mtu1500", "cpu_s_per_gb", rawName, 1.2, false},
	{"the same across the namespace pair", "download-8-mtu1500", "cpu_s_per_gb", plainName, 0.33, false},
	{"upload, CPU per GB", "upload-8", "cpu_s_per_gb", plainName, 0.55, false},
	{"upload in records of 16 KiB, CPU per GB", "upload-8-16k", "cpu_s_per_gb", plainName, 0.55, false},
	{"fronted relay, CPU per GB", "fronted-8", "cpu_s_per_gb", rawName, 1.1, false},
	{"1 KiB exchange, 64 flows, CPU", "exchange-1k-64", "cpu_us_per_exchange", plainName, 0.68, false},
	{"1 KiB exchange, 64 flows, p99", "exchange-1k-64", "p99_ms", plainName, 1, false},
	{"4 KiB exchange, 64 flows, CPU", "exchange-4k-64", "cpu_us_per_exchange", plainName, 0.68, false},
	{"4 KiB exchange, 64 flows, p99", "exchange-4k-64", "p99_ms", plainName, 1, false},
	{"new session to the first DC byte, CPU", "sessions", "cpu_us_per_session", rawName, 2.5, false},
	{"idle relay once quiet, KiB, 9,000 relays", "idle-9000", "quiet_kib", "", 0.5, false},
	{"idle relay right after traffic, KiB, 9,000 relays", "idle-9000", "moved_kib", "", 1.5, false},
	{"two loops over one, sessions", "cores", "scale", "", 1.8, true},
	{"1,000 stalled clients, process MiB", "stall-1000", "process_mib", "", 64, false},
}

type goalJSON struct {
	About    string  `json:"about"`
	Variant  string  `json:"variant"`
	Wanted   string  `json:"wanted"`
	Measured string  `json:"measured"`
	Value    float64 `json:"value"`
	Outcome  string  `json:"outcome"`
}

// judge holds every build under test against the goals of the scenarios that were run.
func (d *driver) judge() []goalJSON {
	var all []goalJSON
	for _, p := range d.proxies {
		for _, g := range goals {
			i := slices.IndexFunc(d.results, func(r *result) bool { return r.name == g.scenario })
			if i < 0 {
				continue
			}
			if j, ok := g.judge(d.results[i], p.name); ok {
				if len(d.proxies) > 1 {
					j.About += ", " + p.name
				}
				all = append(all, j)
			}
		}
	}
	return all
}

func (g goal) judge(r *result, variant string) (goalJSON, bool) {
	own := r.series(variant, g.figure)
	value, unit := figure.Median(slices.DeleteFunc(slices.Clone(own), math.IsNaN)), ""
	if g.over != "" {
		value, unit = figure.Ratio(own, r.series(g.over, g.figure)), " × "+g.over
	}
	if math.IsNaN(value) {
		return goalJSON{}, false
	}
	sign, met := "≤", value <= g.limit
	if g.least {
		sign, met = "≥", value >= g.limit
	}
	j := goalJSON{
		About: g.about, Variant: variant, Wanted: fmt.Sprintf("%s %v%s", sign, g.limit, unit),
		Measured: numeral(value) + unit, Value: value, Outcome: "met",
	}
	if !met {
		j.Outcome = fmt.Sprintf("missed by %.0f %%", 100*math.Abs(value/g.limit-1))
	}
	return j, true
}
