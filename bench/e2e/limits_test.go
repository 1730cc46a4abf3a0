package e2e

import (
	"fmt"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/bench/client"
	"sluice/bench/stand"
)

// With a small limit of descriptors, more connections than it has place for cost nobody a session, and the places come back.
func TestFewDescriptors(t *testing.T) {
	r := startRig(t, nil, "sh", "-c", `ulimit -n 512; exec "$0" "$@"`, binary)
	var sessions []*client.Conn
	for range 5 {
		c := r.dial(t, client.Config{})
		request(t, c, stand.Request{Op: stand.Echo})
		sessions = append(sessions, c)
	}
	before := holdsDescriptors(t, r.proxy)
	var crowd []net.Conn
	for range 1500 {
		c, err := approach(r.proxy.Addr())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte{0x16, 3, 1})
		crowd = append(crowd, c)
	}
	alive(t, r, sessions)
	for _, c := range crowd {
		_ = c.Close()
	}
	sameDescriptors(t, r.proxy, before)
	eventually(t, "a new session", func() error { return tryOne(r) })
	alive(t, r, sessions)
	if n, err := r.proxy.SumMetric("sluice_refused_total"); err != nil || n == 0 {
		t.Errorf("refused: %v, %v", n, err)
	}
	wantMetric(t, r.proxy, "sluice_engine_restarts_total", 0)
}

// More sessions than there are places: those that are there live, those that come are refused at once, and it all clears up.
func TestTooManySessions(t *testing.T) {
	r := startRig(t, env{"SLUICE_MAX_CONNECTIONS": "20"})
	var sessions []*client.Conn
	refused := 0
	for range 40 {
		c, err := r.open(client.Config{Timeout: 3 * time.Second})
		if err != nil {
			refused++
			continue
		}
		t.Cleanup(func() { _ = c.Close() })
		request(t, c, stand.Request{Op: stand.Echo})
		if err := echo(c, 10); err != nil {
			refused++
			continue
		}
		sessions = append(sessions, c)
	}
	if len(sessions) < 15 || len(sessions) > 20 {
		t.Errorf("%d sessions, %d refused, with places for 20", len(sessions), refused)
	}
	alive(t, r, sessions)
	if n, err := r.proxy.Metric(`sluice_refused_total{cause="connections"}`); err != nil || n < 20 {
		t.Errorf("refused for want of places: %v, %v", n, err)
	}
	for _, c := range sessions {
		_ = c.Close()
	}
	eventually(t, "a new session", func() error { return tryOne(r) })
}

// The kernel refuses a descriptor in accept itself: the sessions go on, and clients are taken again when there is room.
func TestDescriptorsRunOut(t *testing.T) {
	r := startRig(t, nil)
	var sessions []*client.Conn
	for range 5 {
		c := r.dial(t, client.Config{})
		request(t, c, stand.Request{Op: stand.Echo})
		if err := echo(c, 10); err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, c)
	}
	held, err := r.proxy.Descriptors()
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, n := range held {
		total += n
	}
	var old unix.Rlimit
	tight := unix.Rlimit{Cur: uint64(total)}
	if err := unix.Prlimit(r.proxy.PID(), unix.RLIMIT_NOFILE, nil, &old); err != nil {
		t.Fatal(err)
	}
	tight.Max = old.Max
	if err := unix.Prlimit(r.proxy.PID(), unix.RLIMIT_NOFILE, &tight, nil); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		c, err := approach(r.proxy.Addr())
		if err != nil {
			continue // there may be moments without a listener
		}
		_, _ = c.Write([]byte{0x16, 3, 1})
		t.Cleanup(func() { _ = c.Close() })
	}
	end := time.Now().Add(2 * time.Second)
	for time.Now().Before(end) {
		alive(t, r, sessions)
		time.Sleep(50 * time.Millisecond)
	}
	if err := unix.Prlimit(r.proxy.PID(), unix.RLIMIT_NOFILE, &old, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a new session", func() error { return tryOne(r) })
	alive(t, r, sessions)
	someOf(t, r.proxy, "sluice_engine_restarts_total")
}

// someOf fails the test if nothing of that kind has been counted: then what it is about has not happened.
func someOf(t testing.TB, p *stand.Proxy, family string) {
	t.Helper()
	if n, err := p.SumMetric(family); err != nil || n == 0 {
		t.Errorf("%s is %v, %v", family, n, err)
	}
}

func alive(t testing.TB, r *rig, sessions []*client.Conn) {
	t.Helper()
	for i, c := range sessions {
		if err := echo(c, 3000); err != nil {
			t.Fatalf("session %d: %v", i, err)
		}
	}
}

// tryOne opens a session and uses it, with little patience.
func tryOne(r *rig) error {
	c, err := r.open(client.Config{Timeout: 2 * time.Second})
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	if err := down(c, 1000); err != nil {
		return fmt.Errorf("a new session: %w", err)
	}
	return nil
}

// Pipes that are all taken by clients who do not read are taken back; who comes then is served.
func TestPipesRunOut(t *testing.T) {
	r := startRig(t, nil)
	var all []*client.Conn
	for i := range uint64(400) {
		c := r.dial(t, client.Config{ReceiveBuffer: 64 << 10})
		request(t, c, stand.Request{Op: stand.Down, Size: 16 << 20, Seed: i})
		all = append(all, c)
	}
	for range 3 {
		began := time.Now()
		c := r.dial(t, client.Config{})
		if err := down(c, 8<<20); err != nil {
			t.Fatalf("a client beside those who do not read: %v", err)
		}
		_ = c.Close()
		t.Logf("a client beside those who do not read took %v for 8 MiB", time.Since(began))
	}
	someOf(t, r.proxy, "sluice_pipe_reclaimed_total")
	for i, c := range all[:20] {
		if err := stand.CheckStream(c, uint64(i), 16<<20); err != nil {
			t.Errorf("client %d after its stall: %v", i, err)
		}
	}
	for _, c := range all {
		_ = c.Close()
	}
	wantMetric(t, r.proxy, `sluice_connections{state="relay"}`, 0)
	wantMetric(t, r.proxy, `sluice_pipes{state="busy"}`, 0)
}
