package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
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
	sources, doors := doorsOf(cfg)
	if *of != "" {
		if sources, err = ranges.ParseSources(*of); err != nil {
			return usageError{text: "--of: " + err.Error()}
		}
		openTo(doors, sources)
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
		failed = refreshed(k.Refresh(context.Background(), *force))
	}
	// What is in force is written even so: a failed refresh cuts nobody off.
	if err := k.Write(a.out, *format, doors); err != nil {
		return withHint(errors.Join(failed, err))
	}
	return withHint(errors.Join(failed, k.Missing()))
}

// refreshed is what has failed.
func refreshed(all []ranges.Outcome) (failed error) {
	for _, o := range all {
		if o.Err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", o.Source, o.Err))
		}
	}
	return failed
}

func withHint(err error) error {
	if errors.Is(err, ranges.ErrShrunk) {
		return hinted{err, "look at the list; if it is right, --force takes it"}
	}
	if _, ok := errors.AsType[*ranges.MissingError](err); ok {
		return hinted{err, "--refresh fetches it; a file must be there, and this user must be able to read it and SLUICE_STATE_DIR"}
	}
	return err
}

// doorsOf are the listeners whose ports are known, and the sources of them all.
func doorsOf(cfg *config.Config) (sources []ranges.Source, doors []ranges.Door) {
	for i, e := range cfg.Edges {
		if cfg.Listen[i].Port() != 0 {
			doors = append(doors, ranges.Door{Listener: cfg.Listen[i], Sources: e.Ranges})
		}
		sources = append(sources, e.Ranges...)
	}
	return ranges.Distinct(sources), doors
}

// openTo gives all doors that have ranges the same.
func openTo(doors []ranges.Door, sources []ranges.Source) {
	for i := range doors {
		if doors[i].Sources != nil {
			doors[i].Sources = sources
		}
	}
}
