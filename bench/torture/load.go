package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"sluice/bench/client"
	"sluice/bench/stand"
)

// stream is a connection that can end its own direction.
type stream interface {
	net.Conn
	CloseWrite() error
}

// session says bytes of a known pattern for as long as it is wanted and hears them again from the far side: both directions are
// always in use, and every byte is compared.
type session struct {
	conn    stream
	pace    time.Duration // between two writes
	heard   atomic.Int64  // bytes, all of them right
	said    int64
	stop    chan struct{}
	ended   sync.WaitGroup
	failure atomic.Pointer[error]
}

// The pause between two writes of a session. Calm ones leave the CPUs to something else.
const (
	usualPace = 15 * time.Millisecond
	calmPace  = 10 * usualPace
)

// startSession takes over c, which talks to a stand-in.
func startSession(c stream, pace time.Duration, seed uint64) (*session, error) {
	s := &session{conn: c, pace: pace, stop: make(chan struct{})}
	if _, err := c.Write(stand.Request{Op: stand.Echo}.Bytes()); err != nil {
		return nil, err
	}
	s.ended.Go(func() { s.note(s.speak(stand.NewPattern(seed))) })
	s.ended.Go(func() { s.note(s.listen(stand.NewCheck(seed))) })
	return s, nil
}

// note remembers the first failure.
func (s *session) note(err error) {
	if err != nil {
		s.failure.CompareAndSwap(nil, &err)
		_ = s.conn.Close()
	}
}

// speak writes small pieces, and at times one that travels by pipe.
func (s *session) speak(pattern io.Reader) error {
	buffer := make([]byte, 160<<10)
	for {
		select {
		case <-s.stop:
			return s.conn.CloseWrite()
		case <-time.After(s.pace/2 + rand.N(s.pace)):
		}
		n := 1 + rand.IntN(3000)
		if rand.IntN(40) == 0 {
			n = len(buffer)
		}
		_, _ = pattern.Read(buffer[:n])
		if _, err := s.conn.Write(buffer[:n]); err != nil {
			return fmt.Errorf("after %d bytes said: %w", s.said, err)
		}
		s.said += int64(n)
	}
}

// listen compares what comes. The stream may only end after speak has ended ours.
func (s *session) listen(check *stand.Check) error {
	buffer := make([]byte, 64<<10)
	for {
		n, err := s.conn.Read(buffer)
		if _, wrong := check.Write(buffer[:n]); wrong != nil {
			return wrong
		}
		s.heard.Store(check.Seen())
		select {
		case <-s.stop:
			if errors.Is(err, io.EOF) {
				return nil
			}
		default:
		}
		if err != nil {
			return fmt.Errorf("after %d bytes heard: %w", check.Seen(), err)
		}
	}
}

// finish ends the session in good order: all that was said must be heard before the end.
func (s *session) finish(patience time.Duration) error {
	close(s.stop)
	_ = s.conn.SetDeadline(time.Now().Add(patience))
	s.ended.Wait()
	_ = s.conn.Close()
	if err := s.failure.Load(); err != nil {
		return *err
	}
	if heard := s.heard.Load(); heard != s.said {
		return fmt.Errorf("%d of %d bytes came back", heard, s.said)
	}
	return nil
}

// load is the sessions of a trial that no fault is aimed at.
type load struct {
	sessions []*session
	pace     time.Duration // of those; zero is the usual one
	marks    []int64
}

// open adds n sessions that dial makes.
func (l *load) open(n int, dial func() (stream, error)) error {
	for range n {
		c, err := dial()
		if err != nil {
			return fmt.Errorf("session %d of the load: %w", len(l.sessions)+1, err)
		}
		s, err := startSession(c, cmp.Or(l.pace, usualPace), rand.Uint64())
		if err != nil {
			return fmt.Errorf("session %d of the load: %w", len(l.sessions)+1, err)
		}
		l.sessions = append(l.sessions, s)
	}
	return nil
}

// mark begins a phase.
func (l *load) mark() {
	l.marks = l.marks[:0]
	for _, s := range l.sessions {
		l.marks = append(l.marks, s.heard.Load())
	}
}

// moved is how many sessions have carried bytes since the mark.
func (l *load) moved() (n int) {
	for i, s := range l.sessions {
		if s.failure.Load() == nil && s.heard.Load() > l.marks[i] {
			n++
		}
	}
	return n
}

// awaitMoved waits until every session has, or time is up.
func (l *load) awaitMoved(patience time.Duration) int {
	deadline := time.Now().Add(patience)
	for l.moved() < len(l.sessions) && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
	}
	return l.moved()
}

// finish ends all sessions and returns how many had lost something, with the first complaint.
func (l *load) finish() (lost int, first error) {
	results := make(chan error)
	for _, s := range l.sessions {
		go func() { results <- s.finish(20 * time.Second) }()
	}
	for range l.sessions {
		if err := <-results; err != nil {
			lost++
			if first == nil {
				first = err
			}
		}
	}
	l.sessions = nil
	return lost, first
}

// tally counts the newcomers of one kind in one phase.
type tally struct {
	ok, failed atomic.Int64
	why        atomic.Pointer[error] // of the first failure
}

// newcomers open a connection after the other, use it, and close it.
type newcomers struct {
	visit   func() error
	phase   atomic.Pointer[tally]
	first   atomic.Int64 // when the first one that came after the phase's begin was served, in ns since then; 0 not yet
	began   atomic.Pointer[time.Time]
	stop    chan struct{}
	workers sync.WaitGroup
}

func startNewcomers(workers int, visit func() error) *newcomers {
	n := &newcomers{visit: visit, stop: make(chan struct{})}
	n.next()
	for range workers {
		n.workers.Go(n.come)
	}
	return n
}

// next begins a phase and returns the tally of the last. Visits that began before are not in the new one's.
func (n *newcomers) next() *tally {
	now := time.Now()
	n.began.Store(&now)
	n.first.Store(0)
	return n.phase.Swap(new(tally))
}

func (n *newcomers) come() {
	for {
		select {
		case <-n.stop:
			return
		case <-time.After(20*time.Millisecond + rand.N(40*time.Millisecond)):
		}
		phase, began := n.phase.Load(), *n.began.Load()
		err := n.visit()
		if err == nil {
			phase.ok.Add(1)
			if n.phase.Load() == phase {
				n.first.CompareAndSwap(0, int64(time.Since(began)))
			}
			continue
		}
		phase.failed.Add(1)
		phase.why.CompareAndSwap(nil, &err)
	}
}

// awaitServed waits for the first newcomer of this phase that is served.
func (n *newcomers) awaitServed(patience time.Duration) (after time.Duration, ok bool) {
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		if first := n.first.Load(); first > 0 {
			return time.Duration(first), true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return 0, false
}

func (n *newcomers) end() {
	close(n.stop)
	n.workers.Wait()
}

// exchange asks for some bytes and compares them.
func exchange(c stream) error {
	seed, size := rand.Uint64(), int64(5000)
	if _, err := c.Write(stand.Request{Op: stand.Down, Size: uint64(size), Seed: seed}.Bytes()); err != nil {
		return err
	}
	return stand.CheckStream(c, seed, size)
}

var _ stream = (*client.Conn)(nil)
