package splice

import (
	"golang.org/x/sys/unix"
)

const (
	// burstSize is the most that one splice takes from a socket: 256 KiB is the knee (128 KiB costs 1.14 times as much, 1 MiB
	// nothing less).
	burstSize = 256 << 10

	// PipeSize is the capacity a pipe is asked to have. A burst in its records needs more slots than bare: one for each header
	// and one for each page that a record's border cuts.
	PipeSize = 2 * burstSize

	// minPipe is the least capacity worth having. An unprivileged user beyond its pipe budget silently gets 8 KiB.
	minPipe = 64 << 10
)

// pipe is a kernel pipe between two sockets. It is borrowed by a half while bytes are in flight.
type pipe struct {
	r, w  int32
	size  int    // its capacity in bytes
	held  int    // bytes in it
	user  *relay // who has it, for reclaiming
	which uint8  // and the half
	since int64  // when it was borrowed, or last moved a byte
}

// pipes is a loop's fixed pool. Loop only.
type pipes struct {
	idle  []*pipe
	busy  []*pipe
	limit int
	made  int
	size  int // the smallest capacity got
}

// fill makes the pool's pipes: fewer than the limit when descriptors or the user's pipe budget run out, which is no error, for
// copying is the fallback.
func (p *pipes) fill() {
	for p.made < p.limit && p.make() {
	}
}

func (p *pipes) make() bool {
	b := newPipe(PipeSize)
	if b == nil {
		return false
	}
	if p.size == 0 || b.size < p.size {
		p.size = b.size
	}
	p.idle = append(p.idle, b)
	p.made++
	return true
}

// newPipe makes a pipe of about the capacity asked for, or nil.
func newPipe(capacity int) *pipe {
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC) != nil {
		return nil
	}
	_, _ = unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, capacity)
	size, err := unix.FcntlInt(uintptr(fds[0]), unix.F_GETPIPE_SZ, 0)
	p := &pipe{r: int32(fds[0]), w: int32(fds[1]), size: size}
	if err != nil || size < min(minPipe, capacity) {
		p.destroy()
		return nil
	}
	return p
}

func (p *pipe) destroy() {
	if p != nil {
		sysClose(p.r)
		sysClose(p.w)
	}
}

// borrow takes an empty pipe, or nil when there is none to be had.
func (p *pipes) borrow(r *relay, which uint8, now int64) *pipe {
	if len(p.idle) == 0 && (p.made >= p.limit || !p.make()) {
		return nil
	}
	b := p.idle[len(p.idle)-1]
	p.idle = p.idle[:len(p.idle)-1]
	b.user, b.which, b.since = r, which, now
	p.busy = append(p.busy, b)
	return b
}

// plenty says whether less than half of the pool is lent.
func (p *pipes) plenty() bool { return 2*len(p.busy) < p.limit }

// release takes a pipe back. One that still holds bytes is destroyed: they would surface in somebody else's connection.
func (p *pipes) release(b *pipe) {
	for i, x := range p.busy {
		if x == b {
			last := len(p.busy) - 1
			p.busy[i], p.busy[last] = p.busy[last], nil
			p.busy = p.busy[:last]
			break
		}
	}
	b.user = nil
	if b.held == 0 {
		p.idle = append(p.idle, b)
		return
	}
	b.destroy()
	p.made--
}

// stalest is the borrowed pipe that holds bytes and has not moved one for longest, if that is since before the given time.
func (p *pipes) stalest(before int64) *pipe {
	var oldest *pipe
	for _, b := range p.busy {
		if b.held > 0 && b.since < before && (oldest == nil || b.since < oldest.since) {
			oldest = b
		}
	}
	return oldest
}

func (p *pipes) close() {
	for _, b := range p.idle {
		b.destroy()
		p.made--
	}
	p.idle = nil
}

// chunk is a piece of memory between a read and the send that did not take it all.
type chunk struct {
	b  []byte // what is left
	at []byte // the whole buffer, for its next use
}

// chunks is a loop's pool of the one common size; larger chunks come and go with the collector. Loop only.
type chunks struct {
	spare []*chunk
	held  int // bytes in chunks that relays hold
}

const (
	chunkSize  = 17 << 10 // a full record with its header
	maxSpare   = 16
	heldBudget = 16 << 20 // bytes beyond which no pipe is drained into memory
)

// keep copies b into a chunk.
func (c *chunks) keep(b []byte) *chunk {
	k := c.get(len(b))
	k.b = k.at[:copy(k.at, b)]
	return k
}

// get is a chunk whose buffer holds at least n bytes; its b is empty.
func (c *chunks) get(n int) *chunk {
	var k *chunk
	if last := len(c.spare) - 1; n <= chunkSize && last >= 0 {
		k, c.spare = c.spare[last], c.spare[:last]
	} else {
		k = &chunk{at: make([]byte, max(n, min(chunkSize, roundUp(n))))}
	}
	c.held += len(k.at)
	return k
}

// roundUp gives small remainders small buffers: a stalled relay's may stay for as long as the client likes.
func roundUp(n int) int {
	if n <= 1<<10 {
		return 1 << 10
	}
	return chunkSize
}

func (c *chunks) put(k *chunk) {
	c.held -= len(k.at)
	if len(k.at) == chunkSize && len(c.spare) < maxSpare {
		k.b = nil
		c.spare = append(c.spare, k)
	}
}
