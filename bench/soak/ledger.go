package main

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

// end is how one connection ended that did not end as planned. Times are seconds since the load began.
type end struct {
	Kind   string  `json:"kind"`
	DC     int16   `json:"dc,omitempty"` // of a session
	From   float64 `json:"from"`
	Opened float64 `json:"opened,omitempty"` // when the data centre's first answer came; 0 if it did not
	To     float64 `json:"to"`
	Wrong  bool    `json:"wrong,omitempty"`  // bytes came that nobody had sent
	LetIn  bool    `json:"let_in,omitempty"` // somebody was let in who must not be
	Error  string  `json:"error"`
}

// opening says whether the connection had not got as far as a session.
func (e end) opening() bool { return e.Opened == 0 }

// session says whether it is one, and not a stranger's visit.
func (e end) session() bool { return e.DC != 0 }

// keptEnds bounds the ledger: a run with more is broken in a way that those will tell.
const keptEnds = 20000

// ledger counts how connections have ended. Any goroutine may use it.
type ledger struct {
	began time.Time

	mu    sync.Mutex
	good  map[string]int // as planned, by kind
	cut   int            // still there when the load was over
	ends  []end
	bytes int64 // checked
	alive int
}

func newLedger() *ledger { return &ledger{began: time.Now(), good: map[string]int{}} }

// now is the seconds since the load began.
func (l *ledger) now() float64 { return time.Since(l.began).Seconds() }

func (l *ledger) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.alive++
}

// close enters how a connection ended. What ends because ctx has is nobody's fault.
func (l *ledger) close(ctx context.Context, e end, bytes int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.alive--
	l.bytes += bytes
	e.Wrong = e.Wrong || !e.opening() && err != nil && !isEnd(err)
	switch {
	case err == nil:
		l.good[e.Kind]++
	case ctx.Err() != nil && !e.Wrong && !e.LetIn:
		l.cut++
	case len(l.ends) < keptEnds:
		e.To, e.Error = l.now(), err.Error()
		l.ends = append(l.ends, e)
	}
}

// enter puts what is known so far into a record.
func (l *ledger) enter(r *record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.Good, r.Cut, r.Bytes, r.Ends = maps.Clone(l.good), l.cut, l.bytes, slices.Clone(l.ends)
}

// living is how many connections there are now.
func (l *ledger) living() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.alive
}

// errStuck is an end too: nothing came where something should have.
var errStuck = errors.New("nothing came for too long")

// isEnd says whether err is that a connection has ended or has fallen silent. All other errors are about bytes.
func isEnd(err error) bool {
	var op *net.OpError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &op) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, errStuck)
}
