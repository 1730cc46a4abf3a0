package main

import (
	"fmt"
	"time"
)

// phaseBefore lets the load run as it should.
func (t *trial) phaseBefore() {
	t.load.mark()
	time.Sleep(t.span() / 2)
	t.result.moved[0] = t.load.awaitMoved(patience)
	for i, n := range []*newcomers{t.clients, t.visitors} {
		if c := n.next(); c.failed.Load() > 0 {
			t.problemf("before the fault %d %s failed: %v", c.failed.Load(), kinds[i], *c.why.Load())
		}
	}
}

var kinds = []string{"clients", "strangers"}

// phaseDuring lets the fault strike and last, and counts who is served meanwhile.
func (t *trial) phaseDuring() error {
	t.load.mark()
	cease := func() error { return nil }
	if t.fault.strike != nil {
		end, err := t.fault.strike(t)
		if end != nil {
			cease = end
		}
		if err != nil {
			_ = cease()
			return fmt.Errorf("the fault itself: %w", err)
		}
	}
	// The fault is in force now; those it hurts may have come before it was.
	for i, n := range []*newcomers{t.clients, t.visitors} {
		if c := n.next(); !t.hurt(i) {
			t.count(i, c)
		}
	}
	t.load.mark()
	if t.fault.meanwhile == nil {
		time.Sleep(t.span())
	} else if err := t.fault.meanwhile(t); err != nil {
		t.problemf("meanwhile: %v", err)
	}
	if t.fault.hurts.all || t.fault.deadly {
		t.result.moved[1] = t.load.moved()
	} else {
		t.result.moved[1] = t.load.awaitMoved(patience)
	}
	for i, n := range []*newcomers{t.clients, t.visitors} {
		t.count(i, n.next())
		if d := t.result.during[i]; d.failed == 0 && d.ok > 0 && t.hurt(i) && !t.fault.deadly && !t.fault.partly {
			t.problemf("all %s were served meanwhile: the fault did nothing to them", kinds[i])
		}
	}
	if err := cease(); err != nil {
		return fmt.Errorf("the fault's end: %w", err)
	}
	t.clients.next()
	t.visitors.next()
	return nil
}

// hurt says whether the fault may hurt the newcomers of a kind.
func (t *trial) hurt(kind int) bool {
	h := t.fault.hurts
	return []bool{h.clients, h.strangers}[kind] || h.all || t.fault.deadly
}

// count adds newcomers to the result. None may have failed whom the fault does not hurt.
func (t *trial) count(kind int, c *tally) {
	d := &t.result.during[kind]
	d.ok += c.ok.Load()
	d.failed += c.failed.Load()
	n := c.failed.Load()
	if n == 0 || t.hurt(kind) {
		return
	}
	taken, _ := t.proxy.SumMetric("sluice_front_refused_total")
	if kind == 1 && t.fault.floods && taken > 0 {
		t.notef("%d strangers were not served, when all places at the front were taken", n)
	} else {
		t.problemf("%d %s were not served meanwhile, the first: %v", n, kinds[kind], *c.why.Load())
	}
}

// phaseAfter looks whether everything works again.
func (t *trial) phaseAfter() {
	for i, n := range []*newcomers{t.clients, t.visitors} {
		after, ok := n.awaitServed(patience)
		if !ok {
			c := n.phase.Load()
			why := error(nil)
			if p := c.why.Load(); p != nil {
				why = *p
			}
			t.problemf("no %s are served %v after the fault, the last: %v", kinds[i], patience, why)
		}
		t.result.recovered = max(t.result.recovered, after)
		n.next()
	}
	t.load.mark()
	time.Sleep(t.span() / 2)
	t.result.moved[2] = t.load.awaitMoved(patience)
	for i, n := range []*newcomers{t.clients, t.visitors} {
		if c := n.next(); c.failed.Load() > 0 {
			t.problemf("after the fault %d %s failed again: %v", c.failed.Load(), kinds[i], *c.why.Load())
		}
	}
}

// rest ends the load and waits until the proxy holds what it held before.
func (t *trial) rest() {
	for _, n := range []*newcomers{t.clients, t.visitors} {
		n.end()
	}
	t.clients, t.visitors = nil, nil
	t.sendAway()
	all := len(t.load.sessions)
	lost, first := t.load.finish()
	t.result.lost = lost
	if lost > 0 && !t.fault.deadly {
		t.problemf("%d of %d sessions lost something, the first: %v", lost, all, first)
	}
	for i, moved := range t.result.moved {
		if moved < all && !t.fault.deadly && (i != 1 || !t.fault.hurts.all) {
			t.problemf("%s the fault %d of %d sessions moved", []string{"before", "during", "after"}[i], moved, all)
		}
	}
	after, err := awaitSame(t.proxy, t.result.before, patience)
	t.result.after = after
	if err != nil {
		t.problemf("not as before: %v", err)
	}
}
