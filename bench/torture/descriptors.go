package main

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

var descriptorFaults = []fault{
	{
		name: "none", about: "nothing breaks: what the load itself does",
		meanwhile: func(t *trial) error { time.Sleep(t.span()); return nil },
	},
	{
		name: "emfile", about: "the process's limit of descriptors sinks to what it holds, and the kernel refuses accept, socket and pipe",
		hurts: victims{clients: true, strangers: true}, strike: lowerDescriptors,
	},
	{
		name: "enfile", about: "ENFILE for every call that makes a descriptor, as on a machine whose file table is full",
		hurts: victims{clients: true, strangers: true}, box: supervisedBox, strike: refusing(unix.ENFILE, makers...),
	},
	{
		name: "enfile-accept", about: "ENFILE at accept alone",
		hurts: victims{clients: true, strangers: true}, box: supervisedBox, strike: refusing(unix.ENFILE, unix.SYS_ACCEPT4),
	},
	{
		name: "emfile-dial", about: "EMFILE at socket: no dial succeeds",
		hurts: victims{clients: true, strangers: true}, box: supervisedBox, strike: refusing(unix.EMFILE, unix.SYS_SOCKET),
	},
	{
		name: "enfile-dup", about: "ENFILE at the hand-over of a client to its relay",
		hurts: victims{clients: true, strangers: true}, box: supervisedBox, strike: refusing(unix.ENFILE, unix.SYS_FCNTL),
	},
	{
		name: "no-ports-call", about: "EADDRNOTAVAIL at connect, as when every local port is taken",
		hurts: victims{clients: true, strangers: true}, box: supervisedBox, strike: refusing(unix.EADDRNOTAVAIL, unix.SYS_CONNECT),
	},
}

func supervisedBox() *box { return &box{supervised: true} }

// lowerDescriptors sets the running proxy's limit to what it holds: the next accept, socket and pipe find none.
func lowerDescriptors(t *trial) (func() error, error) {
	held, err := t.proxy.Descriptors()
	if err != nil {
		return nil, err
	}
	total := 0
	for _, n := range held {
		total += n
	}
	var old unix.Rlimit
	if err := unix.Prlimit(t.proxy.PID(), unix.RLIMIT_NOFILE, nil, &old); err != nil {
		return nil, fmt.Errorf("prlimit: %w", err)
	}
	cease := func() error { return unix.Prlimit(t.proxy.PID(), unix.RLIMIT_NOFILE, &old, nil) }
	return cease, unix.Prlimit(t.proxy.PID(), unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(total), Max: old.Max}, nil)
}

// refusing has the supervisor refuse calls while the fault lasts. A fault that refuses nothing is none.
func refusing(errno unix.Errno, calls ...int) func(*trial) (func() error, error) {
	return func(t *trial) (func() error, error) {
		t.box.super.refuse(errno, calls...)
		return func() error {
			t.box.super.refuse(0)
			if t.box.super.refused.Load() == 0 {
				return errors.New("no call was refused")
			}
			t.notef("%d calls refused with %v", t.box.super.refused.Load(), errno)
			return nil
		}, nil
	}
}
