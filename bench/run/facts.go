package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// fact is a line about the machine or the run.
type fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// machineFacts are what somebody needs to know to compare figures with those of another machine.
func machineFacts(o options) []fact {
	facts := []fact{
		{"date", time.Now().UTC().Format("2006-01-02 15:04 MST")},
		{"processor", fmt.Sprintf("%s, %d CPUs%s", processor(), runtime.NumCPU(), virtual())},
		{"memory", fmt.Sprintf("%.1f GiB", float64(physical())/(1<<30))},
		{"kernel", kernel()},
		{"go", runtime.Version()},
		{"load average before", loadAverage()},
		{"descriptors", fmt.Sprint(descriptors())},
	}
	for _, p := range o.proxies {
		if !o.wants(p.name) {
			continue
		}
		facts = append(facts, fact{p.name, build(p.value)})
	}
	for _, p := range o.peers {
		facts = append(facts, fact{p.name, p.value})
	}
	return facts
}

func processor() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// virtual says whether a hypervisor is under the kernel: timers and wake-ups are dearer there.
func virtual() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	if strings.Contains(string(b), " hypervisor") {
		return ", virtual"
	}
	return ""
}

func physical() int64 {
	b, _ := os.ReadFile("/proc/meminfo")
	kib, _ := field(b, "MemTotal:")
	return kib << 10
}

func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

func loadAverage() string {
	b, _ := os.ReadFile("/proc/loadavg")
	f := strings.Fields(string(b))
	return strings.Join(f[:min(3, len(f))], " ")
}

func descriptors() uint64 {
	var r unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &r)
	return r.Max
}

// build names a binary by what it says of itself and by its digest.
func build(path string) string {
	ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
	defer stop()
	cmd := exec.CommandContext(ctx, path, "version")
	cmd.Env = environment()
	said, err := cmd.Output()
	if err != nil {
		said = []byte("version unknown")
	}
	first, _, _ := strings.Cut(string(said), "\n")
	b, err := os.ReadFile(path)
	if err != nil {
		return first
	}
	digest := sha256.Sum256(b)
	return fmt.Sprintf("%s, SHA-256 %x…", first, digest[:6])
}
