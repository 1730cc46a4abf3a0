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
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
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
	path, err := exec.LookPath(args[1])
	if err != nil {
		return err
	}
	runtime.LockOSThread() // a filter is a thread's, and an exec keeps the one of the thread that calls it
	if err := install(rules); err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", strings.Join(args[1:], " "), unix.Exec(path, args[1:], os.Environ()))
}

// install puts the filter on the calling thread, for good.
func install(rules []Rule) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	f := program(rules)
	p := unix.SockFprog{Len: uint16(len(f)), Filter: unsafe.SliceData(f)}
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&p)))
	runtime.KeepAlive(f)
	if e != 0 {
		return os.NewSyscallError("seccomp", e)
	}
	return nil
}
