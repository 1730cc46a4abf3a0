package splice

import "sluice/faketls"

// A download's bytes go from the DC's socket to the client's without ever being in our memory, and still get a record header
// every 16,401 bytes. The headers are woven in between, pipe to pipe, so that a whole burst leaves by one splice:
//
//	DC's socket ──splice, a burst──▶ intake ──splice, a record's payload──┐
//	                                 mold ────tee, a full record's header─┼─▶ the half's pipe ──splice, all──▶ client's socket
//	                                 write, the last record's header──────┘
//
// Sending each record for itself (its header by send with MSG_MORE, then its payload) costs as many system calls, but makes
// TCP push a segment of 16 KiB for each, where the woven burst leaves in segments of 64 KiB: docs/performance.md.

// loom is what a loop weaves on. Loop only.
type loom struct {
	intake *pipe // holds something only while a burst is woven
	mold   *pipe // holds the header of a full record, for good
}

// set makes the loom's pipes. A kernel that cannot, or does not let us tee, leaves the loom without them: downloads are copied.
func (m *loom) set() {
	m.intake, m.mold = newPipe(burstSize), newPipe(4096)
	if m.intake == nil || m.mold == nil {
		m.close()
		return
	}
	var header [recordHeader]byte
	faketls.PutHeader(header[:], recordPayload)
	_, _ = sysWrite(m.mold.w, header[:])
	n, e := sysTee(m.mold.r, m.intake.w, recordHeader)
	if e != 0 || n != recordHeader {
		m.close()
		return
	}
	_, _ = sysRead(m.intake.r, header[:])
}

func (m *loom) ready() bool { return m.intake != nil }

func (m *loom) close() {
	m.intake.destroy()
	m.mold.destroy()
	m.intake, m.mold = nil, nil
}

// header puts the header of a record of size bytes into p; false when p has no room for it.
func (m *loom) header(p *pipe, size int) bool {
	n := 0
	if size == recordPayload {
		n, _ = sysTee(m.mold.r, p.w, recordHeader)
	} else {
		var header [recordHeader]byte
		faketls.PutHeader(header[:], size)
		n, _ = sysWrite(p.w, header[:])
	}
	if n != recordHeader { // a pipe takes five bytes whole or not at all
		return false
	}
	p.held += recordHeader
	return true
}

// weave moves the n bytes of the loom's intake into half h's empty pipe, as records. A pipe counts slots, not bytes: one that
// has none left, because the kernel granted it less than we asked for, leaves the rest to spill.
func (l *Loop) weave(r *relay, h, n int) {
	p, owed := r.half[h].pipe, 0
	for n > 0 && l.loom.header(p, min(n, recordPayload)) {
		for owed = min(n, recordPayload); owed > 0; {
			moved, e := sysSplice(l.loom.intake.r, p.w, owed)
			if e != 0 || moved <= 0 {
				l.spill(r, h, n, owed)
				return
			}
			p.held += moved
			owed -= moved
			n -= moved
		}
	}
	if n > 0 {
		l.spill(r, h, n, 0)
	}
}

// spill goes on in memory where weave could not: half h's pipe is drained, and the n bytes left in the intake follow as
// records, the first of which has its header already and is owed that many.
func (l *Loop) spill(r *relay, h, n, owed int) {
	x := &r.half[h]
	l.reclaim(x.pipe)
	if r.state != open {
		l.reset()
		return
	}
	k := l.chunks.get(len(x.rest.b) + n + recordHeader*(n/recordPayload+1))
	k.b = append(k.at[:0], x.rest.b...)
	l.chunks.put(x.rest)
	x.rest = k
	for n > 0 {
		if owed == 0 {
			owed = min(n, recordPayload)
			k.b = k.b[:len(k.b)+recordHeader]
			faketls.PutHeader(k.b[len(k.b)-recordHeader:], owed)
		}
		got, e := sysRead(l.loom.intake.r, k.b[len(k.b):len(k.b)+owed])
		if e != 0 || got <= 0 {
			l.reset() // first: the owner may have a fault of its own
			l.broken(r)
			return
		}
		k.b = k.b[:len(k.b)+got]
		owed -= got
		n -= got
	}
}

// reset makes the loom anew: what its intake holds is nobody's.
func (l *Loop) reset() {
	l.loom.close()
	l.loom.set()
	l.noteSplices()
}

// broken ends a relay of which a pipe does not hold what it was given.
func (l *Loop) broken(r *relay) {
	l.stats.Panics.Add(1)
	l.end(r, Panicked)
}
