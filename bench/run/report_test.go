package main

import (
	"math"
	"strings"
	"testing"
	"time"
)

// sample is a driver that has run two scenarios.
func sample() *driver {
	download := scenario{name: "download-8", figures: []string{"cpu_s_per_gb", "gb_per_s"}}
	cores := scenario{name: "cores", figures: []string{"scale"}}
	return &driver{
		options: options{rounds: 3, time: time.Second, proxies: []named{{"sluice", "bin/sluice"}}},
		results: []*result{
			{scenario: download, variants: []string{"raw", "sluice"}, rounds: []map[string]values{
				{"raw": {"cpu_s_per_gb": 0.2, "gb_per_s": 3}, "sluice": {"cpu_s_per_gb": 0.28, "gb_per_s": 2}},
				{"raw": {"cpu_s_per_gb": 2, "gb_per_s": 0.3}, "sluice": {"cpu_s_per_gb": 2.8, "gb_per_s": 0.2}}, // a slow moment
				{"raw": {"cpu_s_per_gb": 0.2, "gb_per_s": 3}, "sluice": {"cpu_s_per_gb": 0.4, "gb_per_s": 2}},
			}},
			{scenario: cores, variants: []string{"sluice"}, rounds: []map[string]values{{"sluice": {"scale": 1.5}}}, failures: []string{"sluice: it fell over\nand more"}},
		},
	}
}

func TestReport(t *testing.T) {
	d := sample()
	r := d.report([]fact{{"kernel", "1.2 | 3"}}, time.Minute)
	var b strings.Builder
	r.markdown(&b)
	for _, want := range []string{
		"| kernel | 1.2 \\| 3 |\n",
		"| scenario | variant | CPU s/GB | GB/s | × raw | × plain |\n",
		"| download-8 | raw | 0.200 (0.200–2.00) | 3.00 | 1.00 | – |\n",
		"| download-8 | sluice | 0.400 (0.280–2.80) | 2.00 | 1.40 | – |\n",
		"| cores | failed: sluice: it fell over |",
		"| download, 8 flows, CPU per GB | ≤ 1.5 × raw | 1.40 × raw | met |\n",
		"| two loops over one, sessions | ≥ 1.8 | 1.50 | missed by 17 % |\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "plain |  |") || len(r.Goals) != 2 {
		t.Errorf("goals: %+v", r.Goals)
	}
	d.quick = true
	if r := d.report(nil, 0); r.Goals != nil {
		t.Error("a quick run has goals")
	}
}

func TestSeries(t *testing.T) {
	r := &result{rounds: []map[string]values{{"a": {"x": 1}}, {}, {"a": {"y": 2}}}}
	got := r.series("a", "x")
	if len(got) != 3 || got[0] != 1 || !math.IsNaN(got[1]) || !math.IsNaN(got[2]) {
		t.Errorf("%v", got)
	}
}

func TestPerByte(t *testing.T) {
	v := perByte(span{wall: 2 * time.Second, proxy: time.Second, load: time.Second / 2, far: time.Second / 2, kernel: time.Second}, 4e9)
	for name, want := range (values{"cpu_s_per_gb": 0.25, "gb_per_s": 2, "cpu_share": 0.5, "system_s_per_gb": 0.75, "kernel_s_per_gb": 0.25}) {
		if v[name] != want {
			t.Errorf("%s: %v, want %v", name, v[name], want)
		}
	}
}

func TestChosen(t *testing.T) {
	all := scenarios()
	for _, c := range []struct {
		names string
		want  int
		fails bool
	}{
		{"all", len(all), false},
		{"download-8", 1, false},
		{"download-8,download-*,download-8", 6, false},
		{"*-mtu1500", 6, false},
		{"goals,download-8", 11, false},
		{"download-9", 0, true},
		{"[", 0, true},
	} {
		got, err := chosen(all, strings.Split(c.names, ","))
		if len(got) != c.want && !c.fails || (err != nil) != c.fails {
			t.Errorf("%s: %d, %v; want %d", c.names, len(got), err, c.want)
		}
	}
	seen := map[string]bool{}
	for _, s := range all {
		if seen[s.name] || s.about == "" || len(s.figures) == 0 {
			t.Errorf("%+v", s)
		}
		seen[s.name] = true
		for _, f := range s.figures {
			if units[f] == "" {
				t.Errorf("%s: nobody says what %s is", s.name, f)
			}
		}
	}
	for _, g := range goals {
		if !seen[g.scenario] {
			t.Errorf("a goal for %s, which is no scenario", g.scenario)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, args := range []string{
		"-rounds 0", "-rounds 101", "-time 1ms", "-time 2m", "-pin maybe", "stray", "-sluice /nonexistent", "-peer nameless", "-peer =x", "-nonsense",
	} {
		if _, err := parseOptions(append(strings.Fields(args), "-sluice", "ok=/dev/null")); err == nil {
			t.Errorf("%s was accepted", args)
		}
	}
	o, err := parseOptions(strings.Fields("-sluice /dev/null -sluice old=/dev/null -peer p=x -variants raw,old -scenarios a,b -pin off"))
	if err != nil || o.pin || len(o.proxies) != 2 || o.proxies[0].name != "sluice" || o.proxies[1].name != "old" ||
		len(o.peers) != 1 || len(o.variants) != 2 || len(o.scenarios) != 2 {
		t.Errorf("%+v, %v", o, err)
	}
	var names []string
	for _, v := range o.allVariants() {
		names = append(names, v.name)
	}
	if got := strings.Join(names, " "); got != "raw plain sluice old p" {
		t.Errorf("variants: %s", got)
	}
}

func TestCallTable(t *testing.T) {
	s := span{wall: 2 * time.Second}
	s.clients.Wire, s.clients.Exchanges = 100<<20, 1000
	got := callTable(map[string]float64{"splice": 500, "sendto": 100, "read": 0}, s, time.Second, "counting")
	for _, want := range []string{
		"50.0 MiB, 500 exchanges, 0 sessions\n", "splice 500 10.0 1.00 –\n", "sendto 100 2.00 0.200 –\n", "all of these 600 12.0 1.20 –\n",
	} {
		if !strings.Contains(strings.Join(strings.Fields(got), " ")+"\n", strings.TrimSpace(want)) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "read") {
		t.Error("a call that was not made is listed")
	}
}
