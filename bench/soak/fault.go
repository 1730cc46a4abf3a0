package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sluice/bench/client"
)

// The kinds of faults.
const (
	reloadFault      = "reload"
	dcFault          = "DC down"
	frontFault       = "front down"
	descriptorsFault = "few descriptors"
	stopFault        = "stopped"
	burstFault       = "burst"
)

// injectors are the faults in the order in which they take turns.
var injectors = []struct {
	kind   string
	inject func(context.Context, *soak, *fault) error
}{
	{reloadFault, injectReload},
	{dcFault, injectDC},
	{stopFault, injectStop},
	{frontFault, injectFront},
	{burstFault, injectBurst},
	{descriptorsFault, injectDescriptors},
}

// fault is one fault that was made. Times are seconds since the load began.
type fault struct {
	Kind     string  `json:"kind"`
	From     float64 `json:"from"`
	Until    float64 `json:"until"` // when all was seen to work again
	Restarts float64 `json:"restarts,omitempty"`
	Failed   string  `json:"failed,omitempty"` // what did not work again in time, or was not as it should be
}

func (f fault) failed() bool { return f.Failed != "" }

// Bounds of what a fault explains.
const (
	recovery = 20 * time.Second       // all works again so soon after a fault is taken away
	lateStop = 500 * time.Millisecond // accepting that ran out of descriptors has stopped so soon after there are enough again
	notice   = 5                      // seconds after a data centre's return in which a session may yet find out that it had gone
)

// explains says whether x had to end because of f. Bytes that are wrong and guests who must not be let in have no excuse.
//
//	DC down          sessions at that data centre, and those that ask for it
//	front down       visits
//	few descriptors  visits, and sessions that are not open yet
//	all others       nothing
func (f fault) explains(x end) bool {
	if x.Wrong || x.LetIn || x.From > f.Until || x.To < f.From {
		return false
	}
	switch f.Kind {
	case dcFault:
		return x.DC == lameDC && (x.opening() || x.To <= f.Until+notice)
	case frontFault:
		return !x.session()
	case descriptorsFault:
		return !x.session() || x.opening()
	}
	return false
}

// disturb makes one fault after the other while there is load, but for the very end. What it has begun it sees through, unless the
// run is interrupted.
func (s *soak) disturb(loaded, run context.Context) {
	last := s.opts.time.Seconds() - s.between.Seconds()
	for i := 0; sleep(loaded, s.between) && s.ledger.now() < last; i++ {
		next := injectors[i%len(injectors)]
		f := &fault{Kind: next.kind, From: s.ledger.now()}
		if err := next.inject(run, s, f); err != nil {
			f.Failed = err.Error()
		}
		f.Until = s.ledger.now()
		if run.Err() == nil {
			s.mu.Lock()
			s.faults = append(s.faults, *f)
			s.mu.Unlock()
		}
	}
}

// eventually tries again until it works, for so long as a recovery may take.
func (r *rig) eventually(ctx context.Context, try func() error) error {
	for deadline := time.Now().Add(recovery); ; {
		err := try()
		if err == nil {
			return nil
		}
		if r.gone() {
			return fmt.Errorf("the proxy has ended: %w", err)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %v: %w", recovery, err)
		}
		if !sleep(ctx, 50*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// tryDC opens a session and moves a little.
func (r *rig) tryDC(ctx context.Context, cfg client.Config) error {
	x := &session{ctx: ctx, rig: r, rnd: rand.New(rand.NewPCG(rand.Uint64(), 0))}
	cfg.Timeout = 3 * time.Second
	if err := x.open(cfg); err != nil {
		return err
	}
	return x.conn.Close()
}

// tryFront looks at the site.
func (r *rig) tryFront(ctx context.Context) error {
	return (&visit{ctx: ctx, rig: r, rnd: rand.New(rand.NewPCG(rand.Uint64(), 0))}).browse()
}

// injectReload changes the secrets. Those that went are refused, those that came are let in; every third time a file that is
// wrong comes first, and changes nothing.
func injectReload(ctx context.Context, s *soak, f *fault) error {
	if s.reloads++; s.reloads%3 == 0 {
		if err := s.rig.keys.write("not a secret"); err != nil {
			return err
		}
		if err := s.rig.reload(ctx, "reload refused"); err != nil {
			return err
		}
	}
	gone, err := s.rig.keys.turn(func() error { return s.rig.reload(ctx, "reloaded") })
	if err != nil {
		return err
	}
	if err := s.rig.tryDC(ctx, client.Config{Secret: s.rig.keys.current()}); err != nil {
		return fmt.Errorf("the secret that came: %w", err)
	}
	if c, err := s.rig.dial(ctx, client.Config{Secret: gone}); err == nil {
		_ = c.Close()
		return errors.New("the secret that went is still let in")
	}
	return nil
}

// reload sends SIGHUP and waits for what the proxy says of it.
func (r *rig) reload(ctx context.Context, says string) error {
	before := len(r.proxy.Lines())
	if err := r.proxy.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	return r.eventually(ctx, func() error {
		for _, l := range r.proxy.Lines()[before:] {
			if strings.HasPrefix(l.Get("msg"), says) {
				return nil
			}
		}
		return fmt.Errorf("not logged: %s", says)
	})
}

// injectDC takes the lame data centre away, and all its sessions with it.
func injectDC(ctx context.Context, s *soak, f *fault) error {
	s.rig.closeLame()
	sleep(ctx, s.short)
	if err := s.rig.openLame(); err != nil {
		return err
	}
	return s.rig.eventually(ctx, func() error { return s.rig.tryDC(ctx, client.Config{DC: lameDC}) })
}

// injectFront takes the site away.
func injectFront(ctx context.Context, s *soak, f *fault) error {
	s.rig.closeSite()
	sleep(ctx, s.short)
	if err := s.rig.openSite(); err != nil {
		return err
	}
	return s.rig.eventually(ctx, func() error { return s.rig.tryFront(ctx) })
}

// injectStop lets the process stand still, as a virtual machine does that is moved.
func injectStop(ctx context.Context, s *soak, f *fault) error {
	if err := s.rig.proxy.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	sleep(ctx, min(s.short, 2*time.Second))
	if err := s.rig.proxy.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	return s.rig.eventually(ctx, func() error { return s.rig.tryDC(ctx, client.Config{}) })
}

// burst is how many strangers come at once.
const burst = 500

// injectBurst sends strangers of all kinds at once. It may take nothing from anybody.
func injectBurst(ctx context.Context, s *soak, f *fault) error {
	var strangers []int
	for i, k := range kinds {
		if k.visit != nil && k.name != "replay" {
			strangers = append(strangers, i)
		}
	}
	for i := range burst {
		k := kinds[strangers[i%len(strangers)]]
		v := &visit{ctx: ctx, rig: s.rig, rnd: rand.New(rand.NewPCG(s.opts.seed, uint64(i))), hurry: true}
		s.load.Go(func() { s.makeVisit(k.name, v, k.visit) })
	}
	return s.rig.eventually(ctx, func() error { return s.rig.tryDC(ctx, client.Config{}) })
}

// injectDescriptors allows the process fewer descriptors than it has: it keeps them and gets hardly another. Accepting may stop by
// itself and must begin again.
func injectDescriptors(ctx context.Context, s *soak, f *fault) error {
	before, err := s.rig.proxy.Metric(restartsMetric)
	if err != nil {
		return err
	}
	held, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.rig.proxy.PID()))
	if err != nil {
		return err
	}
	var old unix.Rlimit
	if err := unix.Prlimit(s.rig.proxy.PID(), unix.RLIMIT_NOFILE, nil, &old); err != nil {
		return err
	}
	tight := unix.Rlimit{Cur: uint64(len(held) * 3 / 4), Max: old.Max}
	if err := unix.Prlimit(s.rig.proxy.PID(), unix.RLIMIT_NOFILE, &tight, nil); err != nil {
		return err
	}
	sleep(ctx, s.short)
	if err := unix.Prlimit(s.rig.proxy.PID(), unix.RLIMIT_NOFILE, &old, nil); err != nil {
		return err
	}
	sleep(ctx, lateStop)
	return s.rig.eventually(ctx, func() error { return s.recovered(ctx, f, before) })
}

// recovered says whether all that needs descriptors works, and how often accepting has begun again.
func (s *soak) recovered(ctx context.Context, f *fault, before float64) error {
	for _, dc := range []int16{steadyDC, lameDC} {
		if err := s.rig.tryDC(ctx, client.Config{DC: dc}); err != nil {
			return err
		}
	}
	if err := s.rig.tryFront(ctx); err != nil {
		return err
	}
	now, err := s.rig.proxy.Metric(restartsMetric)
	f.Restarts = now - before
	return err
}
