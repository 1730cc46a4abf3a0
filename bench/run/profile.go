package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sluice/bench/load"
)

// profiling is what -profile adds to a run: profiles of the proxy, and its system calls counted in a window of their own.
type profiling struct {
	dir   string // of the scenario
	ended bool
}

// startProfiling builds the profiled proxy. Its build is the only variant of the run.
func startProfiling(o *options) error {
	dir, err := filepath.Abs(o.profiles)
	if err != nil {
		return err
	}
	o.profiles = dir
	binary := filepath.Join(dir, "profiled")
	if out, err := exec.Command("go", "build", "-o", binary, "./bench/profiled").CombinedOutput(); err != nil {
		return fmt.Errorf("build the profiled proxy: %w: %s", err, out)
	}
	o.proxies = []named{{"sluice", binary}}
	o.variants, o.rounds = []string{"sluice"}, 1
	return nil
}

// begin has the trial's proxy start its CPU profile.
func (p *profiling) begin(t *trial) error {
	p.ended = false
	_ = os.Remove(filepath.Join(p.dir, "done"))
	return syscall.Kill(t.proxy.pid(), syscall.SIGUSR1)
}

// end has the proxy write its profiles, once, while its clients are still there.
func (p *profiling) end(t *trial) error {
	if p.ended {
		return nil
	}
	p.ended = true
	if err := syscall.Kill(t.proxy.pid(), syscall.SIGUSR2); err != nil {
		return err
	}
	done := filepath.Join(p.dir, "done")
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if _, err := os.Stat(done); err == nil {
			return os.Remove(done)
		}
		if err := errors.Join(t.proxy.alive(), t.pause(20*time.Millisecond)); err != nil {
			return err
		}
	}
	return errors.New("the profiles did not come")
}

// calls are those that a relay may make. Others are seen only by strace.
var calls = []string{
	"splice", "sendto", "sendmsg", "recvfrom", "recvmsg", "read", "readv", "write", "writev", "epoll_wait", "epoll_pwait", "epoll_ctl",
	"accept4", "accept", "connect", "socket", "close", "shutdown", "setsockopt", "getsockopt", "fcntl", "dup", "futex", "nanosleep", "getsockname",
	"getpeername", "tgkill", "sched_yield", "madvise", "mmap",
}

// countCalls counts the proxy's system calls while the load goes on, by perf, else by strace, and writes them for each MiB, exchange
// and session.
func (p *profiling) countCalls(t *trial, g load.Opened) error {
	from, err := t.moment(g)
	if err != nil {
		return err
	}
	counts, how, err := countByPerf(t)
	if err != nil {
		var straceErr error
		if counts, how, straceErr = countByStrace(t); straceErr != nil {
			return fmt.Errorf("count system calls: %w", errors.Join(err, straceErr))
		}
	}
	to, err := t.moment(g)
	if err != nil {
		return err
	}
	text := callTable(counts, to.since(from), t.time, how)
	fmt.Print(text)
	return os.WriteFile(filepath.Join(p.dir, "syscalls.txt"), []byte(text), 0o644)
}

func countByPerf(t *trial) (map[string]float64, string, error) {
	args := []string{"stat", "-x", ";", "-p", strconv.Itoa(t.proxy.pid())}
	for _, c := range calls {
		args = append(args, "-e", "syscalls:sys_enter_"+c)
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(t.ctx, "perf", append(args, "sleep", fmt.Sprint(t.time.Seconds()))...)
	cmd.Stderr = &out
	if err := cmd.Run(); err != nil {
		return nil, "", fmt.Errorf("perf: %w: %s", err, out.String()[:min(out.Len(), 300)])
	}
	counts := map[string]float64{}
	for line := range strings.Lines(out.String()) {
		f := strings.Split(line, ";")
		if len(f) > 2 {
			n, _ := strconv.ParseFloat(f[0], 64)
			counts[strings.TrimPrefix(f[2], "syscalls:sys_enter_")] = n
		}
	}
	return counts, "perf stat", nil
}

// countByStrace slows the proxy down, so that it moves more at a time: its counts are too low where much is moved.
func countByStrace(t *trial) (map[string]float64, string, error) {
	file := filepath.Join(t.dir, "strace.txt")
	cmd := exec.Command("strace", "-c", "-f", "-o", file, "-p", strconv.Itoa(t.proxy.pid()))
	if err := cmd.Start(); err != nil {
		return nil, "", fmt.Errorf("strace: %w", err)
	}
	err := t.pause(t.time)
	_ = cmd.Process.Signal(os.Interrupt)
	_ = cmd.Wait()
	if err != nil {
		return nil, "", err
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, "", err
	}
	counts := map[string]float64{}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 5 {
			continue
		}
		if n, err := strconv.ParseFloat(f[3], 64); err == nil && f[len(f)-1] != "total" {
			counts[f[len(f)-1]] = n
		}
	}
	return counts, "strace -c, which slows the proxy down", nil
}

// callTable is one line a call: how many a second, and for each unit of what was done. They were counted for a part of the span: what
// was done in it is taken to have been done evenly.
func callTable(counts map[string]float64, s span, counted time.Duration, how string) string {
	part := counted.Seconds() / s.wall.Seconds()
	mib := float64(max(s.clients.Wire, s.servers.In)) / (1 << 20) * part
	exchanges, sessions := float64(s.clients.Exchanges)*part, float64(s.clients.Sessions)*part
	names := make([]string, 0, len(counts))
	total := 0.0
	for n, c := range counts {
		if c > 0 {
			names = append(names, n)
			total += c
		}
	}
	slices.SortFunc(names, func(a, b string) int { return int(counts[b] - counts[a]) })
	counts["all of these"] = total
	var b strings.Builder
	fmt.Fprintf(&b, "system calls of the proxy in %v, by %s; %.1f MiB, %.0f exchanges, %.0f sessions\n", counted, how, mib, exchanges, sessions)
	fmt.Fprintf(&b, "%-16s %12s %12s %12s %12s\n", "call", "/s", "/MiB", "/exchange", "/session")
	per := func(c, n float64) string {
		if n == 0 {
			return "–"
		}
		return numeral(c / n)
	}
	for _, n := range append(names, "all of these") {
		c := counts[n]
		fmt.Fprintf(&b, "%-16s %12s %12s %12s %12s\n", n, numeral(c/counted.Seconds()), per(c, mib), per(c, exchanges), per(c, sessions))
	}
	return b.String()
}
