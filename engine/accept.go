package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/panjf2000/gnet/v2"

	"sluice/bpf"
	"sluice/engine/config"
)

// errNoDescriptors puts a start off: gnet that runs out of them half-way leaves listeners behind that nobody accepts from.
var errNoDescriptors = errors.New("too few descriptors to listen")

// errAccept stands for what gnet only logs.
var errAccept = errors.New("gnet ended: see what it logged before")

const (
	tidyEvery  = 100 // sweeps: 5 s
	fewAccepts = 50  // in that time: the burst is over

	restartPause = 10 * time.Millisecond
	restartMax   = 5 * time.Second
)

// accept runs gnet until ctx ends and stopGnet is called. gnet stops its whole engine on an accept error it does not know
// (EMFILE above all); it is then run again. The relays, which live in the splice loops, do not notice.
func (e *Engine) accept(ctx context.Context) error {
	pause := restartPause
	for {
		started := time.Now()
		err := e.runGnet()
		if err == nil {
			err = errAccept
		}
		e.handler.Store(nil)
		if ctx.Err() != nil {
			return nil
		}
		if e.state.Load() == starting {
			return fmt.Errorf("listen: %w", err)
		}
		e.restarts.Add(1)
		if time.Since(started) > time.Minute {
			pause = restartPause
		}
		e.limited.line("restart", slog.LevelError, "accepting stopped by itself and starts again; relays are not affected",
			slog.Any("error", err), slog.Int64("fds_used", e.budget.used()), slog.Int64("fds_limit", e.budget.descriptors))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		if ctx.Err() != nil {
			return nil
		}
		pause = min(2*pause, restartMax)
	}
}

func (e *Engine) runGnet() error {
	if !spareDescriptors(len(e.loops) * (len(e.listening) + 2)) {
		return errNoDescriptors
	}
	h := &handler{engine: e, shards: map[gnet.EventLoop]*shard{}}
	var addrs []string
	for _, a := range e.listening {
		addrs = append(addrs, gnetAddr(a))
	}
	return gnet.Rotate(h, addrs, append(e.tuned(),
		gnet.WithNumEventLoop(len(e.loops)), gnet.WithReusePort(true), gnet.WithReuseAddr(true), gnet.WithLockOSThread(true),
		gnet.WithReadBufferCap(32<<10), gnet.WithWriteBufferCap(1<<10), gnet.WithLogger(gnetLog{e}))...)
}

// gnetAddr writes an address as gnet wants it: it takes a literal [::] for IPv6 alone, and no host for both families.
func gnetAddr(a netip.AddrPort) string {
	if a.Addr() == netip.IPv6Unspecified() {
		return fmt.Sprintf("tcp://:%d", a.Port())
	}
	return "tcp://" + a.String()
}

// stopGnet ends the accepting engine, whose connections (handshakes) are closed.
func (e *Engine) stopGnet() {
	if h := e.handler.Load(); h != nil {
		grace, done := context.WithTimeout(context.Background(), 5*time.Second)
		defer done()
		_ = h.gnet.Stop(grace)
	}
}

// handler is what gnet calls. One is made for each run of gnet.
type handler struct {
	gnet.BuiltinEventEngine
	engine *Engine
	gnet   gnet.Engine

	mu      sync.Mutex
	shards  map[gnet.EventLoop]*shard
	stopped bool // gnet's loops may no longer be woken
}

// OnBoot is called once, when the listeners are open.
func (h *handler) OnBoot(g gnet.Engine) gnet.Action {
	e := h.engine
	h.gnet = g
	e.handler.Store(h)
	if e.state.Load() == draining { // the stop came while gnet was being started again
		return gnet.Shutdown
	}
	if e.state.CompareAndSwap(starting, serving) {
		close(e.ready)
	}
	return gnet.None
}

// shard is the state of the loop a connection lives on, made when its first connection comes.
func (h *handler) shard(loop gnet.EventLoop) *shard {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.shards[loop]
	if s == nil {
		s = newShard(h, len(h.shards)%len(h.engine.loops), loop)
		h.shards[loop] = s
	}
	return s
}

// OnOpen admits a connection, or refuses it when a limit is reached.
func (h *handler) OnOpen(g gnet.Conn) ([]byte, gnet.Action) {
	e := h.engine
	s := h.shard(g.EventLoop())
	e.accepts.Inc(s.index)
	e.budget.pending.Add(1)
	why := e.budget.admit()
	if e.state.Load() == draining {
		why = refusedDraining
	}
	if why != "" {
		e.refuse(s, why)
		return nil, gnet.Close
	}
	c := h.newConn(g, s)
	if c.door.edge.Outsiders == config.Drop && c.outside() {
		e.refuse(s, refusedOutsider)
		return nil, gnet.Close
	}
	if c.door.guarded() {
		bpf.Detach(g.Fd()) // it has inherited the listener's
	}
	g.SetContext(c)
	s.admit(c)
	c.watch()
	return nil, gnet.None
}

func (e *Engine) refuse(s *shard, why refusal) {
	e.refused[why].Inc(s.index)
	if why != refusedDraining && why != refusedOutsider {
		e.limited.line(string(why), slog.LevelWarn, "a limit is reached and connections are refused", slog.String("limit", string(why)),
			slog.Int64("connections", e.budget.pending.Load()+e.budget.relays()), slog.Int64("connections_limit", e.budget.connections),
			slog.Int64("fds", e.budget.used()), slog.Int64("fds_limit", e.budget.descriptors))
	}
}

// OnTraffic judges what a connection has sent. gnet's inbound buffer is always emptied into ours, which is bounded.
func (h *handler) OnTraffic(g gnet.Conn) (action gnet.Action) {
	c, ok := g.Context().(*conn)
	if !ok || c.stage == gone {
		return gnet.Close
	}
	defer func() {
		if r := recover(); r != nil {
			h.engine.panicked(c, r)
			action = gnet.Close
		}
	}()
	b, _ := g.Next(-1)
	c.shard.keep(c, b)
	return c.advance()
}

// OnClose judges a connection that ends before its hand-off.
func (h *handler) OnClose(g gnet.Conn, err error) gnet.Action {
	e := h.engine
	e.budget.pending.Add(-1)
	c, ok := g.Context().(*conn)
	if !ok || c.stage == gone {
		return gnet.None
	}
	defer func() {
		if r := recover(); r != nil {
			e.panicked(c, r)
		}
	}()
	switch {
	case err == nil: // the engine stops
		c.quit(stopped)
	default:
		c.ended(!errors.Is(err, io.EOF))
	}
	return gnet.None
}

// panicked drops one connection for a broken invariant of ours.
func (e *Engine) panicked(c *conn, r any) {
	e.panics.Add(1)
	e.log.Error("a connection was dropped for an internal fault: please report this", slog.Any("fault", r))
	if c.stage != gone {
		if c.shadowed {
			c.shard.relay.Drop(c.shadow)
		}
		c.stage = gone
		c.shard.remove(c)
	}
}

// ticker asks every loop with unfinished handshakes to look at its deadlines, until ctx ends. (gnet has no timers of its own.)
func (e *Engine) ticker(ctx context.Context) {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	var accepted uint64
	for turn := uint64(1); ; turn++ {
		if turn%tidyEvery == 0 {
			now := e.accepts.Value()
			if now-accepted < fewAccepts {
				tidy()
			}
			accepted = now
		}
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			e.replay.Sweep(now)
			e.places.Sweep(now)
			e.suspectFronts()
			e.keepGuarded()
			if h := e.handler.Load(); h != nil {
				h.sweep(ctx)
			}
		}
	}
}

// OnShutdown is called once, before the loops end. Whoever wakes a loop later would write to a descriptor that may by then be
// somebody else's.
func (h *handler) OnShutdown(gnet.Engine) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped = true
}

// wake has c's loop look at c. Any goroutine.
func (h *handler) wake(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.stopped {
		_ = c.gnet.Wake(nil)
	}
}

func (h *handler) sweep(ctx context.Context) {
	h.each(func(s *shard) {
		if s.pending.Load() > 0 {
			s.ask(ctx)
		}
	})
}

// each calls f for the shards there are, unless their loops may no longer be asked for anything.
func (h *handler) each(f func(*shard)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped {
		return
	}
	for _, s := range h.shards {
		f(s)
	}
}
