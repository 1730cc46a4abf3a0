package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"sluice/bench/far"
)

// sight is what somebody sees who comes at a steady pace, to the proxy and, without it, to the site, which shows what the machine itself is
// up to.
type sight struct {
	proxied, bare []float64 // ms
	shares        string
}

func (s sight) String() string {
	return fmt.Sprintf("handshakes %s ms (median, p99), without the proxy %s; CPUs: %s", twoOf(s.proxied), twoOf(s.bare), s.shares)
}

func twoOf(times []float64) string {
	return fmt.Sprintf("%.1f, %.1f", percentile(times, .5), percentile(times, .99))
}

// visitEvery is the pace of those who are measured.
const visitEvery = 5 * time.Millisecond

// look comes and goes at that pace until the span is over.
func (s *shore) look(t *trial, span time.Duration) (v sight, err error) {
	used := newShares(map[string]int{"proxy": t.proxy.PID(), "sender": s.sender.PID(), "site": s.far.PID(), "load": os.Getpid()})
	var both sync.WaitGroup
	var errs [2]error
	both.Go(func() { v.proxied, errs[0] = atPace(span, t.handshake) })
	both.Go(func() { v.bare, errs[1] = atPace(span, func() error { return s.bare(t) }) })
	both.Wait()
	v.shares, err = used.text()
	return v, errors.Join(errs[0], errs[1], err)
}

// handshake is one of those.
func (r *rig) handshake() error {
	c, err := r.client(goodDC)
	if err == nil {
		_ = c.Close()
	}
	return err
}

// bare is the same at the site itself.
func (s *shore) bare(t *trial) error {
	c, err := t.approach(s.site, foreign())
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = io.ReadFull(c, make([]byte, far.FlightLen))
	return err
}

// atPace calls f at a steady pace, whether the last call has returned or not, and says how long each took, in ms.
func atPace(span time.Duration, f func() error) (times []float64, err error) {
	var mu sync.Mutex
	var all sync.WaitGroup
	tick := time.NewTicker(visitEvery)
	defer tick.Stop()
	for end := time.Now().Add(span); time.Now().Before(end); <-tick.C {
		all.Go(func() {
			began := time.Now()
			e := f()
			took := float64(time.Since(began)) / float64(time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			times = append(times, took)
			err = cmp.Or(err, e)
		})
	}
	all.Wait()
	return times, err
}
