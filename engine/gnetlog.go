package engine

import (
	"fmt"
	"log/slog"

	"github.com/panjf2000/gnet/v2/pkg/logging"
)

// gnetLog passes what gnet has to say on: its errors as ours, the rest as debug.
type gnetLog struct{ e *Engine }

var _ logging.Logger = gnetLog{}

// Debugf implements logging.Logger.
func (l gnetLog) Debugf(format string, args ...any) { l.write(slog.LevelDebug, format, args) }

// Infof implements logging.Logger.
func (l gnetLog) Infof(format string, args ...any) { l.write(slog.LevelDebug, format, args) }

// Warnf implements logging.Logger.
func (l gnetLog) Warnf(format string, args ...any) { l.write(slog.LevelDebug, format, args) }

// Errorf implements logging.Logger.
func (l gnetLog) Errorf(format string, args ...any) { l.write(slog.LevelWarn, format, args) }

// Fatalf implements logging.Logger.
func (l gnetLog) Fatalf(format string, args ...any) { l.write(slog.LevelError, format, args) }

func (l gnetLog) write(level slog.Level, format string, args []any) {
	l.e.limited.line("gnet:"+format, level, "gnet: "+fmt.Sprintf(format, args...))
}
