package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

var processFaults = []fault{
	{
		name: "stopped", about: "SIGSTOP for seconds, then SIGCONT",
		hurts: victims{all: true},
		strike: func(t *trial) (func() error, error) {
			if err := t.proxy.Signal(syscall.SIGSTOP); err != nil {
				return nil, err
			}
			time.Sleep(2 * t.span())
			return func() error { return t.proxy.Signal(syscall.SIGCONT) }, nil
		},
	},
	{
		name: "killed", about: "kill -9 and a start, again and again; sessions end, and the port and the admin socket are to be had at once",
		deadly: true, strike: killLoop,
	},
	{
		name: "memory-gomemlimit", about: "as many connections as there are places, with GOMEMLIMIT at 24 MiB",
		hurts:   victims{clients: true, strangers: true},
		prepare: func(*trial) (env, error) { return env{"GOMEMLIMIT": "24MiB", "SLUICE_MAX_CONNECTIONS": "400"}, nil },
		strike:  fillPlaces,
	},
	{
		name: "memory-cgroup", about: "the same in a control group that has 64 MiB",
		hurts: victims{clients: true, strangers: true}, box: func() *box { return &box{memory: 64 * mib} },
		prepare: func(*trial) (env, error) { return env{"SLUICE_MAX_CONNECTIONS": "400"}, nil },
		strike:  fillPlaces,
		after: func(t *trial) error {
			n, err := t.box.group.kills()
			if err == nil && n > 0 {
				err = fmt.Errorf("the kernel killed for want of memory %d times", n)
			}
			return err
		},
	},
}

// killLoop kills the proxy and starts it where it was. Newcomers must be served each time.
func killLoop(t *trial) (func() error, error) {
	rounds := 5
	if t.long {
		rounds = 20
	}
	var worst time.Duration
	for range rounds {
		t.proxy.Kill()
		for _, s := range t.load.sessions {
			_ = s.conn.Close()
		}
		t.load.finish()
		if err := t.restart(); err != nil {
			return nil, fmt.Errorf("start again: %w", err)
		}
		t.clients.next()
		after, ok := t.clients.awaitServed(patience)
		if !ok {
			return nil, errors.New("no client is served after a start")
		}
		worst = max(worst, after)
		if err := t.openLoad(); err != nil {
			return nil, err
		}
	}
	t.notef("%d starts; the first client served %v after the listener was there, at most", rounds, worst.Round(time.Millisecond))
	return func() error { return nil }, nil
}

// fillPlaces takes every place there is with clients who ask for much and read nothing.
func fillPlaces(t *trial) (func() error, error) {
	taken := 0
	for range 600 {
		if err := t.badGuest(goodDC); err != nil {
			break // no place left
		}
		taken++
	}
	if taken < 100 {
		return nil, fmt.Errorf("only %d places were to be had", taken)
	}
	f, err := measure(t.proxy)
	t.notef("%d stalled clients beside the load; %d connections, %d MiB", taken, f.connections, f.resident/mib)
	return func() error { t.sendAway(); return nil }, err
}

// group is a control group with a limit of memory, of version 2 or 1.
type group struct{ dir, limit, events string }

// newGroup makes one beside all others.
func newGroup(limit int64) (*group, error) {
	name := fmt.Sprintf("torture%d", os.Getpid())
	g := &group{dir: "/sys/fs/cgroup/" + name, limit: "memory.max", events: "memory.events"}
	if _, err := os.Stat("/sys/fs/cgroup/memory/memory.limit_in_bytes"); err == nil {
		g = &group{dir: "/sys/fs/cgroup/memory/" + name, limit: "memory.limit_in_bytes", events: "memory.oom_control"}
	} else {
		_ = os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+memory"), 0) // or it is already
	}
	if err := os.Mkdir(g.dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("a control group: %w", err)
	}
	if err := os.WriteFile(g.dir+"/"+g.limit, []byte(strconv.FormatInt(limit, 10)), 0); err != nil {
		g.close()
		return nil, fmt.Errorf("a control group's memory: %w", err)
	}
	return g, nil
}

// kills is how often the kernel has killed in the group for want of memory.
func (g *group) kills() (int64, error) {
	b, err := os.ReadFile(g.dir + "/" + g.events)
	if err != nil {
		return 0, err
	}
	return fieldAfter(string(b), "oom_kill"), nil
}

func (g *group) close() { _ = os.Remove(g.dir) }
