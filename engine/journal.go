package engine

import (
	"log/slog"
	"time"

	"sluice/engine/replay"
)

const (
	journalEvery = time.Second
	journalEnd   = 2 * time.Second // the end of the process waits no longer for a disk
)

// keepJournal remembers the hellos that earlier processes accepted, and keeps for later ones, once a second, those that this one accepts, until
// end is called.
func (e *Engine) keepJournal() (end func()) {
	cfg := e.live.Load().cfg
	if cfg.StateDir == "" {
		e.log.Warn("without SLUICE_STATE_DIR a hello that was accepted before a restart would be accepted once more after it")
		return func() {}
	}
	now := time.Now()
	j, kept, err := replay.OpenJournal(cfg.StateDir, e.replay, e.behind+e.ahead, now, now.Add(-e.behind))
	e.journal = j
	e.noteJournal(err)
	if kept > 0 {
		e.log.Info("hellos accepted before are remembered", slog.Int("hellos", kept))
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(journalEvery)
		defer t.Stop()
		for {
			select {
			case <-stop:
				e.noteJournal(j.Flush(time.Now()))
				return
			case now := <-t.C:
				e.noteJournal(j.Flush(now))
			}
		}
	}()
	return func() {
		close(stop)
		select {
		case <-done:
		case <-time.After(journalEnd):
		}
	}
}

func (e *Engine) noteJournal(err error) {
	if err != nil {
		e.limited.line("journal", slog.LevelWarn, "accepted hellos cannot be kept for the next start, after which those of its last minutes would be accepted once more",
			slog.String("error", err.Error()), slog.Uint64("lost", e.journal.Lost()))
	}
}
