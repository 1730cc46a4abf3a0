// Package deny runs a program on a kernel that seems to lack things: chosen system calls, or chosen uses of them, answer with an error
// and do nothing. It needs no privilege, and whatever the program starts is in the same position.
//
// The program that calls [Command] or [Argv] has to call [Main] before anything else, for it is its own executable that puts on the filter
// (seccomp, which an exec keeps) and then becomes the program asked for.
package deny

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"sluice/bench/seccomp"
)

// name is what the executable is called as when it is to put on a filter.
const name = "sluice-deny"

// Argv is argv run under rules, as the arguments of an exec: the wrapper before it.
func Argv(rules []Rule, argv ...string) []string {
	self, err := os.Executable()
	if err != nil {
		panic(err) // a test without an executable of its own
	}
	all := []string{self, name}
	for _, r := range rules {
		all = append(all, r.String())
	}
	return append(append(all, "--"), argv...)
}

// Command is a command that runs argv under rules. argv[0] is looked for in PATH.
func Command(rules []Rule, argv ...string) *exec.Cmd {
	all := Argv(rules, argv...)
	return exec.Command(all[0], all[1:]...)
}

// Main becomes the program that Argv named, if that is what the process was started for, and else returns.
func Main() {
	if len(os.Args) < 2 || os.Args[1] != name {
		return
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", name, become(os.Args[2:]))
	os.Exit(126)
}

// become puts on the rules before "--" and executes what is behind it. It returns only when that failed.
func become(args []string) error {
	var rules []Rule
	for len(args) > 0 && args[0] != "--" {
		r, err := Parse(args[0])
		if err != nil {
			return err
		}
		rules, args = append(rules, r), args[1:]
	}
	if len(args) < 2 {
		return fmt.Errorf("nothing to run")
	}
	return fmt.Errorf("%s: %w", strings.Join(args[1:], " "), seccomp.Exec(program(rules), args[1:]))
}
