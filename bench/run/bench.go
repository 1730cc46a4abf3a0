package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"time"

	"sluice/bench/client"
	"sluice/bench/far"
	"sluice/bench/load"
	"sluice/bench/remote"
)

// bench is one network with the far side in it: loopback, or a pair of namespaces.
type bench struct {
	options
	*network
	ctx    context.Context
	self   string // our own executable
	dir    string // for what the proxies leave
	secret client.Secret
	far    *remote.Process
	farAt  far.Addresses

	profile *profiling // nil: none
}

const dataCentres = 5

const callLimit = time.Minute

// newBench starts the far side in a network. The bench closes the network.
func newBench(ctx context.Context, o options, n *network) (*bench, error) {
	b := &bench{options: o, network: n, ctx: ctx}
	if err := b.prepare(n.farAddr); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

// prepare starts the far side at an address.
func (b *bench) prepare(at netip.Addr) (err error) {
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "bench-"); err != nil {
		return err
	}
	b.secret.Host = host
	_, _ = rand.Read(b.secret.Key[:])
	if b.far, err = b.child("child-far"); err != nil {
		return err
	}
	any := netip.AddrPortFrom(at, 0)
	want := far.Addresses{Front: any}
	for range dataCentres {
		want.DC = append(want.DC, any)
		want.Greet = append(want.Greet, any)
	}
	return b.far.Call("listen", want, &b.farAt, callLimit)
}

func (b *bench) child(name string) (p *remote.Process, err error) {
	cmd := exec.Command(b.self, name)
	arrange(cmd)
	err = b.loadPlace.do(func() error {
		p, err = remote.Start(cmd)
		return err
	})
	return p, err
}

func (b *bench) close() {
	if b.far != nil {
		b.far.Stop()
	}
	b.network.close()
	if b.dir != "" {
		_ = os.RemoveAll(b.dir)
	}
}

// pause waits, unless the run is interrupted.
func (b *bench) pause(d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-b.ctx.Done():
		return context.Cause(b.ctx)
	}
}

// trial is one variant under one load.
type trial struct {
	*bench
	proxy  *proxy
	load   *remote.Process
	before far.Stats
}

// with runs f with a fresh proxy and a fresh load, and finds out whether anything was wrong.
func (b *bench) with(v variant, s setup, f func(*trial) error) (err error) {
	if err := context.Cause(b.ctx); err != nil {
		return err
	}
	t := &trial{bench: b}
	if t.proxy, err = b.start(v, s); err != nil {
		return err
	}
	defer t.proxy.stop()
	if t.load, err = b.child("child-load"); err != nil {
		return err
	}
	defer t.load.Stop()
	if err := b.far.Call("stats", struct{}{}, &t.before, callLimit); err != nil {
		return err
	}
	if b.profile != nil {
		if err := b.profile.begin(t); err != nil {
			return err
		}
	}
	if err := errors.Join(f(t), t.proxy.alive(), t.farWrong()); err != nil {
		return fmt.Errorf("%w\n%s", err, b.proxyLog())
	}
	return b.far.Call("close", struct{}{}, nil, callLimit)
}

// farWrong is an error when the far side got what it should not have.
func (t *trial) farWrong() error {
	after, err := t.farStats()
	if err != nil {
		return err
	}
	if n := after.Bad - t.before.Bad; n > 0 {
		return fmt.Errorf("the far side got wrong bytes, %d times: %s", n, after.LastBad)
	}
	return nil
}

func (t *trial) farStats() (s far.Stats, err error) {
	err = t.far.Call("stats", struct{}{}, &s, callLimit)
	return s, err
}

// open starts a group of clients for this trial's proxy and waits until all are ready.
func (t *trial) open(j load.Job) (load.Opened, error) {
	j.Addr, j.Locals = t.proxy.addr, t.locals
	if j.Kind == "" {
		j.Kind = t.proxy.kind
	}
	j.Secret, j.Hybrid, j.DCs = t.secret.String(), true, dataCentres
	if t.proxy.peer {
		j.DCs = 0
	}
	var opened load.Opened
	err := t.load.Call("open", j, &opened, callLimit)
	return opened, err
}

func (t *trial) run(g load.Opened) error { return t.load.Call("run", g.Named, nil, callLimit) }

// finish ends a group; it is an error if anything went wrong with any client.
func (t *trial) finish(g load.Opened) error {
	if t.profile != nil {
		if err := t.profile.end(t); err != nil {
			return err
		}
	}
	if err := t.failures(g); err != nil {
		return err
	}
	return t.load.Call("close", g.Named, nil, callLimit)
}

// failures is an error when anything went wrong with any client.
func (t *trial) failures(g load.Opened) error {
	s, err := t.loadStats(g)
	if err == nil && (s.Wrong > 0 || s.Failed > 0) {
		err = fmt.Errorf("%d clients failed, %d of them on wrong bytes; the last: %s", s.Failed, s.Wrong, s.LastError)
	}
	return err
}

func (t *trial) loadStats(g load.Opened) (s load.Stats, err error) {
	err = t.load.Call("stats", g.Named, &s, callLimit)
	return s, err
}

// moment is everything that is read before and after a measurement.
type moment struct {
	at                       time.Time
	proxy, load, far, kernel time.Duration
	clients                  load.Stats
	servers                  far.Stats
}

func (t *trial) moment(g load.Opened) (m moment, err error) {
	m.kernel = kernelCPU()
	if m.clients, err = t.loadStats(g); err != nil {
		return m, err
	}
	if m.servers, err = t.farStats(); err != nil {
		return m, err
	}
	if m.load, err = processCPU(t.load.PID()); err != nil {
		return m, err
	}
	if m.far, err = processCPU(t.far.PID()); err != nil {
		return m, err
	}
	m.at = time.Now()
	m.proxy, err = processCPU(t.proxy.pid())
	return m, err
}

// span is what happened between two moments.
type span struct {
	wall                     time.Duration
	proxy, load, far, kernel time.Duration
	clients                  load.Stats // the differences
	servers                  far.Stats
}

// someLimit is how long a load may take to do anything at all. Nothing is ever failed for being slow, only for being stuck.
const someLimit = 20 * time.Second

var errNothing = errors.New("nothing was done")

// measure watches a group for a while, after a moment of getting going; again if nothing of what done counts was done.
func (t *trial) measure(g load.Opened, done func(span) float64) (span, error) {
	for end := time.Now().Add(someLimit); ; {
		s, err := t.measureOnce(g)
		if err == nil {
			err = t.failures(g)
		}
		if err != nil || done(s) > 0 {
			return s, err
		}
		if time.Now().After(end) {
			return s, fmt.Errorf("%w in %v", errNothing, someLimit)
		}
	}
}

func received(s span) float64  { return float64(s.clients.Wire) }
func delivered(s span) float64 { return float64(s.servers.In) }
func exchanged(s span) float64 { return float64(s.clients.Exchanges) }
func begun(s span) float64     { return float64(s.clients.Sessions) }

func (t *trial) measureOnce(g load.Opened) (s span, err error) {
	if err := t.pause(min(t.time/4, time.Second)); err != nil {
		return s, err
	}
	from, err := t.moment(g)
	if err != nil {
		return s, err
	}
	if err := t.pause(t.time); err != nil {
		return s, err
	}
	to, err := t.moment(g)
	if err != nil {
		return s, err
	}
	if t.profile != nil {
		if err := t.profile.countCalls(t, g); err != nil {
			return s, err
		}
	}
	return to.since(from), nil
}

func (m moment) since(f moment) span {
	s := span{wall: m.at.Sub(f.at), proxy: m.proxy - f.proxy, load: m.load - f.load, far: m.far - f.far, kernel: m.kernel - f.kernel}
	s.clients = load.Stats{
		Wire: m.clients.Wire - f.clients.Wire, Sent: m.clients.Sent - f.clients.Sent,
		Exchanges: m.clients.Exchanges - f.clients.Exchanges, Sessions: m.clients.Sessions - f.clients.Sessions,
		Latency: m.clients.Latency.Since(&f.clients.Latency),
	}
	s.servers = far.Stats{In: m.servers.In - f.servers.In, Out: m.servers.Out - f.servers.Out}
	return s
}
