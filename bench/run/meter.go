package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// processCPU is the CPU time of a process and everything it has started that still runs, user and system, by the kernel's own
// clock for it: exact to the nanosecond, ended threads included.
func processCPU(pid int) (time.Duration, error) {
	sum := time.Duration(0)
	for i, p := range descendants(pid) {
		var t unix.Timespec
		// The clock of another process, as clock_getcpuclockid makes it: CPUCLOCK_SCHED of the whole thread group.
		if err := unix.ClockGettime(int32(^p<<3|2), &t); err != nil {
			if i == 0 {
				return 0, fmt.Errorf("the CPU clock of process %d: %w", pid, err)
			}
			continue
		}
		sum += time.Duration(t.Nano())
	}
	return sum, nil
}

// descendants is pid and the processes below it.
func descendants(pid int) []int {
	all := []int{pid}
	for i := 0; i < len(all) && len(all) < 1000; i++ {
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", all[i]))
		for _, l := range lists {
			b, _ := os.ReadFile(l)
			for _, f := range strings.Fields(string(b)) {
				if n, err := strconv.Atoi(f); err == nil {
					all = append(all, n)
				}
			}
		}
	}
	return all
}

// resident is the resident memory of a process and everything below it, in bytes, counted page by page: the kernel's quick
// counters are off by up to some dozen pages a CPU.
func resident(pid int) (int64, error) {
	sum := int64(0)
	for i, p := range descendants(pid) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p))
		if err != nil {
			if i == 0 {
				return 0, err
			}
			continue
		}
		kib, err := field(b, "Rss:")
		if err != nil {
			return 0, err
		}
		sum += kib << 10
	}
	return sum, nil
}

// field is the number behind a word of a file of /proc.
func field(b []byte, word string) (int64, error) {
	words := bytes.Fields(b)
	for i, w := range words[:max(0, len(words)-1)] {
		if string(w) == word {
			return strconv.ParseInt(string(words[i+1]), 10, 64)
		}
	}
	return 0, fmt.Errorf("no %q", word)
}

// kernelCPU is the CPU time of the kernel's own threads, to a clock tick each.
func kernelCPU() time.Duration {
	const kernelThread = 0x00200000 // PF_KTHREAD of linux/sched.h
	names, _ := filepath.Glob("/proc/[0-9]*/stat")
	ticks := int64(0)
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			continue
		}
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if len(f) < 13 {
			continue
		}
		if flags, _ := strconv.ParseInt(f[6], 10, 64); flags&kernelThread == 0 {
			continue
		}
		user, _ := strconv.ParseInt(f[11], 10, 64)
		system, _ := strconv.ParseInt(f[12], 10, 64)
		ticks += user + system
	}
	return time.Duration(ticks) * (time.Second / 100) // USER_HZ is 100 wherever Go runs
}

// socketMemory is the kernel's memory in TCP buffers of the whole machine, in bytes.
func socketMemory() int64 {
	b, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "TCP:"); ok {
			pages, _ := field([]byte(rest), "mem")
			return pages * int64(os.Getpagesize())
		}
	}
	return 0
}

// slab is the kernel's memory for its own objects, in bytes: sockets, inodes, files, epoll items, pipes.
func slab() int64 {
	b, _ := os.ReadFile("/proc/meminfo")
	kib, _ := field(b, "Slab:")
	return kib << 10
}
