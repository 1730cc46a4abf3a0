package interop

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sluice/bench/client"
	"sluice/bench/stand"
)

// TestCoreDump: a crash leaves no core. Where the limit does not hold, as for dumps that go through a pipe, there is no key in what is
// written; strace stands for that, and lets nothing come of the limit. With the filter lifted as well there is a key: so the test would see one.
func TestCoreDump(t *testing.T) {
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.TrimSpace(string(pattern)); strings.HasPrefix(text, "|") || strings.ContainsAny(text, "/%") {
		t.Logf("dumps of this machine go to %s: what is in one cannot be looked at, only that none is allowed", text)
		testNoCore(t)
		return
	}
	testNoCore(t)
	for name, lifted := range map[string]bool{"without the limit": false, "without the filter too": true} {
		t.Run(name, func(t *testing.T) {
			core := crash(t, func(pid int) {
				if lifted {
					writeFile(t, fmt.Sprintf("/proc/%d/coredump_filter", pid), "0x33")
				}
			}, "strace", "-D", "-f", "-o", "/dev/null", "-e", "trace=prlimit64", "-e", "inject=prlimit64:retval=0")
			if len(core) == 0 {
				t.Fatal("no core at all")
			}
			if found := bytes.Contains(core, secret.Key[:]); found != lifted {
				t.Errorf("%d bytes; the key is in them: %v, want %v", len(core), found, lifted)
			}
		})
	}
}

func testNoCore(t *testing.T) {
	t.Helper()
	if core := crash(t, func(int) {}); core != nil {
		t.Errorf("%d bytes were dumped", len(core))
	}
}

// crash ends a proxy that has served a client by SIGABRT, and returns the core that it leaves.
func crash(t *testing.T, before func(pid int), command ...string) []byte {
	t.Helper()
	dc, dir := startDC(t, "127.0.0.1:0"), shortDir(t)
	binary, err := filepath.Abs(os.Getenv("SLUICE_BIN"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := stand.StartProxy(dir, env{
		"SLUICE_SECRET": secret.String(), "SLUICE_DC_2": dc.Addr().String(), "GOTRACEBACK": "crash",
	}, append(append([]string{"sh", "-c", `cd "$0" && ulimit -c unlimited && exec "$@"`, dir}, command...), binary)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	c, err := client.Dial(context.Background(), client.Config{Addr: p.Addr(), Secret: secret, DC: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := down(c, 100_000); err != nil {
		t.Fatal(err)
	}
	before(p.PID())
	_ = p.Signal(syscall.SIGABRT)
	<-p.Exited()
	cores, _ := filepath.Glob(filepath.Join(dir, "core*"))
	if len(cores) == 0 {
		return nil
	}
	b, err := os.ReadFile(cores[0])
	if err != nil {
		t.Fatal(err)
	}
	return b
}
