package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sluice/bench/stand"
)

// ipsetOf is what sluice ranges writes for ipset, of an edge at the given ranges.
func ipsetOf(t testing.TB, ranges string) string {
	t.Helper()
	cmd := exec.Command(os.Getenv("SLUICE_BIN"), "ranges", "--format", "ipset")
	cmd.Env = []string{"SLUICE_LISTEN=:8443", "SLUICE_EDGE=custom", "SLUICE_EDGE_MODE=opaque", "SLUICE_EDGE_RANGES=" + ranges}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// The sets that sluice ranges writes for ipset, with the iptables rules of docs/edges: filled, swapped and destroyed again and again
// with other ranges beside, while connections come on both families: none from inside is lost, none from outside gets in.
func TestRangesInIPSet(t *testing.T) {
	n := newNets(t)
	inside := func(in string, args ...string) string {
		return n.must(in, "ip", append([]string{"netns", "exec", n.inner}, args...)...)
	}
	p, err := stand.StartProxy(shortDir(t), env{"SLUICE_LISTEN": ":8443", "SLUICE_DRAIN_TIMEOUT": "1s"}, "ip", "netns", "exec", n.inner, os.Getenv("SLUICE_BIN"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Stop(patience) }()
	load := func(more string) { inside(ipsetOf(t, edgeAddr+","+edgeAddr6+","+more), "ipset", "restore") }

	load("198.51.100.0/24")
	for _, from := range []string{edgeAddr, otherAddr, edgeAddr6, otherAddr6} {
		eventually(t, "without rules", func() error { // the first packets of IPv6 may wait for the neighbour
			if got := n.visit(from); got != 0 {
				return fmt.Errorf("curl from %s ends with %d", from, got)
			}
			return nil
		})
	}
	for command, set := range map[string]string{"iptables": "sluice-edge4-8443", "ip6tables": "sluice-edge6-8443"} {
		inside("", command, "-A", "INPUT", "!", "-i", "lo", "-p", "tcp", "--syn", "--dport", "8443", "-m", "set", "!", "--match-set", set, "src", "-j", "DROP")
	}
	want := map[string]int{edgeAddr: 0, edgeAddr6: 0, otherAddr: curlTimeout, otherAddr6: curlTimeout}
	for from, want := range want {
		if got := n.visit(from); got != want {
			t.Errorf("curl from %s ends with %d, want %d", from, got, want)
		}
	}
	stop := n.keepVisiting("the sets are swapped", want)
	for i := range 60 {
		load(fmt.Sprintf("203.0.113.%d,2001:db8:%x::/48", i, i+1))
	}
	stop()
	wantSets(t, inside("", "ipset", "list"))
}

// wantSets checks that the sets are those of the last load, and that nothing is left of what they were filled in.
func wantSets(t testing.TB, sets string) {
	t.Helper()
	for _, name := range []string{"sluice-edge4\n", "sluice-edge6\n", "sluice-edge4-8443\n", "sluice-edge6-8443\n", "203.0.113.59\n", "2001:db8:3c::/48\n", edgeAddr + "\n"} {
		if !strings.Contains(sets, name) {
			t.Errorf("the sets lack %s", name)
		}
	}
	if n := strings.Count(sets, "203.0.113.59\n"); n != 2 {
		t.Errorf("%d sets have the last load's ranges, not all listeners' and the listener's own", n)
	}
	for _, gone := range []string{"-new", "198.51.100.0", "203.0.113.58"} {
		if strings.Contains(sets, gone) {
			t.Errorf("the sets still have %s", gone)
		}
	}
	if t.Failed() {
		t.Log(sets)
	}
}

// A load that breaks off before the swap leaves the sets in use as they were, and the next one is not in its way.
func TestIPSetLoadBreaksOff(t *testing.T) {
	n := newNets(t)
	restore := func(in string) error {
		cmd := exec.Command("ip", "netns", "exec", n.inner, "ipset", "restore")
		cmd.Stdin = strings.NewReader(in)
		return cmd.Run()
	}
	list := func() string { return n.must("", "ip", "netns", "exec", n.inner, "ipset", "list", "sluice-edge4") }
	if err := restore(ipsetOf(t, "192.0.2.0/24")); err != nil {
		t.Fatal(err)
	}
	whole := ipsetOf(t, "203.0.113.0/24")
	half, _, _ := strings.Cut(whole, "swap")
	if err := restore(half + "add sluice-edge4-new not-an-address\n"); err == nil {
		t.Error("a broken list is loaded")
	}
	if sets := list(); !strings.Contains(sets, "192.0.2.0/24") || strings.Contains(sets, "203.0.113.0") {
		t.Errorf("after half a load:\n%s", sets)
	}
	if err := restore(whole); err != nil {
		t.Errorf("the next load: %v", err)
	}
	if sets := list(); strings.Contains(sets, "192.0.2.0/24") || !strings.Contains(sets, "203.0.113.0/24") {
		t.Errorf("after the next load:\n%s", sets)
	}
}

// The longest list that is taken fits into a set as well.
func TestLongestListInIPSet(t *testing.T) {
	const longest = 20_000
	n := newNets(t)
	var list strings.Builder
	for i := range longest {
		fmt.Fprintf(&list, "198.%d.%d.%d\n", i>>15, i>>7&255, i<<1&255) // every other address, so that none grow together
	}
	path := filepath.Join(shortDir(t), "list")
	writeFile(t, path, list.String())
	n.must(ipsetOf(t, path), "ip", "netns", "exec", n.inner, "ipset", "restore")
	want := fmt.Sprintf("Number of entries: %d\n", longest)
	if sets := n.must("", "ip", "netns", "exec", n.inner, "ipset", "list", "sluice-edge4", "-terse"); !strings.Contains(sets, want) {
		t.Errorf("not %s:\n%s", want, sets)
	}
}
