package main

import (
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// sinkBytes is how much of the log may wait for its reader.
const sinkBytes = 1 << 20

// sink is a log's way out that never blocks who logs: lines wait in memory for the file behind it, whose reader may be slow or gone
// (a full pipe, a stopped journal), and are lost when too much waits. Relay loops log, and must not stand still for that.
// Its methods may be called by any goroutine.
type sink struct {
	to    io.Writer
	limit int

	mu      sync.Mutex
	waiting [][]byte
	held    int // bytes in waiting
	closed  bool

	due  chan struct{} // there may be something to write
	done chan struct{}
	lost atomic.Uint64
}

// newSink starts a sink in front of w. It must be closed.
func newSink(w io.Writer, limit int) *sink {
	s := &sink{to: w, limit: limit, due: make(chan struct{}, 1), done: make(chan struct{})}
	go s.run()
	return s
}

// Write takes a line. It fails never.
func (s *sink) Write(line []byte) (int, error) {
	s.mu.Lock()
	if s.closed || s.held+len(line) > s.limit {
		s.mu.Unlock()
		s.lost.Add(1)
		return len(line), nil
	}
	s.waiting = append(s.waiting, append([]byte(nil), line...))
	s.held += len(line)
	s.mu.Unlock()
	s.wake()
	return len(line), nil
}

func (s *sink) wake() {
	select {
	case s.due <- struct{}{}:
	default:
	}
}

// run writes what waits, a line at a time, until the sink is closed and empty.
func (s *sink) run() {
	defer close(s.done)
	for range s.due {
		for {
			lines, over := s.take()
			for _, line := range lines {
				_, _ = s.to.Write(line)
				s.mu.Lock()
				s.held -= len(line)
				s.mu.Unlock()
			}
			if over {
				return
			}
			if len(lines) == 0 {
				break
			}
		}
	}
}

// take takes all that waits. over says that there is nothing and will be nothing.
func (s *sink) take() (lines [][]byte, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines, s.waiting = s.waiting, nil
	return lines, s.closed && len(lines) == 0
}

// close waits, but not beyond limit, until what waits is written. What is logged later is lost.
func (s *sink) close(limit time.Duration) {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.wake()
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-s.done:
	case <-t.C:
	}
}
