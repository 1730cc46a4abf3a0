package e2e

import (
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"sluice/bench/client"
	"sluice/bench/stand"
)

// A recorded hello shows its sender the front after a restart as well, be it an orderly one or, when a second has passed, a kill. Clients are
// served.
func TestRecordedHelloOverARestart(t *testing.T) {
	for name, end := range map[string]syscall.Signal{"terminated": syscall.SIGTERM, "killed": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			site, dc, dir := startSite(t), startDC(t, "127.0.0.1:0"), shortDir(t)
			settings := env{
				"SLUICE_FRONT": site.Addr().String(), "SLUICE_DC_2": dc.Addr().String(), "SLUICE_SECRET": secret.String(),
				"SLUICE_DRAIN_TIMEOUT": "100ms",
			}
			hello := client.Hello{Host: secret.Host}.Sign(secret.Key)
			for start, want := range []string{"accepted", "replay", "replay"} {
				p, err := stand.StartProxy(dir, settings, binary)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(p.Kill)
				r := &rig{proxy: p, dc: dc}
				said := stranger(t, p.Addr())
				if _, err := said.Write(hello); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(said, make([]byte, 5)); err != nil { // ours or the site's
					t.Fatalf("start %d: %v", start, err)
				}
				_ = said.Close()
				if want == "replay" {
					wantMetric(t, p, `sluice_handshakes_total{result="replay"}`, 1)
				}
				if err := down(r.dial(t, client.Config{}), 1000); err != nil {
					t.Errorf("start %d: %v", start, err)
				}
				if end == syscall.SIGKILL {
					waitFor(t, filepath.Join(dir, "hellos"))
				}
				_ = p.Signal(end)
				<-p.Exited()
			}
		})
	}
}

// waitFor waits for a file to be there and to have changed no more for two seconds.
func waitFor(t *testing.T, path string) {
	t.Helper()
	eventually(t, path, func() error {
		st, err := os.Stat(path)
		if err == nil && time.Since(st.ModTime()) < 2*time.Second {
			err = os.ErrDeadlineExceeded
		}
		return err
	})
}
