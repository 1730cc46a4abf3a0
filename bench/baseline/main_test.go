package baseline

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"sluice/bench/leak"
)

// TestMain makes this test binary the relays that the tests start, which only end with their process; else it fails the package when its
// tests leave a descriptor, a goroutine or a process behind.
func TestMain(m *testing.M) {
	if kind := os.Getenv("BASELINE"); kind != "" {
		listen, far := netip.MustParseAddrPort(os.Args[1]), netip.MustParseAddrPort(os.Args[2])
		var err error
		switch kind {
		case "raw":
			err = Raw(listen, []netip.AddrPort{far})
		case "plain":
			err = Plain(PlainConfig{Listen: listen, DC: far, Front: far})
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(leak.Check(m).Run())
}

// relay runs one of the relays until the test ends.
func relay(t *testing.T, kind string, listen, far netip.AddrPort) {
	t.Helper()
	c := exec.Command(os.Args[0], listen.String(), far.String())
	c.Env = append(os.Environ(), "BASELINE="+kind)
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
}
