package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sluice/engine/config"
)

func TestLogger(t *testing.T) {
	for _, tt := range []struct {
		name, format string
		timeless     bool
		want         string // with the time, if any, cut out
	}{
		{"text", "text", false, "level=WARN msg=hello secret=ee…a.example\n"},
		{"text under the journal", "text", true, "level=WARN msg=hello secret=ee…a.example\n"},
		{"json", "json", false, `"level":"WARN","msg":"hello","secret":"ee…a.example"}` + "\n"},
		{"json under the journal", "json", true, `{"level":"WARN","msg":"hello","secret":"ee…a.example"}` + "\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			log := newLogger(&config.Config{LogFormat: tt.format}, slog.LevelWarn, &out, tt.timeless)
			log.Info("quiet")
			log.Warn("hello", slog.Any("secret", config.Secret{Host: "a.example"}))
			got := out.String()
			if hasTime := strings.Contains(got, "time"); hasTime == tt.timeless {
				t.Errorf("time shown is %v in %q", hasTime, got)
			}
			if !strings.HasSuffix(got, tt.want) || tt.timeless && got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestUnderJournal(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, stream string
		want         bool
	}{
		{"not set", "", false},
		{"this file", fmt.Sprintf("%d:%d", st.Dev, st.Ino), true},
		{"inherited", fmt.Sprintf("%d:%d", st.Dev, st.Ino+1), false},
		{"garbage", "journal", false},
	} {
		if got := underJournal(tt.stream, f); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
