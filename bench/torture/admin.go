package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

var adminFaults = []fault{
	{
		name: "admin-flood", about: "connections without end to the admin address, silent ones and ones that ask for everything",
		strike: floodAdmin,
	},
}

// adminFlood is connections to the admin address, more and more of them.
type adminFlood struct {
	path                   string
	stop                   chan struct{}
	workers                sync.WaitGroup
	silent, asked, refused atomic.Int64
}

// floodAdmin lets a flood build up and looks what it has taken, and whether others are still answered.
func floodAdmin(t *trial) (func() error, error) {
	f := &adminFlood{path: t.dir + "/state/admin.sock", stop: make(chan struct{})}
	for range 3 {
		f.workers.Go(f.beSilent)
		f.workers.Go(f.ask)
	}
	time.Sleep(t.span())
	held, err := f.measured(t)
	// Each session has two, a newcomer up to three.
	if limit := t.result.before.descriptors + 2*len(t.load.sessions) + 100; err == nil && held.descriptors > limit {
		err = fmt.Errorf("%d descriptors, more than %d: the admin address takes what clients need", held.descriptors, limit)
	}
	err = errors.Join(err, t.awaitPage("/healthz", ""))
	return func() error {
		close(f.stop)
		f.workers.Wait()
		t.notef("%d silent connections, %d requests, %d not taken; %d descriptors held", f.silent.Load(), f.asked.Load(), f.refused.Load(),
			held.descriptors)
		return nil
	}, err
}

// measured asks for the figures among all those who ask. Somebody may take one's place before one is answered: then one asks again.
func (a *adminFlood) measured(t *trial) (f figures, err error) {
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if f, err = measure(t.proxy); err == nil {
			break
		}
	}
	return f, err
}

// each calls f for one connection after the other until the flood ends.
func (a *adminFlood) each(f func(c net.Conn)) {
	for {
		select {
		case <-a.stop:
			return
		case <-time.After(2 * time.Millisecond):
		}
		c, err := net.DialTimeout("unix", a.path, time.Second)
		if err != nil {
			a.refused.Add(1)
			continue
		}
		_ = c.SetDeadline(time.Now().Add(3 * time.Second))
		f(c)
	}
}

// beSilent begins requests and keeps up to five hundred of them.
func (a *adminFlood) beSilent() {
	var kept []net.Conn
	a.each(func(c net.Conn) {
		_, _ = io.WriteString(c, "GET /metr")
		a.silent.Add(1)
		if kept = append(kept, c); len(kept) > 500 {
			_ = kept[0].Close()
			kept = kept[1:]
		}
	})
	for _, c := range kept {
		_ = c.Close()
	}
}

// ask takes the metrics again and again.
func (a *adminFlood) ask() {
	a.each(func(c net.Conn) {
		_, _ = io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		_, _ = io.Copy(io.Discard, c)
		_ = c.Close()
		a.asked.Add(1)
	})
}
