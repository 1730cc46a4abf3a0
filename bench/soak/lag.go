package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"sluice/bench/client"
	"sluice/bench/figure"
	"sluice/bench/stand"
)

const (
	probes         = 4 // sessions that live from beginning to end
	exchangeEvery  = 50 * time.Millisecond
	handshakeEvery = 500 * time.Millisecond
	exchangeBytes  = 64

	residents = 20 // sessions that rest from beginning to end
)

// lag counts how long the proxy takes, between two looks. Any goroutine may use it.
type lag struct {
	mu                   sync.Mutex
	exchange, handshakes figure.Histogram
}

func (l *lag) add(h *figure.Histogram, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h.Add(d)
}

// take returns what was counted since it was last called.
func (l *lag) take() (exchange, handshakes figure.Histogram) {
	l.mu.Lock()
	defer l.mu.Unlock()
	exchange, handshakes = l.exchange, l.handshakes
	l.exchange, l.handshakes = figure.Histogram{}, figure.Histogram{}
	return exchange, handshakes
}

// watch begins the sessions that live as long as the load, and the handshakes that are timed. None of them has to do with what
// the faults are aimed at.
func (s *soak) watch(ctx context.Context) {
	for i := range probes {
		s.load.Go(func() {
			s.session(ctx, "probe", s.opts.time, seeded(s.opts.seed, 10+i), client.Config{DC: steadyDC}, s.exchanges)
		})
	}
	for i := range residents {
		cfg := client.Config{DC: steadyDC}
		if i%2 == 0 { // its secret will have gone soon
			cfg.Secret = s.rig.keys.older
		}
		s.load.Go(func() {
			s.session(ctx, "resident", s.opts.time, seeded(s.opts.seed, 100+i), cfg, (*session).rest)
		})
	}
	s.load.Go(func() { s.handshakes(ctx) })
}

func seeded(seed uint64, i int) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(i))) }

// exchanges times small exchanges on a session that is long there.
func (s *soak) exchanges(x *session) error {
	x.hurry()
	if _, err := x.conn.Write(stand.Request{Op: stand.Echo}.Bytes()); err != nil {
		return err
	}
	for !x.over() {
		began := time.Now()
		if err := x.echo(exchangeBytes); err != nil {
			return err
		}
		s.lag.add(&s.lag.exchange, time.Since(began))
		if err := x.pause(exchangeEvery); err != nil {
			return err
		}
	}
	return nil
}

// handshakes times new sessions: from the connect to the data centre's first bytes.
func (s *soak) handshakes(ctx context.Context) {
	for i := 1000; sleep(ctx, handshakeEvery); i++ {
		began := time.Now()
		s.session(ctx, "handshake", 0, seeded(s.opts.seed, i), client.Config{DC: steadyDC}, func(*session) error {
			s.lag.add(&s.lag.handshakes, time.Since(began))
			return nil
		})
	}
}
