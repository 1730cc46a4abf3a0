package engine

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"sluice/engine/config"
	"sluice/engine/edge"
	"sluice/faketls"
	"sluice/faketls/probe"
)

const (
	learnEvery = time.Hour
	learnRetry = 15 * time.Second
	learnTime  = 10 * time.Second
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
			wait = learnRetry
			e.limited.line("loop", slog.LevelError, loopHint, slog.String("front", s.to.String()))
		case err != nil:
			wait = learnRetry
			e.limited.line("learn", slog.LevelWarn, "the front's handshake could not be learned; ours keeps its last shape",
				slog.String("front", s.to.String()), slog.String("error", err.Error()))
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

// suspect asks for a look because strangers come in numbers, which they also do when each of them makes the next.
func (s *site) suspect(now int64) {
	if now-s.looked.Load() > int64(learnRetry) {
		s.lookAgain()
	}
}

// lookAt connects to the front as a browser would and records its answer.
func (e *Engine) lookAt(ctx context.Context, cfg *config.Config, s *site) (probe.Flight, error) {
	ctx, cancel := context.WithTimeout(ctx, learnTime)
	defer cancel()
	addrs, path, ok := s.Target()
	if !ok {
		return probe.Flight{}, errNoFront
	}
	network, addr := "unix", path
	if path == "" {
		network, addr = "tcp", addrs[0].String()
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return probe.Flight{}, err
	}
	defer conn.Close()
	if v := cfg.FrontProxyProtocol; v != 0 {
		if _, err := conn.Write(edge.AppendHeader(nil, v, addrPort(conn.LocalAddr()), addrPort(conn.RemoteAddr()), nil)); err != nil {
			return probe.Flight{}, err
		}
	}
	look := &look{}
	flight, err := probe.Learn(ctx, conn, s.host, func(random [32]byte) { e.looks.begin(random, look) })
	e.looks.end(look)
	s.looped.Store(err != nil && look.returns.Load() > 0)
	return flight, err
}

// look is one look at a front.
type look struct {
	random  [32]byte
	returns atomic.Int32
}

// looks are those that are under way, by the random of their hello. One that arrives at a listener and gets no answer shows that the front
// leads back here.
type looks struct {
	some atomic.Int32
	mu   sync.Mutex
	by   map[[32]byte]*look
}

func (l *looks) begin(random [32]byte, k *look) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.by == nil {
		l.by = map[[32]byte]*look{}
	}
	k.random, l.by[random] = random, k
	l.some.Store(int32(len(l.by)))
}

func (l *looks) end(k *look) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.by, k.random)
	l.some.Store(int32(len(l.by)))
}

// goesRound says whether a hello's random is that of a look, which has come back here once more after it was sent on to the front: then the
// connection is to be cut, which ends the look. Once proves nothing. Who sees us look can say the same, and has to be answered like anybody else.
func (l *looks) goesRound(random []byte) bool {
	if l.some.Load() == 0 || len(random) != 32 {
		return false
	}
	l.mu.Lock()
	k := l.by[[32]byte(random)]
	l.mu.Unlock()
	return k != nil && k.returns.Add(1) > 1
}
