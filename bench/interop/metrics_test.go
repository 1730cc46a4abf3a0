package interop

import (
	"context"
	"os/exec"
	"strings"
	"testing"

	"sluice/bench/client"
)

// The metrics page passes Prometheus' own check, after every kind of visit has been counted.
func TestPromtool(t *testing.T) {
	f := startFront(t, env{"SLUICE_PROXY_PROTOCOL": "optional"})
	for _, prefix := range []string{"", "PROXY TCP4 192.0.2.7 192.0.2.1 5555 443\r\n"} {
		c, err := client.Dial(context.Background(), client.Config{Addr: f.proxy.Addr(), Secret: secret, DC: 2, Prefix: []byte(prefix)})
		if err != nil {
			t.Fatal(err)
		}
		if err := down(c, 3<<20); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	strangerThrough(t, f, f.proxy.Addr())
	page, err := f.proxy.Page("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	var own strings.Builder
	families := 0
	for line := range strings.Lines(page) {
		if strings.Contains(line, "sluice_") {
			own.WriteString(line)
		}
		if strings.HasPrefix(line, "# TYPE sluice_") {
			families++
		}
	}
	if families < 20 {
		t.Errorf("only %d families on the page", families)
	}
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, status := run(t, own.String(), "promtool", "check", "metrics")
	if status != 0 || stdout != "" || stderr != "" {
		t.Errorf("promtool: status %d\n%s%s", status, stdout, stderr)
	}
}
