package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// childWord is the first argument of the program when it is to become the proxy.
const childWord = "child"

// box is the surroundings of a proxy: whose process it is, and who answers its system calls.
type box struct {
	user       int    // 0: root
	supervised bool   // a supervisor may refuse some of its system calls, and tells it the time
	memory     int64  // bytes of its control group; 0: none
	state      string // directory; empty: the rig's
	done       func() // what is to be undone
	failed     error  // it could not be made

	super *supervisor
	group *group
}

// command is what starts the proxy in the box. A nil box is no box.
func (b *box) command(r *rig) ([]string, error) {
	if b == nil {
		return []string{r.sluice}, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{self, childWord, "-user", strconv.Itoa(b.user)}
	if b.supervised {
		if b.super, err = newSupervisor(r.dir + "/supervisor"); err != nil {
			return nil, err
		}
		args = append(args, "-supervisor", b.super.path)
	}
	if b.memory > 0 {
		if b.group, err = newGroup(b.memory); err != nil {
			return nil, err
		}
		args = append(args, "-group", b.group.dir)
	}
	program := r.sluice
	if b.user != 0 { // who may not get to where it is
		program = r.dir + "/sluice"
		if err := copyFile(program, r.sluice); err != nil {
			return nil, err
		}
	}
	return append(args, "--", program), nil
}

func copyFile(to, from string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o755)
}

// opened is called when the proxy runs.
func (b *box) opened() error {
	if b == nil || b.super == nil {
		return nil
	}
	return b.super.ready()
}

// close undoes the box when the proxy has ended.
func (b *box) close() {
	if b == nil {
		return
	}
	if b.super != nil {
		b.super.close()
	}
	if b.group != nil {
		b.group.close()
	}
	if b.done != nil {
		b.done()
	}
}

// child makes this process what a box says and then the program that follows. It returns only on failure.
func child(args []string) error {
	flags := flag.NewFlagSet(childWord, flag.ContinueOnError)
	user := flags.Int("user", 0, "")
	path := flags.String("supervisor", "", "")
	group := flags.String("group", "", "")
	hogging := flags.Bool("hog", false, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *group != "" {
		if err := os.WriteFile(*group+"/cgroup.procs", []byte("0"), 0); err != nil { // 0 is who writes
			return fmt.Errorf("control group: %w", err)
		}
	}
	if *path != "" {
		if err := submit(*path); err != nil {
			return fmt.Errorf("supervisor: %w", err)
		}
	}
	if *user != 0 {
		if err := become(*user); err != nil {
			return fmt.Errorf("user %d: %w", *user, err)
		}
	}
	if *hogging {
		return hog()
	}
	rest := flags.Args()
	return syscall.Exec(rest[0], rest, os.Environ())
}

// become makes this process another user's. It must not outlive who started it, which the change would have it forget.
func become(user int) error {
	return errors.Join(syscall.Setgroups(nil), syscall.Setresgid(user, user, user), syscall.Setresuid(user, user, user),
		unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0))
}
