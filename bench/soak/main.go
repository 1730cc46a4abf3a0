// Command soak keeps the proxy busy for a long time while everything around it fails now and then, and says whether it has
// held: clients that come and go, strangers, replays, reloads, data centres and fronts that go away, too few descriptors, a
// process that stands still. It samples memory, descriptors, pipes and lag, draws them, and judges by rules. See docs/soak.md.
//
//	go run ./bench/soak -sluice bin/sluice -time 10m -out bin/soak
//	go run ./bench/soak -report bin/soak
//
// Nothing leaves the machine, everything is bounded, and every process it starts ends with it. The exit status is 1 if a rule is
// broken.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options are what the command line says.
type options struct {
	binary string
	out    string
	time   time.Duration // of the load
	every  time.Duration // between samples
	seed   uint64
	rate   float64 // arrivals a second
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once, and the proxy with it
	err := command(ctx, os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "soak: error:", err)
		os.Exit(1)
	}
}

var errNotHeld = errors.New("a rule is broken")

// command runs a soak, or writes the report of one that has ended.
func command(ctx context.Context, args []string, out io.Writer) error {
	o, report, err := parse(args)
	if err != nil {
		return err
	}
	dir := report
	if report == "" {
		dir = o.out
		if err := soakInto(ctx, o, out); err != nil {
			return err
		}
	}
	held, err := writeReport(dir, out)
	if err == nil && !held {
		err = errNotHeld
	}
	return err
}

func parse(args []string) (o options, report string, err error) {
	f := flag.NewFlagSet("soak", flag.ContinueOnError)
	f.StringVar(&o.binary, "sluice", "bin/sluice", "the proxy to soak")
	f.StringVar(&o.out, "out", "bin/soak", "the directory for the record, the report and the graphs")
	f.DurationVar(&o.time, "time", 10*time.Minute, "how long the load lasts")
	f.DurationVar(&o.every, "every", time.Second, "how often it is sampled")
	f.Uint64Var(&o.seed, "seed", 1, "of everything that is random")
	f.Float64Var(&o.rate, "rate", 8, "connections begun a second")
	f.StringVar(&report, "report", "", "write the report of the record in this directory again, and run nothing")
	if err := f.Parse(args); err != nil {
		return o, "", err
	}
	switch {
	case f.NArg() > 0:
		err = fmt.Errorf("what is %q?", f.Arg(0))
	case o.time < 5*time.Second || o.time > 48*time.Hour:
		err = errors.New("-time is 5s to 48h")
	case o.every < 100*time.Millisecond || o.every > o.time/10:
		err = errors.New("-every is 100ms to a tenth of -time")
	case o.rate < 0.1 || o.rate > 50:
		err = errors.New("-rate is 0.1 to 50")
	}
	return o, report, err
}
