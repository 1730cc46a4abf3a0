package splice

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sluice/splice/wheel"
)

// Config is what a [Loop] is made with. The zero value of each field means the default.
type Config struct {
	Idle      time.Duration // a DC relay without a byte for so long is closed; default 330 s
	FrontIdle time.Duration // the same for a Raw relay, whose front has timers of its own; default 1 h
	KeepAlive time.Duration // a socket quiet for so long is asked whether its peer is there; default 1 min
	Dial      time.Duration // for one attempt to connect; default 5 s
	Pipes     int           // pool of pipes; default 32
	NoSplice  bool          // the kernel lacks it: copy everything

	NoKeepAlive bool // never ask
}

const (
	turnBudget  = 1 << 20 // bytes a half may move before the others have their turn
	scratchSize = 16 * (recordHeader + recordPayload)
	maxEvents   = 256

	wheelTick  = 50 * time.Millisecond
	wheelSlots = 256 // 12.8 s: no relay goes longer than that without a look

	drainTime    = 10 * time.Second       // for the rest of a broken side to be taken by the other
	lingerTime   = 2 * time.Second        // for a tail to leave before the RST that follows it
	lingerLook   = 50 * time.Millisecond  // between looks at that
	reclaimAfter = 500 * time.Millisecond // a pipe that has not moved for so long may be drained into memory
	notSentLimit = 128 << 10              // TCP_NOTSENT_LOWAT of a client: bounds the kernel's part of a stalled one
)

// ErrClosed says that the loop no longer takes relays.
var ErrClosed = errors.New("splice: loop is closed")

// Loop carries relays. Run is its goroutine; Add, Feed, Adopt, Drop, Poke, Close and Stats may be called from any.
type Loop struct {
	cfg   Config
	ep    int
	stats Stats

	intake struct {
		sync.Mutex
		orders []order
		closed bool
		id     uint64
		poked  bool // the event has been written and not been seen
		event  int
	}

	// Loop only from here on.
	now     int64
	epoch   time.Time
	slab    slab
	pipes   pipes
	loom    loom
	warm    warm
	chunks  chunks
	wheel   *wheel.Wheel
	ready   []*relay
	turn    []*relay // ready, while it is worked on
	taken   []order
	shadows map[uint64]*relay
	scratch []byte
	iov     [scratchSize / (recordHeader + recordPayload)]unix.Iovec
	events  [maxEvents]unix.EpollEvent
	over    bool
}

// New makes a loop with its epoll and its pipes. The caller runs it, or closes it.
func New(cfg Config) (*Loop, error) {
	l := &Loop{cfg: cfg.withDefaults(), shadows: map[uint64]*relay{}, epoch: time.Now(), scratch: make([]byte, scratchSize)}
	l.wheel = wheel.New(wheelTick, wheelSlots, 0)
	l.initGaps()
	var err error
	if l.ep, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("splice: epoll_create1: %w", err)
	}
	if l.intake.event, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		_ = unix.Close(l.ep)
		return nil, fmt.Errorf("splice: eventfd: %w", err)
	}
	wake := unix.EpollEvent{Events: unix.EPOLLIN | edge, Fd: -1}
	if err = unix.EpollCtl(l.ep, unix.EPOLL_CTL_ADD, l.intake.event, &wake); err != nil {
		l.closeOwn()
		return nil, fmt.Errorf("splice: epoll_ctl: %w", err)
	}
	if !l.cfg.NoSplice && !hasSplice() {
		l.cfg.NoSplice, l.cfg.Pipes = true, 0
	}
	l.pipes.limit = l.cfg.Pipes
	if !l.cfg.NoSplice {
		l.pipes.fill()
		if l.pipes.size >= PipeSize { // in less a burst with its headers finds no room, and copying is cheaper
			l.loom.set()
		}
	}
	l.noteSplices()
	l.countPipes()
	return l, nil
}

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, to time.Duration) {
		if *d <= 0 {
			*d = to
		}
	}
	set(&c.Idle, 330*time.Second)
	set(&c.FrontIdle, time.Hour)
	set(&c.KeepAlive, time.Minute)
	set(&c.Dial, 5*time.Second)
	if c.Pipes <= 0 {
		c.Pipes = 32
	}
	if c.NoSplice {
		c.Pipes = 0
	}
	return c
}

// edge is EPOLLET as the type of an event's mask.
const edge = 1 << 31

// Stats are the loop's counters, to read at any time.
func (l *Loop) Stats() *Stats { return &l.stats }

// Run carries relays until Close, then closes every one left and gives back all descriptors. It keeps its thread.
func (l *Loop) Run() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var err error
	for !l.over && err == nil {
		err = l.once()
	}
	l.Close()
	l.takeOrders()
	l.slab.each(l.drop)
	l.closeOwn()
	return err
}

// drop ends a relay whoever's wish it is.
func (l *Loop) drop(r *relay) {
	defer l.contain(r)
	l.end(r, Dropped)
}

// once waits for something to do and does it.
func (l *Loop) once() error {
	if err := l.wait(); err != nil {
		return err
	}
	l.wheel.Advance(l.now, l.timer)
	l.warm.rest(l.now)
	l.takeOrders()
	l.runReady()
	return nil
}

// wait collects events: without blocking while there is work left, else until something happens or a timer is due.
func (l *Loop) wait() error {
	timeout := -1
	if len(l.ready) > 0 {
		timeout = 0
	} else if d, ok := l.wheel.Next(l.clock()); ok {
		if l.warm.taken > 0 {
			d = min(d, quietLook)
		}
		timeout = int((d + time.Millisecond - 1) / time.Millisecond)
	}
	n, err := unix.EpollWait(l.ep, l.events[:], timeout)
	if err != nil && err != unix.EINTR {
		return fmt.Errorf("splice: epoll_wait: %w", err)
	}
	l.now = l.clock()
	l.stats.Turns.Add(1)
	for i := range max(n, 0) {
		l.event(&l.events[i])
	}
	return nil
}

func (l *Loop) clock() int64 { return int64(time.Since(l.epoch)) }

// event turns an event into bits of a side. Events of a slot's last life are known by their generation.
func (l *Loop) event(e *unix.EpollEvent) {
	if e.Fd < 0 {
		l.drainWake()
		return
	}
	r := l.slab.at(uint32(e.Fd) >> 1)
	if r.gen != uint32(e.Pad) || r.state == free {
		return
	}
	s := &r.side[e.Fd&1]
	if e.Events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		s.set(canRead)
	}
	if e.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		s.set(hung)
	}
	if e.Events&(unix.EPOLLOUT|unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		s.set(canWrite)
	}
	if e.Events&unix.EPOLLERR != 0 {
		s.set(broken)
	}
	l.enqueue(r)
}

func (l *Loop) enqueue(r *relay) {
	if !r.queued {
		r.queued = true
		l.ready = append(l.ready, r)
	}
}

// runReady gives every ready relay one turn; who has more to do is ready again.
func (l *Loop) runReady() {
	l.turn, l.ready = l.ready, l.turn[:0]
	for _, r := range l.turn {
		r.queued = false
		if r.state != free {
			l.step(r)
		}
	}
	l.countPipes()
}

// contain is deferred wherever the loop begins to work on a relay: a panic below costs that one connection, not all.
func (l *Loop) contain(r *relay) {
	if recover() == nil {
		return
	}
	l.stats.Panics.Add(1)
	if l.loom.ready() {
		l.reset() // the fault may have left a burst in it, which would surface in somebody else's connection
	}
	if r.state != free {
		defer func() { _ = recover() }() // the owner's fault may be in its last call, too
		l.end(r, Panicked)
	}
}

func (l *Loop) step(r *relay) {
	defer l.contain(r)
	switch {
	case r.state == dialing:
		l.stepDial(r)
	case r.state == open && r.id != 0:
		l.stepShadow(r)
	case r.state == open:
		l.stepOpen(r)
	case r.state == lingering:
		l.stepLinger(r)
	}
}

func (l *Loop) stepOpen(r *relay) {
	again := l.move(r, up)
	if r.state == open {
		again = l.move(r, down) || again
	}
	if r.state != open {
		return
	}
	if r.half[up].dead && r.half[down].dead {
		l.end(r, ClientReset)
		return
	}
	if r.side[client].has(shut) && r.side[upstream].has(shut) {
		l.end(r, Finished)
		return
	}
	if (r.side[client].has(broken) || r.side[upstream].has(broken)) && r.deadline == 0 {
		r.deadline = l.now + int64(drainTime)
		l.watch(r)
	}
	if again {
		l.enqueue(r)
	}
}

// register has epoll report the edges of one side, from now until the descriptor is closed.
func (l *Loop) register(r *relay, which int) unix.Errno {
	e := unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | edge,
		Fd:     int32(r.slot<<1) | int32(which), Pad: int32(r.gen),
	}
	if err := unix.EpollCtl(l.ep, unix.EPOLL_CTL_ADD, int(r.side[which].fd), &e); err != nil {
		return err.(unix.Errno)
	}
	return 0
}

func (l *Loop) noteSplices() { l.stats.Splices.Store(!l.cfg.NoSplice && l.loom.ready()) }

func (l *Loop) countPipes() {
	l.stats.PipesIdle.Store(int64(len(l.pipes.idle)))
	l.stats.PipesBusy.Store(int64(len(l.pipes.busy)))
	l.stats.PipeSize.Store(int64(l.pipes.size))
	l.stats.HeldBytes.Store(int64(l.chunks.held))
}

func (l *Loop) closeOwn() {
	l.loom.close()
	l.pipes.close()
	l.countPipes()
	_ = unix.Close(l.ep)
	l.intake.Lock()
	defer l.intake.Unlock()
	_ = unix.Close(l.intake.event)
}
