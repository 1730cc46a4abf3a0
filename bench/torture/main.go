// Command torture breaks what a proxy lives on, one thing at a time, under a load of real sessions, and looks whether the sessions that
// the fault was not aimed at lose anything, whether everything works again without help when the fault is over, and whether memory,
// descriptors, pipes and goroutines are then what they were. What it does and what is promised: docs/reliability.md.
//
// Everything happens on loopback in a network and a mount namespace of its own, which end with it. It needs root.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"sluice/bench/far"
)

// options are what the command line says.
type options struct {
	sluice string
	only   []string
	long   bool
	keep   bool
}

// sessions, strangers are the load of every trial; span is how long its phases last.
func (o options) sessions() int {
	if o.long {
		return 100
	}
	return 50
}

func (o options) strangers() int { return o.sessions() / 5 }

func (o options) span() time.Duration {
	if o.long {
		return 5 * time.Second
	}
	return time.Second
}

// other is what this program is as another process of its own, by its first argument.
var other = map[string]func(args []string) error{
	childWord:  child,
	siteWord:   func([]string) error { return far.Serve(os.Stdin, os.Stdout) },
	senderWord: func([]string) error { return serveSender(os.Stdin, os.Stdout) },
}

func main() {
	if len(os.Args) > 1 && other[os.Args[1]] != nil {
		if err := other[os.Args[1]](os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "torture:", err)
			os.Exit(1)
		}
		return
	}
	var o options
	var only string
	list := flag.Bool("list", false, "show the faults and end")
	flag.StringVar(&o.sluice, "sluice", "bin/sluice", "the `program` to torture")
	flag.StringVar(&only, "only", "", "`names` of faults, commas between them")
	flag.BoolVar(&o.long, "long", false, "twice the load, longer faults, and those that take minutes")
	flag.BoolVar(&o.keep, "log", false, "show the proxy's last log lines also when nothing went wrong")
	flag.Parse()
	if *list {
		for _, f := range faults() {
			fmt.Printf("%-22s %s\n", f.name, f.about)
		}
		return
	}
	o.only = strings.FieldsFunc(only, func(r rune) bool { return r == ',' })
	status, err := apart(func() error { return torture(o) })
	if err != nil {
		fmt.Fprintln(os.Stderr, "torture: error:", err)
		status = 1
	}
	os.Exit(status)
}

// torture runs the chosen faults and prints the table.
func torture(o options) error {
	path, err := filepath.Abs(o.sluice)
	if err != nil {
		return err
	}
	o.sluice = path
	chosen, err := choose(faults(), o)
	if err != nil {
		return err
	}
	began, failed := time.Now(), 0
	fmt.Printf("%d faults, %d sessions and %d strangers each, on %d CPUs\n\n", len(chosen), o.sessions(), o.strangers(), runtime.NumCPU())
	fmt.Println(header())
	for _, f := range chosen {
		r := run(f, o)
		fmt.Println(r.row())
		for _, p := range r.problems {
			fmt.Printf("    %s\n", p)
		}
		for _, n := range r.notes {
			fmt.Printf("    note: %s\n", n)
		}
		if len(r.problems) > 0 {
			failed++
		}
		if len(r.problems) > 0 || o.keep {
			fmt.Print(indent(r.log))
		}
	}
	fmt.Printf("\n%d of %d faults passed, in %v\n", len(chosen)-failed, len(chosen), time.Since(began).Round(time.Second))
	if failed > 0 {
		return fmt.Errorf("%d faults failed", failed)
	}
	return nil
}

// choose picks the faults that were asked for by name, or all that the form has.
func choose(all []fault, o options) (chosen []fault, err error) {
	names := map[string]bool{}
	for _, n := range o.only {
		names[n] = true
	}
	for _, f := range all {
		if names[f.name] || len(o.only) == 0 && (o.long || !f.long) {
			chosen = append(chosen, f)
		}
		delete(names, f.name)
	}
	for n := range names {
		return nil, fmt.Errorf("there is no fault %q: -list shows them", n)
	}
	return chosen, nil
}

func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("    | " + line)
	}
	return b.String()
}
