package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

var descriptorFaults = []fault{
	{
		name: "none", about: "nothing breaks: what the load itself does",
		strike: func(*trial) (func() error, error) { return nil, nil },
	},
	{
		name: "emfile", about: "the process's limit of descriptors sinks to what it holds",
		hurts:  victims{clients: true, strangers: true},
		strike: lowerDescriptors,
	},
}

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
