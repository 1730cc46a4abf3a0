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
		doors = nil // whose lists these are not: sets alone
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
	a.warnOfBuiltIn(k, cfg.StateDir)
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

// warnOfFiles says which files of ranges a proxy started now could not use.
func (a *app) warnOfFiles(cfg *config.Config) {
	sources, _ := doorsOf(cfg)
	for _, s := range sources {
		if s.Path == "" {
			continue
		}
		if _, err := ranges.NewKeeper([]ranges.Source{s}, "", nil, time.Now); err != nil {
			a.complain("warning", err.Error(), "the proxy starts without this list's ranges, or with the last good ones that it has kept, and looks again at every refresh and reload")
		}
	}
}

// warnOfBuiltIn says which lists are old because none is kept where this user looks: the proxy may run with a directory of its own.
func (a *app) warnOfBuiltIn(k *ranges.Keeper, dir string) {
	if dir == "" {
		dir = "any directory"
	}
	for _, s := range k.States() {
		if s.BuiltIn {
			a.complain("warning", fmt.Sprintf("%s is the list that came with the program, as of %s: none is kept in %s", s.Source, s.Taken.Format(time.DateOnly), dir),
				"--refresh fetches it; a proxy that runs as a service keeps its own in its SLUICE_STATE_DIR, as /var/lib/sluice: set that here, too")
		}
	}
}
