package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"

	"sluice/engine/config"
)

// newLogger makes the log that the configuration asks for, at a level that may change. Without times where the reader of w
// adds its own.
func newLogger(cfg *config.Config, level slog.Leveler, w io.Writer, timeless bool) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if timeless {
		options.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}
	}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// underJournal says whether f is the stream that systemd's journal reads. stream is the value of JOURNAL_STREAM, which a
// shell started from a service inherits as well: hence the look at the file behind it (systemd.exec(5)).
func underJournal(stream string, f *os.File) bool {
	var st unix.Stat_t
	if stream == "" || unix.Fstat(int(f.Fd()), &st) != nil {
		return false
	}
	return stream == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}
