package engine

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"

	"sluice/engine/config"
	"sluice/engine/edge"
	"sluice/engine/front"
	"sluice/faketls"
	"sluice/faketls/probe"
)

const (
	learnEvery = time.Hour
	learnRetry = 15 * time.Second
	// loopRetry is shorter: as long as a front is believed to lead back here, no stranger sees it.
	loopRetry = 5 * time.Second
	// suspectPause is how long nothing is suspected after a look began.
	suspectPause = 2 * time.Second
	learnTime    = 10 * time.Second
)

// unlearned is how the flight looks until the front's is known: the size of a usual certificate chain, one for the process.
func unlearned() faketls.Shape { return faketls.Shape{Record: 2600 + rand.IntN(1600)} }

// learn looks at a front's own handshake, now and again until ctx ends, so that ours resembles it, and to see that it does not lead back here.
func (e *Engine) learn(ctx context.Context, cfg *config.Config, s *site) {
	var last string
	for {
		wait := learnEvery
		s.looked.Store(e.clock())
		flight, err := e.lookAt(ctx, cfg, s)
		switch {
		case ctx.Err() != nil:
			return
		case s.looped.Load():
			wait = loopRetry
			e.limited.line("loop", slog.LevelError, loopHint, slog.String("front", s.to.String()))
		case err != nil:
			wait = learnRetry
			text := "the front's handshake could not be learned; ours keeps its last shape"
			if s.match.Load() == nil {
				text = "the front's handshake could not be learned; until it is, ours has a usual shape"
			}
			e.limited.line("learn", slog.LevelWarn, text, slog.String("front", s.to.String()), slog.String("error", err.Error()))
		default:
			if text := s.learned(flight, cfg.HybridKeyShare); text != last {
				last = text
				e.log.Info("learned the front's handshake", slog.String("front", s.to.String()), slog.String("match", text))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-s.look:
		case <-time.After(wait):
		}
	}
}

const loopHint = "connections to the front come back to this proxy, and strangers are closed: set SLUICE_FRONT to the address where the web site really is"

// learned puts what was seen in force, and says in words how near ours comes.
func (s *site) learned(flight probe.Flight, hybrid bool) string {
	shape, match, text := flight.Shape()
	if match != probe.NotTLS13 {
		s.shape.Store(&shape)
	}
	s.match.Store(&match)
	if shape.Hybrid && !hybrid {
		text += "; it prefers X25519MLKEM768, which ours answers only with SLUICE_HYBRID_KEY_SHARE=on"
	}
	return text
}

// lookAgain asks for a look before its time.
func (s *site) lookAgain() {
	select {
	case s.look <- struct{}{}:
	default:
	}
}

// suspectFronts is the ticker's call. It asks for looks as long as strangers wait for a place, because strangers come in numbers also when each of them
// makes the next.
func (e *Engine) suspectFronts() {
	if e.places.Waiting() == 0 {
		return
	}
	for _, s := range e.live.Load().sites.all {
		if e.clock()-s.looked.Load() > int64(suspectPause) {
			s.lookAgain()
		}
	}
}

// lookAt takes one look at a front, and sees whether it leads back here.
func (e *Engine) lookAt(ctx context.Context, cfg *config.Config, s *site) (probe.Flight, error) {
	hurried, cancel := context.WithTimeout(ctx, learnTime)
	defer cancel()
	k := e.looks.begin(cancel)
	flight, err := e.browse(hurried, cfg, s, k)
	cameBack, parked := e.looks.end(k)
	s.looped.Store(cameBack && err != nil && ctx.Err() == nil)
	if s.looped.Load() {
		e.cutLoop(s, parked)
		return flight, err
	}
	for _, p := range parked {
		p.join()
	}
	return flight, err
}

// cutLoop ends those who wait for a place at a front that leads back here: each of them may be who holds all the others up.
func (e *Engine) cutLoop(s *site, parked []*stranger) {
	for _, p := range parked {
		p.refuse(frontLoops)
	}
	for _, w := range e.places.Leave(func(w front.Waiter) bool { return w.(*stranger).site == s }) {
		w.(*stranger).refuse(frontLoops)
	}
}

// browse connects to the front as a browser would and records its answer.
func (e *Engine) browse(ctx context.Context, cfg *config.Config, s *site, k *look) (flight probe.Flight, err error) {
	conn, err := dialSite(ctx, s)
	if err != nil {
		return flight, err
	}
	defer conn.Close()
	if v := cfg.FrontProxyProtocol; v != 0 {
		conn = &prefaced{conn, edge.AppendHeader(nil, v, addrPort(conn.LocalAddr()), addrPort(conn.RemoteAddr()), k.mark[:])}
	}
	return probe.Learn(ctx, conn, s.host, func(random [32]byte) { e.looks.sends(k, random) })
}

// dialSite connects to the first of the front's addresses that answers; each has its share of the time.
func dialSite(ctx context.Context, s *site) (conn net.Conn, err error) {
	addrs, path, ok := s.Target()
	if !ok {
		return nil, errNoFront
	}
	var d net.Dialer
	if path != "" {
		return d.DialContext(ctx, "unix", path)
	}
	d.Timeout = learnTime / time.Duration(len(addrs)+1)
	for _, a := range addrs {
		if conn, err = d.DialContext(ctx, "tcp", a.String()); err == nil {
			break
		}
	}
	return conn, err
}

// prefaced says the PROXY header together with the first bytes, so that who finds the hello finds it behind the header.
type prefaced struct {
	net.Conn
	header []byte
}

func (p *prefaced) Write(b []byte) (int, error) {
	n, err := p.Conn.Write(append(p.header, b...))
	n -= len(p.header)
	p.header = nil
	return max(n, 0), err
}
