package sandbox

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"sluice/bench/seccomp"
)

// Verdict is what becomes of a call that is not on the list.
type Verdict string

const (
	// Kill ends the process with SIGSYS: nothing off the list goes unnoticed.
	Kill Verdict = "kill"
	// Refuse answers EPERM, as the unit and the container profile do.
	Refuse Verdict = "refuse"
)

var verdicts = map[Verdict]uint32{
	Kill:   unix.SECCOMP_RET_KILL_PROCESS,
	Refuse: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM),
}

// name is what the executable is called as when it is to put on the filter.
const name = "sluice-sandbox"

// Argv is argv run under the list, as the arguments of an exec. It needs no privilege. The program that asks has to call [Main] before
// anything else, for it is its own executable that puts on the filter, which an exec keeps, and becomes the other.
func Argv(v Verdict, argv ...string) []string {
	self, err := os.Executable()
	if err != nil {
		panic(err) // a test without an executable of its own
	}
	return append([]string{self, name, string(v)}, argv...)
}

// Main becomes the program that Argv named, if that is what the process was started for, and else returns.
func Main() {
	if len(os.Args) < 2 || os.Args[1] != name {
		return
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", name, become(os.Args[2:]))
	os.Exit(126)
}

// become returns only when it failed.
func become(args []string) error {
	if len(args) < 2 {
		return errors.New("nothing to run")
	}
	verdict, ok := verdicts[Verdict(args[0])]
	if !ok {
		return fmt.Errorf("%q is no verdict", args[0])
	}
	return seccomp.Exec(program(verdict), args[1:])
}
