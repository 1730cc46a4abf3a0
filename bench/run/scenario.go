package main

import (
	"fmt"
	"path"
	"slices"
)

// values are what one measurement found, by the name of the figure.
type values map[string]float64

// scenario is one kind of load.
type scenario struct {
	name    string
	about   string
	bridge  bool     // across the pair of namespaces
	not     []string // variants that it makes no sense for
	own     bool     // for the proxy under test alone: no baseline and no peer
	long    bool     // quick runs leave it out
	figures []string // that go into the table; ratios are taken of the first
	run     func(*bench, variant) (values, error)
}

const gb = 1e9

// scenarios are all there are, in the order of the goals.
func scenarios() []scenario {
	var all []scenario
	for _, bridge := range []bool{false, true} {
		all = append(all, bulkScenarios(bridge)...)
	}
	all = append(all, exchangeScenarios()...)
	all = append(all, sessionScenarios()...)
	all = append(all, idleScenarios()...)
	return append(all, coresScenario(), stallScenario(), eveningScenario())
}

// chosen are the scenarios that a list selects: of names, patterns, "all", and "goals" for those that goals are set for.
func chosen(all []scenario, names []string) ([]scenario, error) {
	var got []scenario
	for _, n := range names {
		switch n {
		case "all":
			n = "*"
		case "goals":
			for _, s := range all {
				judged := slices.ContainsFunc(goals, func(g goal) bool { return g.scenario == s.name })
				if judged && !slices.ContainsFunc(got, func(x scenario) bool { return x.name == s.name }) {
					got = append(got, s)
				}
			}
			continue
		}
		found := false
		for _, s := range all {
			ok, err := path.Match(n, s.name)
			if err != nil {
				return nil, err
			}
			found = found || ok
			if ok && !slices.ContainsFunc(got, func(x scenario) bool { return x.name == s.name }) {
				got = append(got, s)
			}
		}
		if !found {
			return nil, fmt.Errorf("no scenario %q; -list names them", n)
		}
	}
	return got, nil
}
