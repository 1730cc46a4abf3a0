// Package baseline holds the two relays that a proxy is measured against, each to be run as a process of its own: Raw, a splice
// loop without any protocol, which is about the least that the kernel lets a relay cost; and Plain, the proxy as it is
// usually written in Go: two goroutines a connection, 16 KiB buffers, AES-CTR twice each way.
package baseline

import (
	"net/netip"
	"runtime"

	"golang.org/x/sys/unix"

	"sluice/bench/poll"
)

// Raw relays whatever comes to listen on to one of targets, in turn, with as many loops as the process has CPUs. It returns on
// errors only.
func Raw(listen netip.AddrPort, targets []netip.AddrPort) error {
	failed := make(chan error)
	for range runtime.GOMAXPROCS(0) {
		l := &rawLoop{targets: targets}
		var err error
		if l.listener, _, err = poll.Listen(listen); err != nil {
			return err
		}
		if l.poller, err = poll.New(); err != nil {
			return err
		}
		if err := l.poller.Add(l.listener, poll.In, rawListener); err != nil {
			return err
		}
		go func() { failed <- l.run() }()
	}
	return <-failed
}

const (
	rawListener = 1 << 62
	rawPipe     = 256 << 10
	rawTurn     = 1 << 20
	rawFull     = 64 << 10 // a splice of so much is tried again at once
)

type rawPipeFDs struct{ r, w, held int }

// rawSide is one socket and the direction that it is the source of.
type rawSide struct {
	fd    int
	watch uint32
	pipe  *rawPipeFDs
	ended bool // its end of stream was read
	shut  bool // and passed on
}

type rawRelay struct {
	side  [2]rawSide // client, target
	index int
	open  bool // the target has answered
}

// rawLoop is level-triggered: a relay that moves little costs one splice in and one out an event.
type rawLoop struct {
	poller   *poll.Poller
	listener int
	targets  []netip.AddrPort
	turn     int
	relays   []*rawRelay
	free     []int
	pipes    []*rawPipeFDs
}

func (l *rawLoop) run() error {
	runtime.LockOSThread()
	for {
		events, err := l.poller.Wait(-1)
		if err != nil {
			return err
		}
		for _, e := range events {
			if e.Token == rawListener {
				l.accept()
				continue
			}
			if r := l.relays[e.Token>>1]; r != nil {
				l.event(r, int(e.Token&1), e.Mask)
			}
		}
	}
}

func (l *rawLoop) accept() {
	for range 64 {
		fd, e := poll.Accept(l.listener)
		if e != 0 {
			return
		}
		l.turn = (l.turn + 1) % len(l.targets)
		to, err := poll.Dial(netip.Addr{}, l.targets[l.turn])
		if err != nil {
			poll.Close(fd)
			continue
		}
		r := &rawRelay{}
		r.side[0].fd, r.side[1].fd = fd, to
		if n := len(l.free); n > 0 {
			r.index, l.free = l.free[n-1], l.free[:n-1]
			l.relays[r.index] = r
		} else {
			r.index = len(l.relays)
			l.relays = append(l.relays, r)
		}
		poll.NoDelay(fd)
		poll.NoDelay(to)
		r.side[1].watch = poll.Out
		if l.poller.Add(to, poll.Out, r.token(1)) != nil {
			l.close(r)
		}
	}
}

func (r *rawRelay) token(side int) uint64 { return uint64(r.index<<1 | side) }

func (l *rawLoop) event(r *rawRelay, side int, mask uint32) {
	if !r.open {
		if poll.Failure(r.side[1].fd) != nil || l.poller.Add(r.side[0].fd, poll.In, r.token(0)) != nil {
			l.close(r)
			return
		}
		r.open = true
		r.side[0].watch = poll.In
		l.rewatch(r)
		return
	}
	if mask&poll.Err != 0 {
		l.close(r)
		return
	}
	ok := true
	if mask&poll.Out != 0 {
		ok = l.move(r, 1-side)
	}
	if ok && mask&(poll.In|poll.Hup) != 0 && !r.side[side].ended {
		ok = l.move(r, side)
	}
	if !ok || r.side[0].shut && r.side[1].shut {
		l.close(r)
		return
	}
	l.rewatch(r)
}

// move carries what side has to the other one. False ends the relay.
func (l *rawLoop) move(r *rawRelay, side int) bool {
	from, to := &r.side[side], &r.side[1-side]
	for budget := rawTurn; budget > 0; {
		if from.pipe == nil {
			if from.pipe = l.borrow(); from.pipe == nil {
				return false
			}
		}
		p, n := from.pipe, 0
		if p.held == 0 && !from.ended {
			var e unix.Errno
			n, e = poll.Splice(from.fd, p.w, rawPipe)
			switch {
			case e == unix.EAGAIN:
				l.giveBack(from)
				return true
			case e != 0:
				return false
			case n == 0:
				from.ended = true
			}
			p.held, budget = n, budget-n
		}
		for p.held > 0 {
			sent, e := poll.Splice(p.r, to.fd, p.held)
			if e == unix.EAGAIN {
				return true
			}
			if e != 0 {
				return false
			}
			p.held -= sent
		}
		if from.ended {
			l.giveBack(from)
			from.shut = true
			return unix.Shutdown(to.fd, unix.SHUT_WR) == nil
		}
		if n < rawFull {
			break
		}
	}
	l.giveBack(from)
	return true
}

// rewatch waits for what the relay's state allows: a side is read unless it waits for the other to take.
func (l *rawLoop) rewatch(r *rawRelay) {
	for side := range r.side {
		s := &r.side[side]
		var mask uint32
		if s.pipe == nil && !s.ended {
			mask = poll.In
		}
		if r.side[1-side].pipe != nil {
			mask |= poll.Out
		}
		if mask != s.watch {
			s.watch = mask
			_ = l.poller.Change(s.fd, mask, r.token(side))
		}
	}
}

func (l *rawLoop) borrow() *rawPipeFDs {
	if n := len(l.pipes); n > 0 {
		p := l.pipes[n-1]
		l.pipes = l.pipes[:n-1]
		return p
	}
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC) != nil {
		return nil
	}
	_, _ = unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, rawPipe)
	return &rawPipeFDs{r: fds[0], w: fds[1]}
}

// giveBack returns a side's empty pipe; a full one is closed, never reused.
func (l *rawLoop) giveBack(s *rawSide) {
	p := s.pipe
	s.pipe = nil
	switch {
	case p == nil:
	case p.held == 0 && len(l.pipes) < 64:
		l.pipes = append(l.pipes, p)
	default:
		poll.Close(p.r)
		poll.Close(p.w)
	}
}

func (l *rawLoop) close(r *rawRelay) {
	for i := range r.side {
		l.giveBack(&r.side[i])
		poll.Close(r.side[i].fd)
	}
	l.relays[r.index] = nil
	l.free = append(l.free, r.index)
}
