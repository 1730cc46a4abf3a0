package main

import (
	"log/slog"
	"os"
	"strconv"
	"time"

	"sluice/engine/admin"
)

// watchdogPause is how often the service manager is to hear that the loops turn, half of what it allows (sd_watchdog_enabled(3)): usec
// and pid are the values of WATCHDOG_USEC and WATCHDOG_PID. 0 is never.
func watchdogPause(usec, pid string) time.Duration {
	n, err := strconv.ParseInt(usec, 10, 64)
	if err != nil || n <= 0 || n > int64(time.Hour/time.Microsecond) {
		return 0
	}
	if pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0
	}
	return time.Duration(n) * time.Microsecond / 2
}

// beat tells the service manager that every loop turns, if that has been looked at since the last time and is so.
func (s *service) beat() {
	looks, err := s.engine.Alive()
	if looks == s.looks {
		return
	}
	s.looks = looks
	if err != nil {
		s.log.Error("the service manager is not told that all is well", slog.String("error", err.Error()))
		return
	}
	s.tell(admin.Watchdog)
}
