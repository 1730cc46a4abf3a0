package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

var stateFaults = []fault{
	{
		name: "log-blocked", about: "nobody reads standard error, and its pipe is full",
		prepare: func(*trial) (env, error) { return env{"SLUICE_LOG_LEVEL": "debug"}, nil },
		strike: func(t *trial) (func() error, error) {
			release := t.proxy.HoldLog()
			for range 12_000 { // a line each: many times what the pipe holds, and more than a megabyte
				if c, err := t.stranger(); err == nil {
					_ = c.Close()
				}
			}
			return func() error { release(); return nil }, nil
		},
		after: func(t *trial) error {
			n, err := t.proxy.Metric("sluice_log_lost_total")
			t.notef("%v log lines lost", n)
			if n == 0 && err == nil {
				err = errors.New("no line was lost: the log was not blocked")
			}
			return err
		},
	},
	{
		name: "disk-full", about: "no room in the state directory from the start, then a read-only file system",
		box: smallDisk, prepare: func(t *trial) (env, error) {
			if err := fillDisk(t.box.state); err != nil {
				return nil, err
			}
			return publishing(t)
		},
		strike: readOnlyDisk, after: keptAgain,
	},
	{
		name: "dns-dead", about: "no name server answers, and the configuration is read again meanwhile",
		prepare: nameServed, strike: func(t *trial) (func() error, error) {
			t.names.Store(false)
			if err := t.proxy.Signal(syscall.SIGHUP); err != nil {
				return nil, err
			}
			return func() error { t.names.Store(true); return nil }, t.awaitMetric("sluice_front_resolve_failures_total", 1)
		},
	},
}

// smallDisk is a box whose state directory is a file system of 64 KiB.
func smallDisk() *box {
	dir, err := os.MkdirTemp("", "small")
	if err == nil {
		err = unix.Mount("tmpfs", dir, "tmpfs", 0, "size=65536,mode=755")
	}
	return &box{state: dir, failed: err, done: func() {
		_ = unix.Unmount(dir, unix.MNT_DETACH)
		_ = os.Remove(dir)
	}}
}

func fillDisk(dir string) error {
	err := os.WriteFile(dir+"/filler", make([]byte, 1<<20), 0o600)
	if !errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("the small disk is not full: %w", err)
	}
	return nil
}

// readOnlyDisk lets lists change while they cannot be kept, for want of room and then of the right to write.
func readOnlyDisk(t *trial) (func() error, error) {
	for i, change := range []func() error{
		func() error { return nil },
		func() error {
			return unix.Mount("", t.box.state, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
		},
	} {
		if err := change(); err != nil {
			return nil, fmt.Errorf("read-only: %w", err)
		}
		t.publisher.add(i + 2)
		if err := t.refreshed("ok"); err != nil {
			return nil, err
		}
		if n, err := t.proxy.SumMetric("sluice_ranges_prefixes"); err != nil || int(n) != i+2 {
			return nil, fmt.Errorf("%v ranges in force, not %d: %w", n, i+2, err)
		}
	}
	return func() error {
		err := unix.Mount("", t.box.state, "", unix.MS_REMOUNT|unix.MS_BIND, "")
		return errors.Join(err, os.Remove(t.box.state+"/filler"))
	}, nil
}

// keptAgain wants the next list to be kept, now that there is room.
func keptAgain(t *trial) error {
	t.publisher.add(4)
	if err := t.refreshed("ok"); err != nil {
		return err
	}
	kept := false
	err := filepath.WalkDir(t.box.state, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil || !e.Type().IsRegular():
			return err
		case strings.HasPrefix(e.Name(), "."):
			return fmt.Errorf("%s was left behind", e.Name())
		}
		b, err := os.ReadFile(path)
		kept = kept || strings.Contains(string(b), "10.0.4.0/24")
		return err
	})
	if err == nil && !kept {
		err = errors.New("the last list was not kept")
	}
	return err
}

// awaitMetric waits until a series is at least that.
func (t *trial) awaitMetric(series string, least float64) error {
	deadline := time.Now().Add(patience)
	for {
		n, err := t.proxy.Metric(series)
		if err == nil && n < least {
			err = fmt.Errorf("%s is %v, not %v", series, n, least)
		}
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}
