package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// shares is who has used the machine's CPUs since it was made.
type shares struct {
	processes map[string]int           // by name
	before    map[string]time.Duration // what they, and the whole machine, had used
	began     time.Time
	failed    error
}

// whole is the name of the machine's own figure.
const whole = ""

func newShares(processes map[string]int) *shares {
	s := &shares{processes: processes, began: time.Now()}
	s.before, s.failed = s.used()
	return s
}

func (s *shares) used() (map[string]time.Duration, error) {
	all := map[string]time.Duration{}
	var err error
	if all[whole], err = machineTime(); err != nil {
		return nil, err
	}
	for name, pid := range s.processes {
		if all[name], err = processTime(pid); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// text says how many CPUs each has kept busy, and how many all others on the machine.
func (s *shares) text() (string, error) {
	now, err := s.used()
	if err != nil || s.failed != nil {
		return "", fmt.Errorf("CPU times: %w", cmp.Or(s.failed, err))
	}
	span := time.Since(s.began).Seconds()
	rest := (now[whole] - s.before[whole]).Seconds() / span
	var parts []string
	for name := range s.processes {
		n := (now[name] - s.before[name]).Seconds() / span
		rest -= n
		parts = append(parts, fmt.Sprintf("%s %.2f", name, n))
	}
	slices.Sort(parts)
	return strings.Join(append(parts, fmt.Sprintf("all else %.2f", max(rest, 0))), ", "), nil
}

// clockTick is the unit of the kernel's figures: USER_HZ, the same on every machine that Go runs on.
const clockTick = 10 * time.Millisecond

// processTime is what a process has used.
func processTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	text := string(b)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:]) // the name before it may hold anything
	return sumTicks(fields, 11, 12)                                     // utime, stime
}

// machineTime is what everybody has used.
func machineTime() (time.Duration, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return sumTicks(strings.Fields(line), 1, 2, 3, 6, 7) // user, nice, system, irq, softirq
}

func sumTicks(fields []string, at ...int) (sum time.Duration, err error) {
	for _, i := range at {
		if i >= len(fields) {
			return 0, fmt.Errorf("only %d fields", len(fields))
		}
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(n) * clockTick
	}
	return sum, nil
}
