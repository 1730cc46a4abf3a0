package splice

import (
	"golang.org/x/sys/unix"

	"sluice/faketls"
)

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
	if x.pipe = l.pipes.borrow(r, uint8(h), l.now); x.pipe == nil {
		if p := l.pipes.stalest(l.now - int64(reclaimAfter)); p != nil && l.chunks.held < heldBudget {
			l.reclaim(p)
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

// takeSplice moves one burst from half h's source into its empty pipe, and from there to the sink.
func (l *Loop) takeSplice(r *relay, h int) int {
	x := &r.half[h]
	want := min(spliceUnit<<x.burst, PipeSize)
	n, e := sysSplice(r.side[h].fd, x.pipe.w, want, 0)
	if e == unix.EINVAL || e == unix.ENOSYS { // this kernel, or this socket, cannot
		l.cfg.NoSplice = true
		l.stats.Splices.Store(false)
		x.shrink()
		return 0
	}
	if e == unix.EAGAIN && r.mode == Raw { // the source is empty, or stands at an urgent byte: a read will tell
		x.shrink()
		return 0
	}
	if !l.took(r, h, n, 0, e) {
		x.shrink()
		return 0
	}
	x.pipe.held, x.pipe.since = n, l.now
	if n < copyLimit {
		x.shrink()
	} else if n == want && x.burst < maxBurst {
		x.burst++
	}
	l.count(r, h, n, Spliced)
	l.flush(r, h)
	return n
}

// drainRaw moves the pipe of half h into its sink; true when the pipe is empty.
func (l *Loop) drainRaw(r *relay, h int) bool {
	p := r.half[h].pipe
	for p.held > 0 {
		n, e := sysSplice(p.r, r.side[1-h].fd, p.held, 0)
		if e != 0 {
			l.blocked(r, h, e)
			return false
		}
		l.drained(r, p, n)
	}
	return true
}

// drainFramed does the same for a download, a record at a time. A header announces exactly what is held and what therefore
// can follow it; what a stall leaves of a record is remembered.
func (l *Loop) drainFramed(r *relay, h int) bool {
	x := &r.half[h]
	p := x.pipe
	for p.held > 0 {
		if x.owed == 0 && !l.announceRecord(r, h) {
			return false
		}
		more := 0
		if p.held > int(x.owed) {
			more = unix.SPLICE_F_MORE
		}
		n, e := sysSplice(p.r, r.side[1-h].fd, int(x.owed), more)
		if e != 0 {
			l.blocked(r, h, e)
			return false
		}
		x.owed -= uint16(n)
		l.drained(r, p, n)
	}
	return true
}

func (l *Loop) drained(r *relay, p *pipe, n int) {
	p.held -= n
	p.since, r.active = l.now, l.now
}

// announceRecord sends the header of the next record of half h's pipe. False means that not all of it could be sent.
func (l *Loop) announceRecord(r *relay, h int) bool {
	x := &r.half[h]
	size := min(x.pipe.held, recordPayload)
	header := l.scratch[:recordHeader]
	faketls.PutHeader(header, size)
	n, e := sysSend(r.side[1-h].fd, header, unix.MSG_MORE)
	if e != 0 {
		l.blocked(r, h, e)
		return false
	}
	x.owed = uint16(size)
	if n < recordHeader {
		x.rest = l.chunks.keep(header[n:])
		return false
	}
	return true
}

// reclaim drains a stalled pipe into memory, framed as it would have been, and gives it back to the pool.
func (l *Loop) reclaim(p *pipe) {
	r, h := p.user, int(p.which)
	x := &r.half[h]
	framed := r.mode != Raw
	size := p.held
	if framed {
		size += recordHeader * (p.held/recordPayload + 1)
	}
	begun := 0
	if x.rest != nil {
		begun = len(x.rest.b)
	}
	k := l.chunks.get(begun + size)
	k.b = k.at[:0]
	if x.rest != nil {
		k.b = append(k.b, x.rest.b...)
		l.chunks.put(x.rest)
	}
	if !framed {
		x.owed = 0
	}
	for p.held > 0 {
		part := p.held
		if framed {
			if x.owed == 0 {
				x.owed = uint16(min(p.held, recordPayload))
				faketls.PutHeader(k.b[len(k.b):len(k.b)+recordHeader], int(x.owed))
				k.b = k.b[:len(k.b)+recordHeader]
			}
			part = int(x.owed)
		}
		n, e := sysRead(p.r, k.b[len(k.b):len(k.b)+part])
		if e != 0 || n <= 0 {
			l.chunks.put(k)
			p.user.half[p.which].rest = nil
			l.end(p.user, Panicked) // the pipe holds less than it was given
			l.stats.Panics.Add(1)
			return
		}
		k.b = k.b[:len(k.b)+n]
		p.held -= n
		if framed {
			x.owed -= uint16(n)
		}
	}
	x.rest, x.pipe = k, nil
	l.pipes.release(p)
	l.stats.Reclaimed.Add(1)
}
