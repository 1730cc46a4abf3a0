package main

import (
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

// victims are those a fault may hurt while it lasts. Nobody else may notice.
type victims struct {
	clients   bool // who comes with the secret meanwhile
	strangers bool // who comes without
	fronted   bool // sessions at the front
	all       bool // nothing moves, though nothing may be lost
}

// fault is a thing that breaks.
type fault struct {
	name, about string
	long        bool // in the long form alone
	hurts       victims
	// floods says that strangers come faster than the front may be dialled: for others of them its places may all be taken.
	floods bool
	// calm has the load say something a tenth as often, where what is measured beside it wants the CPUs.
	calm bool
	box  func() *box // where the proxy runs; nil: nowhere special
	// prepare makes what the fault needs before the proxy starts, and says its settings.
	prepare func(t *trial) (env, error)
	// strike begins the fault, and may take its time over it. What it returns ends the fault.
	strike func(t *trial) (cease func() error, err error)
	// meanwhile is what is done while it lasts; nil: nothing, for a while.
	meanwhile func(t *trial) error
	// after looks at what only this fault can show, when all is over.
	after func(t *trial) error
	// deadly faults end the proxy, and with it all sessions.
	deadly bool
	// partly: who comes to what is at fault waits for it, and others are served all the while.
	partly bool
}

// trial is one fault's turn.
type trial struct {
	*rig
	fault    fault
	load     load
	clients  *newcomers
	visitors *newcomers
	result   result
	// What faults need, each its own.
	hop       *hop
	looping   atomic.Bool // the hop's far side is the proxy
	publisher *publisher  // of ranges
	shore     *shore      // of a flood
	names     atomic.Bool // the name server answers
	manager   manager     // of services
	aimed     load        // sessions that the fault is aimed at
	guests    []net.Conn  // connections that the fault has made; they end before the rest
	ends      []func()    // of what the fault has made for itself
}

const patience = 30 * time.Second

// atEnd has f run at the end of the trial.
func (t *trial) atEnd(f func()) { t.ends = append(t.ends, f) }

func (t *trial) notef(format string, args ...any) {
	t.result.notes = append(t.result.notes, fmt.Sprintf(format, args...))
}

func (t *trial) problemf(format string, args ...any) {
	t.result.problems = append(t.result.problems, fmt.Sprintf(format, args...))
}

// run gives a fault its turn.
func run(f fault, o options) *result {
	t := &trial{fault: f}
	if f.calm {
		t.load.pace = calmPace
	}
	t.result.name = f.name
	began := time.Now()
	var err error
	if t.rig, err = newRig(o); err == nil {
		err = t.all()
	}
	if err != nil {
		t.problemf("%v", err)
	}
	t.wrapUp()
	t.result.took = time.Since(began)
	return &t.result
}

// wrapUp ends what is left of a trial and keeps the proxy's last words.
func (t *trial) wrapUp() {
	for _, n := range []*newcomers{t.clients, t.visitors} {
		if n != nil {
			n.end()
		}
	}
	for _, s := range append(t.load.sessions, t.aimed.sessions...) {
		_ = s.conn.Close()
	}
	t.sendAway()
	for i := len(t.ends) - 1; i >= 0; i-- {
		t.ends[i]()
	}
	if t.rig == nil {
		return
	}
	if t.proxy != nil {
		if n, err := t.proxy.Metric("sluice_loop_panics_total"); err == nil && n != 0 {
			t.problemf("%v panics", n)
		}
	}
	err := t.rig.close()
	if t.proxy != nil {
		if err != nil {
			t.problemf("the proxy's end: %v", err)
		}
		t.result.log = t.proxy.Log()
	}
}

// all is the turn: rest, load, fault, load, rest.
func (t *trial) all() error {
	if err := t.begin(); err != nil {
		return err
	}
	if err := t.warm(); err != nil {
		return fmt.Errorf("warming up: %w", err)
	}
	var err error
	if t.result.before, err = awaitQuiet(t.proxy, patience); err != nil {
		return fmt.Errorf("before: %w", err)
	}
	if err = t.openLoad(); err != nil {
		return err
	}
	t.clients = startNewcomers(2, t.visitClient)
	t.visitors = startNewcomers(1, t.visitFront)
	t.phaseBefore()
	if err = t.phaseDuring(); err != nil {
		return err
	}
	t.phaseAfter()
	if t.fault.after != nil {
		if err = t.fault.after(t); err != nil {
			t.problemf("%v", err)
		}
	}
	t.rest()
	return nil
}

// begin prepares the fault and starts the proxy.
func (t *trial) begin() (err error) {
	if t.fault.box != nil {
		if t.box = t.fault.box(); t.box.failed != nil {
			return fmt.Errorf("the proxy's surroundings: %w", t.box.failed)
		}
	}
	var settings env
	if t.fault.prepare != nil {
		if settings, err = t.fault.prepare(t); err != nil {
			return fmt.Errorf("prepare: %w", err)
		}
	}
	if err = t.start(settings); err != nil {
		return err
	}
	return t.awaitReady()
}

// awaitReady waits for what comes only after the listeners are open: names that are resolved, lists that are fetched.
func (t *trial) awaitReady() error {
	deadline := time.Now().Add(patience)
	for {
		_, err := t.proxy.Page("/readyz")
		if err == nil && t.publisher != nil {
			err = t.awaitMetric(`sluice_ranges_refreshes_total{result="ok"}`, 1)
		}
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// sendAway ends the guests.
func (t *trial) sendAway() {
	for _, c := range t.guests {
		_ = c.Close()
	}
	t.guests = nil
}

// openLoad opens the sessions and, unless the fault is aimed at them, the strangers' connections.
func (t *trial) openLoad() error {
	if err := t.load.open(t.sessions(), func() (stream, error) { return t.client(goodDC) }); err != nil {
		return err
	}
	if t.fault.hurts.fronted {
		return nil
	}
	return t.load.open(t.strangers(), func() (stream, error) { return t.stranger() })
}

// warm has the proxy make what it keeps: the load is opened once, used, and closed.
func (t *trial) warm() error {
	if err := t.openLoad(); err != nil {
		return err
	}
	t.load.mark()
	time.Sleep(t.span() / 2) // what it lasts
	if n, all := t.load.awaitMoved(patience), len(t.load.sessions); n < all {
		return fmt.Errorf("%d of %d sessions move", n, all)
	}
	if lost, err := t.load.finish(); lost > 0 {
		return fmt.Errorf("%d sessions lost: %w", lost, err)
	}
	return nil
}
