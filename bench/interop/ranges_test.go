package interop

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"sluice/bench/stand"
)

// nets are two network namespaces with a wire between them: the proxy's and the world's. They end with the test.
type nets struct {
	t            testing.TB
	inner, outer string
}

const (
	innerAddr = "192.0.2.1"
	edgeAddr  = "192.0.2.2" // the load balancer's
	otherAddr = "192.0.2.3" // somebody's

	innerAddr6, edgeAddr6, otherAddr6 = "2001:db8::1", "2001:db8::2", "2001:db8::3"
)

func newNets(t testing.TB) *nets {
	t.Helper()
	n := &nets{t, fmt.Sprintf("sluice-in-%d", os.Getpid()), fmt.Sprintf("sluice-out-%d", os.Getpid())}
	for _, name := range []string{n.inner, n.outer} {
		n.must("", "ip", "netns", "add", name)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
	}
	n.must("", "ip", "link", "add", "wire", "netns", n.inner, "type", "veth", "peer", "name", "wire", "netns", n.outer)
	for name, addrs := range map[string][]string{n.inner: {innerAddr, innerAddr6}, n.outer: {edgeAddr, otherAddr, edgeAddr6, otherAddr6}} {
		for _, a := range addrs {
			length := "/24"
			if strings.Contains(a, ":") {
				length = "/64"
			}
			n.must("", "ip", "-n", name, "addr", "add", a+length, "dev", "wire", "nodad")
		}
		n.must("", "ip", "-n", name, "link", "set", "lo", "up")
		n.must("", "ip", "-n", name, "link", "set", "wire", "up")
	}
	return n
}

// must runs a command with the given input and returns what it prints.
func (n *nets) must(in, name string, args ...string) string {
	n.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(in)
	var bad bytes.Buffer
	cmd.Stderr = &bad
	out, err := cmd.Output()
	if err != nil {
		n.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, bad.String())
	}
	return string(out)
}

// curl's exit status for who is not answered at all.
const curlTimeout = 28

// visit asks for the site from an address of the world; the result is curl's exit status.
func (n *nets) visit(from string) int { return n.visitPort(from, 8443) }

func (n *nets) visitPort(from string, port int) int {
	to := innerAddr
	if strings.Contains(from, ":") {
		to = "[" + innerAddr6 + "]"
	}
	cmd := exec.Command("ip", "netns", "exec", n.outer, "curl", "-sk", "-o", "/dev/null", "--interface", from, "--connect-timeout", "1", "--max-time", "10",
		fmt.Sprintf("https://%s:%d/", to, port))
	_ = cmd.Run()
	return cmd.ProcessState.ExitCode()
}

// keepVisiting visits from each address, over and over, until it is stopped, and wants the same end of it every time.
func (n *nets) keepVisiting(while string, want map[string]int) (stop func()) {
	done := make(chan struct{})
	var visits sync.WaitGroup
	for from, want := range want {
		visits.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if got := n.visit(from); got != want {
					n.t.Errorf("while %s: curl from %s ends with %d, want %d", while, from, got, want)
				}
			}
		})
	}
	return func() {
		close(done)
		visits.Wait()
	}
}

// The rules that sluice ranges writes for nft: who is outside is not answered, as by a machine that has no such port. They are
// loaded again and again, with other ranges beside, while connections come: none from inside is lost, none from outside gets in.
func TestRangesInTheFirewall(t *testing.T) {
	n := newNets(t)
	binary := os.Getenv("SLUICE_BIN")
	p, err := stand.StartProxy(shortDir(t), env{"SLUICE_LISTEN": innerAddr + ":8443", "SLUICE_DRAIN_TIMEOUT": "1s"}, "ip", "netns", "exec", n.inner, binary)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Stop(patience) }()
	load := func(more string) {
		cmd := exec.Command(binary, "ranges", "--format", "nft")
		cmd.Env = []string{
			"SLUICE_LISTEN=" + innerAddr + ":8443", "SLUICE_EDGE=custom", "SLUICE_EDGE_MODE=opaque", "SLUICE_EDGE_RANGES=" + edgeAddr + "," + more,
		}
		rules, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		n.must(string(rules), "ip", "netns", "exec", n.inner, "nft", "-f", "-")
	}
	for _, from := range []string{edgeAddr, otherAddr} {
		if got := n.visit(from); got != 0 {
			t.Fatalf("without rules: curl from %s ends with %d", from, got)
		}
	}
	load("198.51.100.0/24")
	if got := n.visit(edgeAddr); got != 0 {
		t.Errorf("from inside the ranges: curl ends with %d", got)
	}
	if got := n.visit(otherAddr); got != curlTimeout {
		t.Errorf("from outside the ranges: curl ends with %d, not with a time-out", got)
	}
	stop := n.keepVisiting("rules are loaded", map[string]int{edgeAddr: 0, otherAddr: curlTimeout})
	for i := range 40 {
		load(fmt.Sprintf("203.0.113.%d,2001:db8::%x", i, i+1))
	}
	stop()
	sets := n.must("", "ip", "netns", "exec", n.inner, "nft", "list", "table", "inet", "sluice")
	if strings.Count(sets, "drop") != 1 || strings.Contains(sets, "198.51.100.0") || !strings.Contains(sets, "203.0.113.39") {
		t.Errorf("the rules are not those loaded last:\n%s", sets)
	}
}

// earlierRules are what a release wrote that gave all listeners the same sets.
const earlierRules = `add table inet sluice
add set inet sluice edge4 { type ipv4_addr; flags interval; auto-merge; }
flush set inet sluice edge4
add element inet sluice edge4 { 192.0.2.2/32 }
add set inet sluice edge6 { type ipv6_addr; flags interval; auto-merge; }
flush set inet sluice edge6
add element inet sluice edge6 { 2001:db8::2/128 }
add chain inet sluice guard { type filter hook input priority -10; policy accept; }
flush chain inet sluice guard
add rule inet sluice guard iif != lo tcp dport 8443 tcp flags & (fin | syn | rst | ack) == syn ip saddr != @edge4 drop
add rule inet sluice guard iif != lo tcp dport 8443 tcp flags & (fin | syn | rst | ack) == syn ip6 saddr != @edge6 drop
add rule inet sluice guard iif != lo tcp dport 8444 tcp flags & (fin | syn | rst | ack) == syn ip saddr != @edge4 drop
add rule inet sluice guard iif != lo tcp dport 8444 tcp flags & (fin | syn | rst | ack) == syn ip6 saddr != @edge6 drop
`

// Listeners with different ranges: each port is closed to the other's machines, and one that is open to all stays open, after an
// earlier release's rules too. They are loaded again and again while connections come, and nobody gets in or is lost meanwhile.
func TestRangesOfEachListener(t *testing.T) {
	n := newNets(t)
	binary := os.Getenv("SLUICE_BIN")
	p, err := stand.StartProxy(shortDir(t), env{"SLUICE_LISTEN": ":8443,:8444", "SLUICE_DRAIN_TIMEOUT": "1s"}, "ip", "netns", "exec", n.inner, binary)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Stop(patience) }()
	nft := func(in string, args ...string) string {
		return n.must(in, "ip", append([]string{"netns", "exec", n.inner, "nft"}, args...)...)
	}
	load := func(more string) {
		cmd := exec.Command(binary, "ranges", "--format", "nft")
		cmd.Env = []string{
			"SLUICE_LISTEN=:8443,:8444=haproxy," + innerAddr + ":8444=none", "SLUICE_EDGE=custom", "SLUICE_EDGE_MODE=opaque",
			"SLUICE_EDGE_RANGES=" + edgeAddr + "," + edgeAddr6 + "," + more,
		}
		rules, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		nft(string(rules), "-f", "-")
	}
	nft(earlierRules, "-f", "-")
	eventually(t, "with an earlier release's rules", func() error { // the first packets of IPv6 may wait for the neighbour
		if got := n.visitPort(edgeAddr6, 8444); got != 0 {
			return fmt.Errorf("curl ends with %d", got)
		}
		return nil
	})
	load("198.51.100.0/24")
	for _, visit := range []struct {
		from string
		port int
		want int
	}{
		{edgeAddr, 8443, 0},
		{edgeAddr6, 8443, 0},
		{otherAddr, 8443, curlTimeout},
		{otherAddr6, 8443, curlTimeout},
		{edgeAddr6, 8444, curlTimeout},
		{otherAddr6, 8444, curlTimeout}, // HAProxy's is this machine
		{edgeAddr, 8444, 0},
		{otherAddr, 8444, 0}, // open to all at this address
	} {
		if got := n.visitPort(visit.from, visit.port); got != visit.want {
			t.Errorf("curl from %s to port %d ends with %d, want %d", visit.from, visit.port, got, visit.want)
		}
	}
	stop := n.keepVisiting("rules are loaded", map[string]int{edgeAddr: 0, otherAddr: curlTimeout, edgeAddr6: 0})
	for i := range 20 {
		load(fmt.Sprintf("203.0.113.%d", i))
	}
	stop()
	if rules := nft("", "list", "chain", "inet", "sluice", "guard"); strings.Count(rules, "drop") != 4 || strings.Contains(rules, "@edge4 ") || strings.Contains(rules, "@edge6 ") {
		t.Errorf("rules of an earlier load are still there:\n%s", rules)
	}
}
