package main

import (
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"
)

func TestWatchdogPause(t *testing.T) {
	own := strconv.Itoa(os.Getpid())
	for _, tt := range []struct {
		name, usec, pid string
		want            time.Duration
	}{
		{"not wanted", "", "", 0},
		{"ten seconds", "10000000", "", 5 * time.Second},
		{"for this process", "10000000", own, 5 * time.Second},
		{"for another process", "10000000", "1", 0},
		{"none", "0", "", 0},
		{"the most", "3600000000", "", 30 * time.Minute},
		{"beyond", "3600000001", "", 0},
		{"below zero", "-1", "", 0},
		{"no number", "10s", "", 0},
	} {
		if got := watchdogPause(tt.usec, tt.pid); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// The service manager hears again and again that the loops turn. (That it hears nothing while one does not: bench/torture.)
func TestRunWatchdog(t *testing.T) {
	r := start(t, "WATCHDOG_USEC=2000000")
	r.hear("WATCHDOG=1")
	r.hear("WATCHDOG=1")
	r.signal(syscall.SIGTERM)
	r.hear("STOPPING=1")
	if code := r.status(); code != 0 {
		t.Errorf("exit status %d\n%s", code, &r.stderr)
	}
}
