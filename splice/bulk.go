package splice

import "golang.org/x/sys/unix"

// lendPipe sees to it that half h has a pipe. When the pool is dry the stalest stalled pipe is drained into memory; when that
// is not to be had either, the burst is copied.
func (l *Loop) lendPipe(r *relay, h int) bool {
	x := &r.half[h]
	if x.pipe != nil {
		return true
	}
	if l.cfg.NoSplice {
		return false
	}
	if r.mode == Raw && !l.pipes.plenty() { // half of them are for clients alone
		l.stats.NoPipe.Add(1)
		return false
	}
	if x.pipe = l.pipes.borrow(r, uint8(h), l.now); x.pipe == nil {
		if p := l.pipes.stalest(l.now - int64(reclaimAfter)); p != nil && l.chunks.held < heldBudget {
			if l.reclaim(p); r.state != open {
				return false
			}
			x.pipe = l.pipes.borrow(r, uint8(h), l.now)
		}
	}
	if x.pipe == nil {
		l.stats.NoPipe.Add(1)
		return false
	}
	x.burst = 0
	return true
}

// takeSplice moves one burst from half h's source into its empty pipe, as records unless the relay is raw, and from there to
// the sink.
func (l *Loop) takeSplice(r *relay, h int) int {
	x := &r.half[h]
	into, framed := x.pipe, r.mode != Raw
	if framed {
		into = l.loom.intake
	}
	n, e := sysSplice(r.side[h].fd, into.w, min(spliceUnit<<x.burst, burstSize, into.size))
	if cannotSplice(e) { // this socket cannot
		l.cfg.NoSplice = true
		l.noteSplices()
		x.shrink()
		return 0
	}
	if e == unix.EAGAIN && !framed { // the source is empty, or stands at an urgent byte: a read will tell
		x.shrink()
		return 0
	}
	if !l.took(r, h, n, 0, e) {
		x.shrink()
		return 0
	}
	l.count(r, h, n, Spliced)
	if n < copyLimit {
		x.shrink()
	} else if x.burst < maxBurst {
		x.burst++
	}
	x.pipe.since = l.now
	if framed {
		l.weave(r, h, n)
	} else {
		x.pipe.held = n
	}
	if r.state == open {
		l.flush(r, h)
	}
	return n
}

// drain moves the pipe of half h into its sink; true when the pipe is empty.
func (l *Loop) drain(r *relay, h int) bool {
	p := r.half[h].pipe
	for p.held > 0 {
		n, e := sysSplice(p.r, r.side[1-h].fd, p.held)
		if e != 0 {
			l.blocked(r, h, e)
			return false
		}
		p.held -= n
		p.since, r.active = l.now, l.now
	}
	return true
}

// reclaim drains a pipe into memory, behind what its half holds already, and gives it back to the pool.
func (l *Loop) reclaim(p *pipe) {
	r := p.user
	x := &r.half[p.which]
	begun := 0
	if x.rest != nil {
		begun = len(x.rest.b)
	}
	k := l.chunks.get(begun + p.held)
	k.b = k.at[:begun]
	if x.rest != nil {
		copy(k.b, x.rest.b)
		l.chunks.put(x.rest)
	}
	x.rest = k
	for p.held > 0 {
		n, e := sysRead(p.r, k.at[len(k.b):len(k.b)+p.held])
		if e != 0 || n <= 0 {
			l.broken(r)
			return
		}
		k.b = k.b[:len(k.b)+n]
		p.held -= n
	}
	x.pipe = nil
	l.pipes.release(p)
	l.stats.Reclaimed.Add(1)
}
