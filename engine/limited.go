package engine

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// limited logs a line of each kind at most once in a while and says how many it left out. Any goroutine may use it.
type limited struct {
	log   *slog.Logger
	every time.Duration
	drop  func()

	mu    sync.Mutex
	kinds map[string]*lineKind
}

type lineKind struct {
	next    time.Time
	skipped int
}

func newLimited(log *slog.Logger, every time.Duration, dropped func()) *limited {
	return &limited{log: log, every: every, drop: dropped, kinds: map[string]*lineKind{}}
}

// line logs msg unless one of its kind was logged a moment ago. Kinds are few and ours: never text from the wire.
func (l *limited) line(kind string, level slog.Level, msg string, attrs ...slog.Attr) {
	if !l.log.Enabled(context.Background(), level) {
		return
	}
	now := time.Now()
	l.mu.Lock()
	k := l.kinds[kind]
	if k == nil {
		k = &lineKind{}
		l.kinds[kind] = k
	}
	if now.Before(k.next) {
		k.skipped++
		l.mu.Unlock()
		l.drop()
		return
	}
	skipped := k.skipped
	*k = lineKind{next: now.Add(l.every)}
	l.mu.Unlock()
	if skipped > 0 {
		attrs = append(attrs, slog.Int("not_logged", skipped))
	}
	l.log.LogAttrs(context.Background(), level, msg, attrs...)
}
