package e2e

import (
	"fmt"
	"testing"
	"time"

	"sluice/bench/client"
	"sluice/bench/stand"
)

const offer = 256 << 20 // what the data centre has for each client, in bytes

// stalled opens a session, asks for all of the offer, and reads none of it.
func stalled(t testing.TB, r *rig, seed uint64) *client.Conn {
	t.Helper()
	c := r.dial(t, client.Config{})
	request(t, c, stand.Request{Op: stand.Down, Size: offer, Seed: seed})
	return c
}

// settled waits until the proxy moves nothing any more: every sink is full.
func settled(t testing.TB, p *stand.Proxy) {
	t.Helper()
	last, same := -1.0, 0
	eventually(t, "downloads standing still", func() error {
		now, err := p.SumMetric("sluice_relay_bytes_total")
		if err != nil {
			return err
		}
		if now == last {
			same++
		} else {
			last, same = now, 0
		}
		if same < 15 {
			return fmt.Errorf("at %v bytes", now)
		}
		return nil
	})
}

func resident(t testing.TB, p *stand.Proxy) int64 {
	t.Helper()
	n, err := p.Resident()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// warm has the proxy make what it keeps anyway: scratch, pipes, the heap of some traffic, and the pages of its own program that
// it needs for a stall.
func warm(t testing.TB, r *rig) {
	t.Helper()
	for range 20 {
		c, err := r.open(client.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if err := down(c, 4<<20); err != nil {
			t.Fatal(err)
		}
		if err := up(c, 1<<20); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	c := stalled(t, r, 0)
	settled(t, r.proxy)
	_ = c.Close()
	for range 300 { // the measurement reads this page too: let its garbage be what it will be
		if _, err := r.proxy.Page("/metrics"); err != nil {
			t.Fatal(err)
		}
	}
	wantMetric(t, r.proxy, `sluice_connections{state="relay"}`, 0)
}

// A client that stops reading costs next to nothing, for as long as it likes, and goes on where it was.
func TestStalledClient(t *testing.T) {
	eachMode(t, func(t *testing.T, mode env) {
		r := startRig(t, mode)
		warm(t, r)
		before := resident(t, r.proxy)
		c := stalled(t, r, 1)
		settled(t, r.proxy)
		if grown := resident(t, r.proxy) - before; grown >= 1<<20 {
			t.Errorf("one stalled client costs %d bytes of memory", grown)
		}
		cpu := cpuTime(t, r.proxy)
		time.Sleep(time.Second) // the span that is measured
		if spent := cpuTime(t, r.proxy) - cpu; spent > 100*time.Millisecond {
			t.Errorf("one stalled client costs %v of processor time in a second", spent)
		}
		if err := stand.CheckStream(c, 1, offer); err != nil {
			t.Errorf("after the stall: %v", err)
		}
		if err := up(c, 1<<20); err != nil {
			t.Errorf("after the download: %v", err)
		}
		quiet(t, r.proxy)
	})
}

// The same for a stranger at the front.
func TestStalledStranger(t *testing.T) {
	r := startRig(t, nil)
	before := resident(t, r.proxy)
	c := stranger(t, r.proxy.Addr())
	request(t, c, stand.Request{Op: stand.Down, Size: offer, Seed: 9})
	eventually(t, "the front's bytes", func() error {
		n, err := r.proxy.SumMetric("sluice_front_bytes_total")
		if err == nil && n == 0 {
			err = fmt.Errorf("none yet")
		}
		return err
	})
	time.Sleep(500 * time.Millisecond)
	if grown := resident(t, r.proxy) - before; grown >= 2<<20 {
		t.Errorf("one stalled stranger costs %d bytes of memory", grown)
	}
	if err := stand.CheckStream(c, 9, offer); err != nil {
		t.Errorf("after the stall: %v", err)
	}
}

func TestHundredStalledClients(t *testing.T) {
	eachMode(t, func(t *testing.T, mode env) {
		r := startRig(t, mode)
		warm(t, r)
		before := resident(t, r.proxy)
		var all []*client.Conn
		for i := range uint64(100) {
			all = append(all, stalled(t, r, i))
		}
		settled(t, r.proxy)
		if grown := resident(t, r.proxy) - before; grown >= 64<<20 {
			t.Errorf("a hundred stalled clients cost %d bytes of memory", grown)
		}
		// Others are served as if nothing were the matter.
		began := time.Now()
		c := r.dial(t, client.Config{})
		if err := down(c, 16<<20); err != nil {
			t.Errorf("a client beside the stalled ones: %v", err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("a client beside the stalled ones took %v for 16 MiB", took)
		}
		for i, c := range all {
			if err := stand.CheckStream(c, uint64(i), 8<<20); err != nil {
				t.Errorf("client %d after the stall: %v", i, err)
			}
			_ = c.Close()
		}
		wantMetric(t, r.proxy, `sluice_pipes{state="busy"}`, 0)
	})
}

// A data centre that stops reading stops the client, and costs as little.
func TestStalledDataCentre(t *testing.T) {
	r := startRig(t, nil)
	warm(t, r)
	before := resident(t, r.proxy)
	c := r.dial(t, client.Config{})
	request(t, c, stand.Request{Op: stand.Hold})
	_ = c.SetWriteDeadline(time.Now().Add(3 * time.Second))
	chunk := make([]byte, 64<<10)
	sent := 0
	for sent < offer {
		n, err := c.Write(chunk)
		sent += n
		if err != nil {
			break
		}
	}
	if sent >= offer {
		t.Errorf("a data centre that reads nothing was sent %d bytes", sent)
	}
	if grown := resident(t, r.proxy) - before; grown >= 1<<20 {
		t.Errorf("a stalled data centre costs %d bytes of memory", grown)
	}
}
