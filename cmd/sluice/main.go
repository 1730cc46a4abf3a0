// Command sluice is a Telegram MTProto proxy for hosts behind a layer-4 load balancer.
//
// The rules of this command line: output goes to standard output and everything else to standard error; an error is one
// line "sluice: error: ...", lower case and without a full stop, and where something helps, "sluice: hint: ..." follows; the
// exit status is 78 for a wrong configuration, 64 for a wrong command line and 1 for all else.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"sluice/engine/config"
)

// Exit statuses. Those of wrong words are EX_USAGE and EX_CONFIG of sysexits.h, which service managers can be told not to retry. 2 is how Go ends
// a program that is broken or that SIGABRT is sent to, as a service manager does when its reports stay away: that is to be tried again.
const (
	exitFailure = 1
	exitUsage   = 64
	exitConfig  = 78
)

// app is what a command may touch.
type app struct {
	out, err io.Writer
	environ  []string
	cores    error // why core dumps stay possible, if they do
}

// command is one row of the command line.
type command struct {
	name, args, summary string
	run                 func(*app, *command, []string) error
}

var commands []*command

func init() { // not in the declaration: help reads the table
	commands = []*command{
		{"run", "", "carry clients until told to stop", (*app).run},
		{"secret", "[--base64] HOST", "make a new secret that looks like the web site HOST", (*app).secret},
		{"link", "[--host HOST] [--port PORT] [--no-qr]", "show the links and QR codes that clients open", (*app).link},
		{"check", "", "read the configuration and show what is in force", (*app).check},
		{"ranges", "[--format plain|nft|ipset|json] [--refresh] [--force] [--of LISTS]", "show from where the load balancer connects, also for a firewall", (*app).ranges},
		{"doctor", "[--json] [--offline] [--own ADDRESSES] [--ignore LOOKS] [--costs [--gb-per-day GB]]", "look for what is wrong, here and around", (*app).doctor},
		{"health", "", "ask a running proxy whether it is well", (*app).health},
		{"version", "", "show the version", (*app).version},
		{"help", "", "show this list", (*app).help},
	}
}

func main() { os.Exit(sluice()) }

// sluice runs the command line of this process and returns its exit status.
func sluice() int {
	cores := forbidCores() // first: after this there are secrets in memory
	a := &app{out: os.Stdout, err: os.Stderr, environ: os.Environ(), cores: cores}
	return a.report(a.dispatch(os.Args[1:]))
}

func (a *app) dispatch(args []string) error {
	if len(args) == 0 {
		a.usage(a.err)
		return errUsageShown
	}
	name := args[0]
	switch name {
	case "-h", "-help", "--help":
		name = "help"
	case "-version", "--version":
		name = "version"
	}
	for _, c := range commands {
		if c.name == name {
			return c.run(a, c, args[1:])
		}
	}
	return usageError{text: fmt.Sprintf("unknown command %q", name), hint: "sluice help lists the commands"}
}

func (a *app) help(_ *command, _ []string) error {
	a.usage(a.out)
	return nil
}

func (a *app) usage(w io.Writer) {
	fmt.Fprint(w, "Sluice is a Telegram proxy that shows a web site to everybody without its secret.\n\n")
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, c := range commands {
		fmt.Fprintf(table, "  sluice %s %s\t%s\n", c.name, c.args, c.summary)
	}
	table.Flush()
	fmt.Fprint(w, "\nSettings are SLUICE_* environment variables: sluice check lists them all, docs/configuration.md explains them.\n")
}

// errUsageShown ends a command line that was answered with the usage text already.
var errUsageShown = errors.New("usage shown")

// usageError is a wrong command line.
type usageError struct{ text, hint string }

func (e usageError) Error() string { return e.text }

// hinted is an error with something to do about it.
type hinted struct {
	error
	hint string
}

func (e hinted) Unwrap() error { return e.error }

// report prints err as the rules above say and returns the exit status.
func (a *app) report(err error) int {
	var problems config.Problems
	var usage usageError
	var hint hinted
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsageShown):
		return exitUsage
	case errors.As(err, &problems):
		for _, p := range problems {
			a.complain("error", p.Error(), p.Hint)
		}
		return exitConfig
	case errors.As(err, &usage):
		a.complain("error", usage.text, usage.hint)
		return exitUsage
	case errors.As(err, &hint):
		a.complain("error", err.Error(), hint.hint)
	default:
		a.complain("error", err.Error(), "")
	}
	return exitFailure
}

func (a *app) complain(kind, text, hint string) {
	fmt.Fprintf(a.err, "sluice: %s: %s\n", kind, text)
	if hint != "" {
		fmt.Fprintf(a.err, "sluice: hint: %s\n", hint)
	}
}

// parse reads a command's flags, which may stand before and behind its arguments, and wants exactly the arguments named.
func (a *app) parse(c *command, flags *flag.FlagSet, args []string, names ...string) ([]string, error) {
	flags.SetOutput(io.Discard)
	var rest []string
	for {
		err := flags.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintf(a.out, "usage: sluice %s %s\n%s\n", c.name, c.args, c.summary)
			return nil, err
		}
		if err != nil {
			return nil, usageError{text: err.Error(), hint: c.usage()}
		}
		if flags.NArg() == 0 {
			break
		}
		rest = append(rest, flags.Arg(0))
		args = flags.Args()[1:]
	}
	switch {
	case len(rest) > len(names):
		return nil, usageError{text: fmt.Sprintf("unexpected argument %q", rest[len(names)]), hint: c.usage()}
	case len(rest) < len(names):
		return nil, usageError{text: names[len(rest)] + " is missing", hint: c.usage()}
	}
	return rest, nil
}

func (c *command) usage() string { return "usage: sluice " + c.name + " " + c.args }

// noArguments is parse for a command that takes none.
func (a *app) noArguments(c *command, args []string) error {
	_, err := a.parse(c, flag.NewFlagSet(c.name, flag.ContinueOnError), args)
	return err
}
