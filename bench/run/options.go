package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// options are the command line.
type options struct {
	scenarios  []string
	variants   []string
	proxies    []named // builds of Sluice under test
	peers      []named // other proxies' commands
	rounds     int
	time       time.Duration // of one measurement
	json       string
	table      string
	pin        bool
	congestion string // in namespaces of our own
	quick      bool
	keepLong   bool // a quick run has the scenarios of which it has smaller ones, too
	list       bool
	profiles   string // directory
	verbose    bool
}

// named is a value given as name=value.
type named struct{ name, value string }

type namedFlag struct {
	to       *[]named
	fallback string // the name when there is none
}

func (f namedFlag) String() string { return "" }

func (f namedFlag) Set(text string) error {
	name, value, ok := strings.Cut(text, "=")
	if !ok {
		name, value = f.fallback, text
	}
	if name == "" || value == "" {
		return errors.New("want name=value")
	}
	*f.to = append(*f.to, named{name, value})
	return nil
}

func parseOptions(args []string) (options, error) {
	o := options{}
	var scenarios, variants, pin string
	f := flag.NewFlagSet("run", flag.ContinueOnError)
	f.StringVar(&scenarios, "scenarios", "all", "which to run, commas between; -list names them; * stands for anything in a name, goals for those that goals are set for")
	f.StringVar(&variants, "variants", "", "which variants to run, commas between; default all that are there")
	f.Var(namedFlag{&o.proxies, "sluice"}, "sluice", "the proxy's `binary`, or name=binary; may be given several times (default bin/sluice)")
	f.Var(namedFlag{&o.peers, ""}, "peer", "another proxy, as `name=command` with {addr} {host} {port} {secret} {dc} {dchost} {dcport} {front}; may be given several times")
	f.IntVar(&o.rounds, "rounds", 5, "rounds; each runs every variant once")
	f.DurationVar(&o.time, "time", 3*time.Second, "length of one measurement")
	f.StringVar(&o.json, "json", "", "write the results to this `file`")
	f.StringVar(&o.table, "table", "", "write the Markdown table to this `file` too")
	f.StringVar(&pin, "pin", "auto", "auto: the proxy has one CPU for itself where there are two or more; off: the scheduler decides")
	f.StringVar(&o.congestion, "congestion", "cubic,reno",
		"TCP's congestion control in the network namespaces it makes for itself, the first that a namespace may have; host: the machine's default")
	f.BoolVar(&o.quick, "quick", false, "one short round of everything, small, with every byte checked; times mean nothing")
	f.StringVar(&o.profiles, "profile", "", "profile the proxy in each scenario, once, into this `directory`: CPU, heap, system calls")
	f.BoolVar(&o.list, "list", false, "list the scenarios")
	f.BoolVar(&o.verbose, "v", false, "show every measurement")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("what is %q?", f.Arg(0))
	}
	o.scenarios, o.variants = strings.Split(scenarios, ","), words(variants)
	if len(o.proxies) == 0 {
		o.proxies = []named{{"sluice", "bin/sluice"}}
	}
	if pin != "auto" && pin != "off" {
		return o, fmt.Errorf("-pin is auto or off, not %q", pin)
	}
	o.pin = pin == "auto" && runtime.NumCPU() > 1
	if o.rounds < 1 || o.rounds > 100 || o.time < 100*time.Millisecond || o.time > time.Minute {
		return o, errors.New("-rounds is 1 to 100, -time 100ms to 1m")
	}
	if o.quick {
		o.rounds, o.time = 1, 300*time.Millisecond
	}
	if o.profiles != "" {
		if err := startProfiling(&o); err != nil {
			return o, err
		}
	}
	for _, p := range o.proxies {
		if !o.wants(p.name) {
			continue
		}
		if _, err := os.Stat(p.value); err != nil {
			return o, fmt.Errorf("%w (make build makes it)", err)
		}
	}
	return o, nil
}

// wants says whether a variant of that name is to be run.
func (o options) wants(name string) bool {
	return len(o.variants) == 0 || slices.Contains(o.variants, name)
}

func words(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}
