package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sluice/engine/config"
	"sluice/engine/edge/ranges"
)

var errNoEdge = hinted{
	errors.New("no list of ranges is configured"),
	"set SLUICE_EDGE to the load balancer in front, or name the lists here: --of " + strings.Join(ranges.Known(), ","),
}

// ranges writes the addresses that the load balancer connects from, for people and for firewalls. It asks the publishers only
// when told to; without --refresh it writes what a proxy started now would use.
func (a *app) ranges(c *command, args []string) error {
	flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
	format := flags.String("format", ranges.Plain, "")
	refresh := flags.Bool("refresh", false, "")
	force := flags.Bool("force", false, "")
	of := flags.String("of", "", "")
	if _, err := a.parse(c, flags, args); err != nil {
		return err
	}
	if !slices.Contains(ranges.Formats(), *format) {
		return usageError{text: fmt.Sprintf("there is no format %q", *format), hint: c.usage()}
	}
	cfg, err := config.Load(a.environ)
	if err != nil {
		return err
	}
	sources, listeners := guarded(cfg)
	if *of != "" {
		if sources, err = ranges.ParseSources(*of); err != nil {
			return usageError{text: "--of: " + err.Error()}
		}
		listeners = nil // whose lists these are not: sets alone
	}
	if len(sources) == 0 {
		return errNoEdge
	}
	k, err := ranges.NewKeeper(sources, cfg.StateDir, ranges.NewClient(), time.Now)
	if err != nil {
		a.complain("warning", err.Error(), "")
	}
	var failed error
	if *refresh || *force {
		for _, o := range k.Refresh(context.Background(), *force) {
			if o.Err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s: %w", o.Source, o.Err))
			}
		}
	}
	for _, s := range k.States() {
		if s.BuiltIn {
			a.complain("warning", fmt.Sprintf("%s is the list that came with the program, as of %s: none is kept in %s", s.Source, s.Taken.Format(time.DateOnly), orNowhere(cfg.StateDir)),
				"--refresh fetches it; a proxy that runs as a service keeps its own in its SLUICE_STATE_DIR, as /var/lib/sluice: set that here, too")
		}
	}
	if differ(cfg) && *of == "" && *format != ranges.JSON {
		a.complain("warning", "the listeners have different lists, which are written as one: a firewall with it opens each port to all of them",
			"the proxy itself, and its guard, tell them apart; for rules of your own, --of writes one list")
	}
	// What is in force is written even so: a failed refresh cuts nobody off.
	err = k.Write(a.out, *format, listeners)
	if errors.Is(err, ranges.ErrNoListYet) && !*refresh {
		return hinted{err, "--refresh fetches it; a file must be readable for who runs this"}
	}
	if err != nil {
		return errors.Join(failed, err)
	}
	if errors.Is(failed, ranges.ErrShrunk) {
		return hinted{failed, "look at the list; if it is right, --force takes it"}
	}
	return failed
}

func orNowhere(dir string) string {
	if dir == "" {
		return "any directory"
	}
	return dir
}

// guarded are the listeners that have ranges, and the sources of them all.
func guarded(cfg *config.Config) (sources []ranges.Source, listeners []netip.AddrPort) {
	for i, e := range cfg.Edges {
		if e.Ranges == nil {
			continue
		}
		if cfg.Listen[i].Port() != 0 {
			listeners = append(listeners, cfg.Listen[i])
		}
		for _, s := range e.Ranges {
			if !slices.ContainsFunc(sources, func(o ranges.Source) bool { return o.Name == s.Name }) {
				sources = append(sources, s)
			}
		}
	}
	return sources, listeners
}

// differ says whether there are listeners whose lists are not the same.
func differ(cfg *config.Config) bool {
	var keys []string
	for _, e := range cfg.Edges {
		if e.Ranges != nil {
			keys = append(keys, ranges.Key(e.Ranges))
		}
	}
	slices.Sort(keys)
	return len(slices.Compact(keys)) > 1
}
