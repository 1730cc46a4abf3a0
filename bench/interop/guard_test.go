package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sluice/bench/stand"
)

// guarded is a proxy in a namespace of its own, on both families, that takes connections from the ranges in a file.
func guarded(t *testing.T, n *nets, settings env, command ...string) (p *stand.Proxy, ranges string) {
	t.Helper()
	dir := shortDir(t)
	ranges = filepath.Join(dir, "ranges")
	writeFile(t, ranges, edgeAddr+"\n"+edgeAddr6+"\n")
	base := env{
		"SLUICE_LISTEN": ":8443", "SLUICE_EDGE": "custom", "SLUICE_EDGE_MODE": "opaque", "SLUICE_EDGE_RANGES": ranges, "SLUICE_DRAIN_TIMEOUT": "1s",
	}
	p, err := stand.StartProxy(dir, base.with(settings), append(append([]string{"ip", "netns", "exec", n.inner}, command...), os.Getenv("SLUICE_BIN"))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(patience); err != nil {
			t.Errorf("the proxy's end: %v", err)
		}
		if t.Failed() {
			t.Logf("the proxy's log:\n%s", p.Log())
		}
	})
	return p, ranges
}

func metric(t *testing.T, p *stand.Proxy, name string) float64 {
	t.Helper()
	v, err := p.Metric(name)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func reload(t testing.TB, p *stand.Proxy) {
	t.Helper()
	if err := syscall.Kill(p.PID(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// The kernel's guard: who is outside is not answered, on either family; who is inside is served while the ranges beside it change
// under load; what the guard turns away is counted.
func TestKernelGuard(t *testing.T) {
	n := newNets(t)
	p, ranges := guarded(t, n, env{"SLUICE_EDGE_GUARD": "required"})
	eventually(t, "the guard is on every listener", func() error {
		if got := n.visit(otherAddr); got != curlTimeout {
			return fmt.Errorf("curl from outside ends with %d", got)
		}
		return nil
	})
	for from, want := range map[string]int{edgeAddr: 0, edgeAddr6: 0, otherAddr: curlTimeout, otherAddr6: curlTimeout} {
		for range 3 { // each listener of the group
			if got := n.visit(from); got != want {
				t.Errorf("curl from %s ends with %d, want %d", from, got, want)
			}
		}
	}
	stop := n.keepVisiting("the ranges change", map[string]int{edgeAddr: 0, edgeAddr6: 0, otherAddr: curlTimeout})
	for i := range 20 {
		writeFile(t, ranges, fmt.Sprintf("%s\n203.0.113.%d\n%s\n2001:db8:%x::/48\n", edgeAddr, i, edgeAddr6, i+1))
		reload(t, p)
		_ = n.visit(edgeAddr)
	}
	stop()
	n.moveOn(p, ranges)
	if metric(t, p, "sluice_edge_guard") != 1 {
		t.Error("sluice_edge_guard is not 1")
	}
	for _, family := range []string{"ipv4", "ipv6"} {
		if metric(t, p, `sluice_edge_guard_dropped_total{family="`+family+`"}`) < 3 {
			t.Errorf("%s: what was dropped is not counted", family)
		}
	}
	if v := metric(t, p, `sluice_refused_total{cause="outsider"}`); v > 3 {
		t.Errorf("%v connections of outsiders came as far as accept", v)
	}
}

// moveOn writes the other addresses into the file of ranges: the guard moves on with them at a reload.
func (n *nets) moveOn(p *stand.Proxy, ranges string) {
	n.t.Helper()
	writeFile(n.t, ranges, otherAddr+"\n"+otherAddr6+"\n")
	reload(n.t, p)
	for from, want := range map[string]int{otherAddr: 0, otherAddr6: 0, edgeAddr: curlTimeout, edgeAddr6: curlTimeout} {
		eventually(n.t, "the new ranges", func() error {
			if got := n.visit(from); got != want {
				return fmt.Errorf("curl from %s ends with %d, want %d", from, got, want)
			}
			return nil
		})
	}
}

// A reload gives the guard the file's ranges also where lists are never fetched again.
func TestKernelGuardWithoutRefreshes(t *testing.T) {
	n := newNets(t)
	p, ranges := guarded(t, n, env{"SLUICE_EDGE_GUARD": "required", "SLUICE_EDGE_REFRESH": "off"})
	eventually(t, "who is inside is served", func() error {
		if got := n.visit(edgeAddr6); got != 0 {
			return fmt.Errorf("curl from inside ends with %d", got)
		}
		return nil
	})
	n.moveOn(p, ranges)
}

// Without the capabilities the proxy says so once and closes outsiders after accept; told that the guard is required it does not start.
func TestNoKernelGuard(t *testing.T) {
	n := newNets(t)
	plain := []string{"setpriv", "--bounding-set=-all", "--inh-caps=-all", "--reuid=65534", "--clear-groups"}
	dir := shortDir(t)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	p, err := stand.StartProxy(dir, env{
		"SLUICE_LISTEN": ":8443", "SLUICE_EDGE": "custom", "SLUICE_EDGE_MODE": "opaque", "SLUICE_EDGE_RANGES": edgeAddr, "SLUICE_DRAIN_TIMEOUT": "1s",
	}, append(append([]string{"ip", "netns", "exec", n.inner}, plain...), copied(t, os.Getenv("SLUICE_BIN")))...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Stop(patience) }()
	if got := n.visit(edgeAddr); got != 0 {
		t.Errorf("curl from inside ends with %d", got)
	}
	if got := n.visit(otherAddr); got == 0 || got == curlTimeout {
		t.Errorf("curl from outside ends with %d: neither served nor left without an answer was expected", got)
	}
	if metric(t, p, "sluice_edge_guard") != 0 || metric(t, p, `sluice_refused_total{cause="outsider"}`) < 1 {
		t.Error("the metrics do not say that the guard is not the kernel's")
	}
	if n := strings.Count(p.Log(), "the kernel does not guard the listeners"); n != 1 {
		t.Errorf("the log says it %d times:\n%s", n, p.Log())
	}

	cmd := exec.Command(plain[0], append(plain[1:], copied(t, os.Getenv("SLUICE_BIN")), "run")...)
	cmd.Env = []string{
		"SLUICE_LISTEN=127.0.0.1:0", "SLUICE_ADMIN_LISTEN=off", "SLUICE_EDGE=custom", "SLUICE_EDGE_MODE=opaque", "SLUICE_EDGE_RANGES=" + edgeAddr,
		"SLUICE_EDGE_GUARD=required", "SLUICE_SECRET=" + secret.String(), "SLUICE_FRONT=127.0.0.1:1",
	}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "SLUICE_EDGE_GUARD=required") {
		t.Errorf("required and not to be had: %v\n%s", err, out)
	}
}

// copied is a copy of the binary that everybody may run.
func copied(t *testing.T, binary string) string {
	t.Helper()
	b, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	dir := shortDir(t)
	path := filepath.Join(dir, "sluice")
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
