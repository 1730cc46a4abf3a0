package splice

import (
	"time"
)

// sinkFailed notes that half h's sink no longer takes anything. What the sink had still sent may lie unread in the kernel (a
// front answers, closes, and resets because the client goes on): the other half drains that before the reset is mirrored.
func (l *Loop) sinkFailed(r *relay, h int) {
	x, dst := &r.half[h], &r.side[1-h]
	l.discard(x)
	x.dead = true
	dst.set(broken | hung | canRead)
	l.enqueue(r)
}

// fail mirrors the reset of one side on the other, once what was sent before it has left.
func (l *Loop) fail(r *relay, which int) {
	r.cause = ClientReset + Cause(which)
	s, other := &r.side[which], &r.side[1-which]
	if s.fd >= 0 { // a shadow's client is not here
		sysClose(s.fd)
		s.fd = -1
	}
	l.discard(&r.half[up])
	l.discard(&r.half[down])
	if other.fd < 0 || other.has(broken) || sysUnsent(other.fd) == 0 {
		l.end(r, r.cause)
		return
	}
	r.state = lingering
	r.deadline = l.now + int64(lingerTime)
	l.watch(r)
}

// stepLinger looks whether the tail has left.
func (l *Loop) stepLinger(r *relay) {
	for i := range r.side {
		if s := &r.side[i]; s.fd >= 0 && (s.has(broken) || sysUnsent(s.fd) == 0 || l.now >= r.deadline) {
			l.end(r, r.cause)
			return
		}
	}
}

// discard gives back what a half holds.
func (l *Loop) discard(x *half) {
	if x.rest != nil {
		l.chunks.put(x.rest)
		x.rest = nil
	}
	if x.pipe != nil {
		l.pipes.release(x.pipe)
		x.pipe = nil
	}
}

// end closes whatever r holds and frees its slot, once.
func (l *Loop) end(r *relay, c Cause) {
	if r.state == free {
		return
	}
	l.discard(&r.half[up])
	l.discard(&r.half[down])
	reset := c == ClientReset || c == UpstreamReset || c == Stalled
	for i := range r.side {
		switch fd := r.side[i].fd; {
		case fd < 0:
		case reset, c == Idle && sysUnsent(fd) > 0: // what has not been taken in all that time would stay in the kernel
			closeByReset(fd)
		default:
			sysClose(fd)
		}
	}
	l.warm.leave(&r.upload)
	l.warm.leave(r.download)
	l.stats.Relays[r.mode.kind()].Add(-1)
	if r.id != 0 {
		delete(l.shadows, r.id)
		l.stats.Shadows.Add(-1)
	}
	owner := r.owner
	e := End{Cause: c, Up: r.half[up].bytes, Down: r.half[down].bytes, Lived: time.Duration(l.now - r.started)}
	l.slab.put(r)
	owner.Closed(e)
}

// watch makes sure that the wheel brings r back by the next moment at which something may be due.
func (l *Loop) watch(r *relay) {
	due := l.now + int64(wheelTick)*wheelSlots
	if r.deadline != 0 {
		due = min(due, r.deadline)
	}
	switch {
	case r.state == lingering:
		due = min(due, l.now+int64(lingerLook))
	case r.state == open && r.deadline == 0:
		due = min(due, max(r.active+l.idle(r), l.now+int64(wheelTick)))
	}
	if r.due == 0 || due < r.due {
		r.due = l.wheel.Add(due, uint64(r.slot)|uint64(r.gen)<<32)
	}
}

// timer is the wheel's call. An item of a slot's last life, or one that an earlier item has overtaken, is nothing.
func (l *Loop) timer(item uint64) {
	r := l.slab.at(uint32(item))
	if r.gen != uint32(item>>32) || r.state == free || l.now < r.due {
		return
	}
	defer l.contain(r)
	r.due = 0
	gen := r.gen
	l.expire(r)
	if r.gen == gen && r.state != free {
		l.watch(r)
	}
}

// expire acts on the deadline of r's state, if it has come.
func (l *Loop) expire(r *relay) {
	switch {
	case r.state == lingering:
		l.stepLinger(r)
	case r.deadline == 0:
		if r.state == open && l.now-r.active >= l.idle(r) {
			l.end(r, Idle)
		}
	case l.now < r.deadline:
	case r.state == dialing:
		l.dialLate(r)
	case r.state == open:
		l.end(r, Stalled)
	}
}

func (l *Loop) idle(r *relay) int64 {
	if r.mode == Raw {
		return int64(l.cfg.FrontIdle)
	}
	return int64(l.cfg.Idle)
}
