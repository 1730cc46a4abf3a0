package main

import (
	"fmt"
	"syscall"
	"time"
)

var dcFaults = []fault{
	{
		name: "stopped", about: "SIGSTOP, then SIGCONT",
		hurts: victims{all: true},
		strike: func(t *trial) (func() error, error) {
			if err := t.proxy.Signal(syscall.SIGSTOP); err != nil {
				return nil, err
			}
			time.Sleep(t.span())
			return func() error { return t.proxy.Signal(syscall.SIGCONT) }, nil
		},
	},
	{
		name: "dc-refused", about: "a data centre refuses connections",
		prepare: func(*trial) (env, error) { return env{fmt.Sprintf("SLUICE_DC_%d", badDC): "127.0.0.1:9"}, nil },
		strike:  badClients,
	},
}

// badClients come for the data centre that has the fault.
func badClients(t *trial) (func() error, error) {
	for range 20 {
		c, err := t.client(badDC)
		if err != nil {
			return nil, err
		}
		_ = c.Flush()
		t.atEnd(func() { _ = c.Close() })
	}
	return func() error { return nil }, nil
}
