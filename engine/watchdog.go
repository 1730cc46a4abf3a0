package engine

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	watchEvery = 500 * time.Millisecond
	stallLooks = 10 // in a row without a turn: 5 s

	stacksEvery = 10 * time.Minute
	maxStacks   = 256 << 10 // bytes of them in the log
)

// watchdog looks whether every loop turns. It asks each to and looks the next time whether it has. It counts looks, not time: a
// process that was stopped, or a machine that slept, is no stall.
//
// A loop of gnet is watched from its first connection on, for before that it is not known.
type watchdog struct {
	looks  atomic.Uint64
	states atomic.Pointer[[]pulse]

	// The watchdog's goroutine only.
	pulses map[string]pulse
	dumped time.Time // when the goroutines' stacks were last logged
}

// pulse is what is known of a loop.
type pulse struct {
	loop   string
	turns  uint64
	silent int // looks in a row
}

func (p pulse) stalled() bool { return p.silent >= stallLooks }

// stalledError says which loop stands still.
type stalledError struct {
	loop  string
	since time.Duration
}

func (e stalledError) Error() string {
	return fmt.Sprintf("loop %s has not turned for %v", e.loop, e.since.Round(time.Second))
}

// Alive says how often the loops have been looked at, and which of them stands still, if one does. Who looks for more than a second and
// finds no new look has found a process that is not well either. Any goroutine may call it.
func (e *Engine) Alive() (looks uint64, err error) {
	looks = e.watchdog.looks.Load()
	if all := e.watchdog.states.Load(); all != nil {
		for _, p := range *all {
			if p.stalled() {
				return looks, stalledError{p.loop, time.Duration(p.silent) * watchEvery}
			}
		}
	}
	return looks, nil
}

// watch looks at the loops until ctx ends.
func (e *Engine) watch(ctx context.Context) {
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			e.look(ctx)
		}
	}
}

// look sees which loops have turned since the last time, and asks them to turn again. The watchdog's goroutine only.
func (e *Engine) look(ctx context.Context) {
	w := &e.watchdog
	var now []pulse
	for i, l := range e.loops {
		now = append(now, w.feel("relay", i, l.Stats().Turns.Load()))
		l.Poke()
	}
	if h := e.handler.Load(); h != nil {
		h.each(func(s *shard) {
			now = append(now, w.feel("accept", s.index, s.turns.Load()))
			s.ask(ctx)
		})
	}
	before := w.pulses
	w.pulses = make(map[string]pulse, len(now))
	for _, p := range now {
		w.pulses[p.loop] = p
	}
	w.states.Store(&now)
	w.looks.Add(1)
	for _, p := range now {
		e.tellStall(p, before[p.loop])
	}
}

// feel is the next pulse of a loop that has turned so often.
func (w *watchdog) feel(kind string, i int, turns uint64) pulse {
	p := pulse{loop: kind + " " + strconv.Itoa(i), turns: turns}
	if before, known := w.pulses[p.loop]; known && before.turns == turns {
		p.silent = before.silent + 1
	}
	return p
}

// tellStall logs that a loop has come to stand still, with what every goroutine is at, or that it goes on.
func (e *Engine) tellStall(now, before pulse) {
	switch {
	case now.stalled() && !before.stalled():
		e.log.Error("a loop stands still: its connections wait", slog.String("loop", now.loop), slog.Duration("for", stallLooks*watchEvery))
		if w := &e.watchdog; w.dumped.IsZero() || time.Since(w.dumped) > stacksEvery {
			w.dumped = time.Now()
			e.log.Error("what every goroutine is at", slog.String("stacks", stacks()))
		}
	case before.stalled() && !now.stalled():
		e.log.Warn("a loop turns again", slog.String("loop", now.loop), slog.Duration("after", time.Duration(before.silent)*watchEvery))
	}
}

// stacks is what every goroutine is at, cut to what a log can bear.
func stacks() string {
	b := make([]byte, maxStacks)
	return string(b[:runtime.Stack(b, true)])
}

// each gives the metrics every loop's state.
func (w *watchdog) each(emit func(value float64, labels ...string)) {
	if all := w.states.Load(); all != nil {
		for _, p := range *all {
			v := 0.0
			if p.stalled() {
				v = 1
			}
			emit(v, "loop", p.loop)
		}
	}
}
