package main

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/bench/client"
)

// atOnce runs f n times in so many goroutines and returns what first went wrong.
func atOnce(workers, n int, f func(i int) error) error {
	var all sync.WaitGroup
	var next, bad atomic.Int64
	var first atomic.Pointer[error]
	for range workers {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				if err := f(int(i)); err != nil {
					first.CompareAndSwap(nil, &err)
					bad.Add(1)
				}
			}
		})
	}
	all.Wait()
	if err := first.Load(); err != nil {
		return *err
	}
	return nil
}

// during runs f again and again in so many goroutines until the span is over, and returns how often, and what first went wrong.
func during(workers int, span time.Duration, f func(i int) error) (times int64, err error) {
	end := time.Now().Add(span)
	var count atomic.Int64
	err = atOnce(workers, workers, func(int) error {
		for time.Now().Before(end) {
			if err := f(int(count.Add(1))); err != nil {
				return err
			}
		}
		return nil
	})
	return count.Load(), err
}

// approach connects to the proxy, says something, and gives up trying after some seconds.
func (r *rig) approach(to netip.AddrPort, say []byte) (*net.TCPConn, error) {
	c, err := dialFrom(r.local(), to)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err = c.Write(say); err != nil {
		_ = c.Close()
	}
	return c, err
}

// isEnd says whether err is what somebody hears whom the other side has left, which the hostile may expect.
func isEnd(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && !op.Timeout()
}

// foreign is a hello of somebody who does not know the secret, signed of one who does.
func foreign() []byte { return client.Hello{Host: secret.Host}.Foreign() }
func signed() []byte  { return client.Hello{Host: secret.Host}.Sign(secret.Key) }

// percentile is the value below which that share of the values lies.
func percentile(values []float64, share float64) float64 {
	s := slices.Sorted(slices.Values(values))
	return s[min(int(share*float64(len(s))), len(s)-1)]
}
