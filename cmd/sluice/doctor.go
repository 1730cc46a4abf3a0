package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"sluice/cmd/sluice/doctor"
	"sluice/engine"
	"sluice/engine/config"
)

// doctorFlags is what a command line of doctor says.
type doctorFlags struct {
	json, offline, costs bool
	given                bool    // perDay is
	perDay               float64 // GB
	own                  []netip.Addr
	ignored              []string
}

// parseDoctor reads the command line.
func (a *app) parseDoctor(c *command, args []string) (f doctorFlags, err error) {
	flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
	flags.BoolVar(&f.json, "json", false, "")
	flags.BoolVar(&f.offline, "offline", false, "")
	flags.BoolVar(&f.costs, "costs", false, "")
	own := flags.String("own", "", "")
	ignore := flags.String("ignore", "", "")
	perDay := flags.String("gb-per-day", "", "")
	if _, err := a.parse(c, flags, args); err != nil {
		return f, err
	}
	if f.own, err = addresses(*own); err != nil {
		return f, usageError{text: "--own: " + err.Error(), hint: "give this host's public addresses, commas between them"}
	}
	if f.perDay, f.given, err = readTraffic(*perDay); err != nil || f.given && !f.costs {
		return f, usageError{text: "--gb-per-day: takes a number, and goes with --costs", hint: c.usage()}
	}
	f.ignored = words(*ignore)
	for _, id := range f.ignored {
		if !slices.Contains(doctor.IDs(), id) {
			return f, usageError{text: fmt.Sprintf("--ignore: there is no look %q", id), hint: "docs/doctor.md lists them"}
		}
	}
	return f, nil
}

// doctor looks at the configuration and at everything around it that can make it fail. It changes nothing.
func (a *app) doctor(c *command, args []string) error {
	f, err := a.parseDoctor(c, args)
	if err != nil {
		return err
	}
	cfg, err := config.Load(a.environ)
	if err != nil {
		return err
	}
	w := doctor.Real(doctor.Needs(engine.NeedsOf(runtime.GOMAXPROCS(0))))
	w.Offline, w.Own = f.offline, f.own
	ctx, done := context.WithTimeout(context.Background(), doctor.TotalTime)
	defer done()
	if f.costs {
		return a.costs(ctx, cfg, w, f)
	}
	report := doctor.Run(ctx, cfg, w, versionText(), f.ignored)
	write := report.WriteText
	if f.json {
		write = report.WriteJSON
	}
	if err := write(a.out); err != nil {
		return err
	}
	if n := report.Failed(); n > 0 {
		return errors.New(failedText(n))
	}
	return nil
}

// costs reckons what the load balancer costs in a month: with the traffic of the running proxy, or with so many GB a day.
func (a *app) costs(ctx context.Context, cfg *config.Config, w doctor.World, f doctorFlags) error {
	var found doctor.Costs
	if f.given {
		found = doctor.GivenCosts(cfg, w.Now(), f.perDay)
	} else {
		var err error
		if found, err = doctor.MeasuredCosts(ctx, cfg, w); err != nil {
			return hinted{err, "start it, or say how much it would be: sluice doctor --costs --gb-per-day 30"}
		}
	}
	if f.json {
		return found.WriteJSON(a.out)
	}
	return found.WriteText(a.out)
}

// mostTraffic is more than there is.
const mostTraffic = 1e9

func readTraffic(text string) (perDay float64, given bool, err error) {
	if text == "" {
		return 0, false, nil
	}
	perDay, err = strconv.ParseFloat(text, 64)
	if err == nil && !(perDay >= 0 && perDay <= mostTraffic) { // not a number either
		err = strconv.ErrRange
	}
	return perDay, true, err
}

func failedText(n int) string {
	if n == 1 {
		return "1 look has failed"
	}
	return fmt.Sprintf("%d looks have failed", n)
}

func words(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

func addresses(list string) (all []netip.Addr, err error) {
	for _, text := range words(list) {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("%q is not an address", text)
		}
		all = append(all, addr.Unmap())
	}
	return all, nil
}
