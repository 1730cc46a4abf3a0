package splice

import (
	"golang.org/x/sys/unix"

	"sluice/faketls"
)

const (
	recordHeader  = 5
	recordPayload = faketls.MaxRecord

	// copyLimit is the burst up to which reading and sending beats the pipe (field figures: the two meet at 16 KiB).
	copyLimit = 16 << 10

	maxBurst   = 4        // a copy of up to 16 records
	spliceUnit = 64 << 10 // a splice in starts at this and doubles to burstSize
)

// move carries half h as far as its source, its sink and its budget allow, and says whether the budget was what ended it.
func (l *Loop) move(r *relay, h int) (again bool) {
	src, dst, x := &r.side[h], &r.side[1-h], &r.half[h]
	budget := turnBudget
	for budget > 0 && l.flush(r, h) && !x.dead {
		if src.has(ended) {
			l.finishHalf(r, h)
			break
		}
		if !src.has(canRead) || !dst.has(canWrite) {
			break
		}
		budget -= l.take(r, h)
	}
	if x.pipe != nil && x.pipe.held == 0 {
		l.pipes.release(x.pipe)
		x.pipe = nil
	}
	return budget <= 0 && r.state == open
}

// finishHalf carries the source's end of stream to the sink. After a reset there is none to carry: the reset is.
func (l *Loop) finishHalf(r *relay, h int) {
	src, dst := &r.side[h], &r.side[1-h]
	if src.has(broken) {
		l.fail(r, h)
		return
	}
	if !dst.has(shut) {
		sysShutdownWrite(dst.fd)
		dst.set(shut)
	}
}

// take reads one burst from half h's source and sends what the sink takes of it. It returns the bytes read. The half holds
// nothing when it is called, so EAGAIN means that the source is empty.
func (l *Loop) take(r *relay, h int) int {
	switch {
	case h == up && r.mode != Raw:
		return l.takeUpload(r)
	case h == down && r.mode == Recrypt:
		return l.takeFramed(r, r.download)
	}
	if x := &r.half[h]; x.bulk && (r.mode == Raw || l.loom.ready()) && l.lendPipe(r, h) {
		return l.takeSplice(r, h)
	}
	if r.state != open { // a fault of its other half's pipe, which was to be lent
		return 0
	}
	if r.mode == Raw {
		return l.takeRaw(r, h)
	}
	return l.takeFramed(r, nil)
}

// took judges a read of half h's source that asked for want bytes; ok says that it brought some.
func (l *Loop) took(r *relay, h, n, want int, e unix.Errno) (ok bool) {
	src := &r.side[h]
	switch {
	case e == unix.EAGAIN:
		src.clear(canRead)
	case e != 0:
		l.fail(r, h)
	case n == 0:
		src.set(ended)
	default:
		r.active = l.now
		r.half[h].bulk = n >= want
		// A short read has emptied the socket: what comes later is a new edge. An end of stream that was announced already is
		// not, and a fronted client's urgent byte stops a read early.
		if n < want && r.mode != Raw && !src.has(hung) {
			src.clear(canRead)
		}
		return true
	}
	return false
}

// count adds n payload bytes to the half and to the loop's counters.
func (l *Loop) count(r *relay, h, n int, p Path) {
	r.half[h].bytes += uint64(n)
	l.stats.Bytes[r.lane][r.mode.kind()][h][p].Add(uint64(n))
}

// takeRaw copies one burst unchanged.
func (l *Loop) takeRaw(r *relay, h int) int {
	want := copyLimit << r.half[h].burst
	n, e := sysRead(r.side[h].fd, l.scratch[:want])
	if !l.took(r, h, n, want, e) {
		return 0
	}
	l.count(r, h, n, Copied)
	l.grow(r, h)
	l.send(r, h, l.scratch[:n])
	return n
}

// takeFramed copies one burst of a download into records, through the streams of c when the mode has them. The kernel
// reads between the gaps that the headers go into.
func (l *Loop) takeFramed(r *relay, c *crypt) int {
	records := 1 << r.half[down].burst
	want := records * recordPayload
	n, e := sysReadv(r.side[upstream].fd, l.iov[:records])
	if !l.took(r, down, n, want, e) {
		return 0
	}
	path := Copied
	if c != nil {
		path = Crypted
	}
	l.count(r, down, n, path)
	l.grow(r, down)
	l.send(r, down, l.frame(n, c))
	return n
}

// frame makes records of the n bytes that lie between the gaps of the scratch buffer.
func (l *Loop) frame(n int, c *crypt) []byte {
	at := 0
	for left := n; left > 0; {
		size := min(left, recordPayload)
		faketls.PutHeader(l.scratch[at:], size)
		at += recordHeader
		if c != nil {
			l.warm.apply(c, l.scratch[at:at+size], l.now)
		}
		at += size
		left -= size
	}
	return l.scratch[:at]
}

// initGaps prepares the vector that takeFramed reads by.
func (l *Loop) initGaps() {
	for i := range l.iov {
		l.iov[i].Base = &l.scratch[i*(recordHeader+recordPayload)+recordHeader]
		l.iov[i].SetLen(recordPayload)
	}
}

// takeUpload takes one burst of a client's records apart and sends the payload on through both streams.
func (l *Loop) takeUpload(r *relay) int {
	want := copyLimit << r.half[up].burst
	n, e := sysRead(r.side[client].fd, l.scratch[:want])
	if !l.took(r, up, n, want, e) {
		return 0
	}
	l.grow(r, up)
	b, ok := l.decode(r, l.scratch[:n])
	l.send(r, up, b)
	if !ok && r.state == open {
		l.end(r, ClientProtocol)
	}
	return n
}

// decode turns client records into what the DC is to be sent, in place. False means that the client broke the protocol; the
// payload before that is returned all the same.
func (l *Loop) decode(r *relay, b []byte) ([]byte, bool) {
	n, err := r.deframer.Deframe(b)
	b = b[:n]
	if c := &r.upload; c.skip > 0 {
		passed := min(int(c.skip), n)
		b, c.skip = b[passed:], c.skip-uint8(passed)
	}
	l.warm.apply(&r.upload, b, l.now)
	l.count(r, up, len(b), Crypted)
	return b, err == nil
}

// grow doubles the next copy while reads come in full, shrink starts over when the sink stalls: what a stalled relay holds
// is one burst.
func (l *Loop) grow(r *relay, h int) {
	if x := &r.half[h]; !x.bulk {
		x.burst = 0
	} else if x.burst < maxBurst {
		x.burst++
	}
}

func (x *half) shrink() { x.burst, x.bulk = 0, false }

// send gives b, which may lie in the scratch buffer, to half h's sink, and keeps what it does not take.
func (l *Loop) send(r *relay, h int, b []byte) {
	if len(b) == 0 {
		return
	}
	n, e := sysSend(r.side[1-h].fd, b, 0)
	switch {
	case e == unix.EAGAIN:
		n = 0
	case e != 0:
		l.sinkFailed(r, h)
		return
	}
	if n < len(b) {
		r.half[h].rest = l.chunks.keep(b[n:])
	}
}

// appendRest queues b behind what half h holds. Only for the few bytes of a beginning: nothing may be in the pipe.
func (l *Loop) appendRest(r *relay, h int, b []byte) {
	x := &r.half[h]
	switch {
	case len(b) == 0:
	case x.rest == nil:
		x.rest = l.chunks.keep(b)
	default:
		joined := append(append([]byte(nil), x.rest.b...), b...)
		l.chunks.put(x.rest)
		x.rest = l.chunks.keep(joined)
	}
}

// flush sends what half h holds: first the rest, then the pipe. True means that nothing is left.
func (l *Loop) flush(r *relay, h int) bool {
	x := &r.half[h]
	if x.rest == nil && x.pipe == nil {
		return r.state == open
	}
	if !r.side[1-h].has(canWrite) {
		return false
	}
	if x.rest != nil && !l.flushRest(r, h) {
		return false
	}
	if x.pipe != nil && x.pipe.held > 0 {
		return l.drain(r, h)
	}
	return r.state == open
}

func (l *Loop) flushRest(r *relay, h int) bool {
	x := &r.half[h]
	flags := 0
	if x.pipe != nil && x.pipe.held > 0 {
		flags = unix.MSG_MORE
	}
	for len(x.rest.b) > 0 {
		n, e := sysSend(r.side[1-h].fd, x.rest.b, flags)
		if e != 0 {
			l.blocked(r, h, e)
			return false
		}
		x.rest.b = x.rest.b[n:]
		r.active = l.now
	}
	l.chunks.put(x.rest)
	x.rest = nil
	return true
}

// blocked judges an error of half h's sink: it is full, or it is gone.
func (l *Loop) blocked(r *relay, h int, e unix.Errno) {
	if e == unix.EAGAIN {
		r.side[1-h].clear(canWrite)
		r.half[h].shrink()
		return
	}
	l.sinkFailed(r, h)
}
