package main

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// place is a thread from which processes are started: they have its CPUs and its network namespace. The thread ends with the driver
// at the latest.
type place struct {
	cpus []int // empty: all
	work chan func()
	tid  int
}

// newPlace makes a thread on the given CPUs.
func newPlace(cpus []int) (*place, error) {
	p := &place{cpus: cpus, work: make(chan func())}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		p.tid = unix.Gettid()
		err := p.stay()
		started <- err
		if err != nil {
			return
		}
		for f := range p.work {
			f()
		}
	}()
	return p, <-started
}

func (p *place) stay() error {
	if len(p.cpus) > 0 {
		var set unix.CPUSet
		for _, c := range p.cpus {
			set.Set(c)
		}
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			return fmt.Errorf("sched_setaffinity: %w", err)
		}
	}
	return nil
}

// do runs f on the place's thread.
func (p *place) do(f func() error) error {
	done := make(chan error, 1)
	p.work <- func() { done <- f() }
	return <-done
}

// arrange has cmd's process end with the driver. It is to be started by do.
func arrange(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// close ends the thread, and with it every process that was started on it.
func (p *place) close() { close(p.work) }

// allowedCPUs are those that this process may use.
func allowedCPUs() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, err
	}
	var all []int
	for i := range 1024 {
		if set.IsSet(i) {
			all = append(all, i)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("no CPU")
	}
	return all, nil
}
