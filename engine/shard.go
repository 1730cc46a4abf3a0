package engine

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"

	"sluice/engine/edge"
	"sluice/faketls"
	"sluice/splice"
	"sluice/splice/wheel"
)

const (
	sweepEvery = 50 * time.Millisecond
	sweepSlots = 256

	smallBuffer = 2 << 10                           // the first segment of a hello
	largeBuffer = faketls.MaxHello + edge.MaxHeader // all that is ever kept of a connection before its flight
	keptBuffers = 64
)

// shard is what one gnet loop owns: the connections in their handshake, their deadlines, and the scratch memory to judge
// them with. Loop only, but for what is atomic.
type shard struct {
	e       *Engine
	handler *handler
	index   int
	loop    gnet.EventLoop
	relay   *splice.Loop

	mac     *faketls.MAC
	join    []byte // faketls.ParseHello's
	scratch []byte // deframed payload, server names
	flight  []byte

	conns   map[uint64]*conn
	lastID  uint64
	oldest  []uint64 // ids in the order they came, those that are gone still in it
	wheel   *wheel.Wheel
	small   [][]byte
	large   [][]byte
	pending atomic.Int64 // len(conns), for the ticker
	asked   atomic.Bool  // the loop has been asked to turn and has not yet
	turns   atomic.Uint64
}

func newShard(h *handler, index int, loop gnet.EventLoop) *shard {
	e := h.engine
	return &shard{
		e: e, handler: h, index: index, loop: loop, relay: e.loops[index],
		mac: faketls.NewMAC(), join: make([]byte, faketls.MaxHello), scratch: make([]byte, maxBeforeFrame),
		conns: map[uint64]*conn{}, wheel: wheel.New(sweepEvery, sweepSlots, e.clock()),
	}
}

// ask has the loop turn and sweep, unless it has yet to do so: what is asked of a loop that stands still must not pile up. Any
// goroutine that holds the handler's lock.
func (s *shard) ask(ctx context.Context) {
	if s.asked.CompareAndSwap(false, true) {
		_ = s.loop.Execute(ctx, s)
	}
}

// Run is gnet's call, on the loop, for a sweep that was asked for.
func (s *shard) Run(context.Context) error {
	s.asked.Store(false)
	s.turns.Add(1)
	s.wheel.Advance(s.e.clock(), s.timer)
	return nil
}

func (s *shard) timer(id uint64) {
	c := s.conns[id]
	if c == nil {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			s.e.panicked(c, r)
			c.close()
		}
	}()
	c.timer(s.e.clock())
}

// admit adds a connection and, when there are too many unfinished ones, lets the oldest go: who completes a handshake does so
// within a moment, who holds places does not.
func (s *shard) admit(c *conn) {
	s.lastID++
	c.id = s.lastID
	s.conns[c.id] = c
	s.oldest = append(s.oldest, c.id)
	s.pending.Store(int64(len(s.conns)))
	if int64(len(s.conns)) > max(s.e.budget.handshakes/int64(len(s.e.loops)), 1) {
		s.evictOldest()
	}
}

func (s *shard) evictOldest() {
	for len(s.oldest) > 0 {
		c := s.conns[s.oldest[0]]
		s.oldest = s.oldest[1:]
		if c != nil {
			s.e.refused[refusedHandshakes].Inc(s.index)
			c.evict()
			return
		}
	}
}

func (s *shard) remove(c *conn) {
	delete(s.conns, c.id)
	s.pending.Store(int64(len(s.conns)))
	s.release(c)
	// Those that are gone are forgotten from the front, and all at once when they outnumber the rest.
	for len(s.oldest) > 0 && s.conns[s.oldest[0]] == nil {
		s.oldest = s.oldest[1:]
	}
	if len(s.oldest) > 2*len(s.conns)+1024 {
		live := make([]uint64, 0, len(s.conns)+64)
		for _, id := range s.oldest {
			if s.conns[id] != nil {
				live = append(live, id)
			}
		}
		s.oldest = live
	}
}

// keep adds b to what c has said and nobody has consumed. c.said is the joined result; it holds more than a buffer only for the
// rest of this call, when no more than the verdict is to come.
func (s *shard) keep(c *conn, b []byte) {
	need := len(c.said) + len(b)
	if need <= cap(c.said) {
		c.said = append(c.said, b...)
		return
	}
	joined := append(append(s.buffer(need), c.said...), b...)
	s.release(c)
	c.said = joined
}

// buffer is an empty one of the two sizes, or of its own when neither is enough.
func (s *shard) buffer(need int) []byte {
	spare, size := &s.small, smallBuffer
	switch {
	case need > largeBuffer:
		return make([]byte, 0, need)
	case need > smallBuffer:
		spare, size = &s.large, largeBuffer
	}
	if n := len(*spare); n > 0 {
		b := (*spare)[n-1]
		*spare = (*spare)[:n-1]
		return b
	}
	return make([]byte, 0, size)
}

// release gives c's buffer back.
func (s *shard) release(c *conn) {
	switch b := c.said[:0]; cap(b) {
	case smallBuffer:
		if len(s.small) < keptBuffers {
			s.small = append(s.small, b)
		}
	case largeBuffer:
		if len(s.large) < keptBuffers {
			s.large = append(s.large, b)
		}
	}
	c.said = nil
}
