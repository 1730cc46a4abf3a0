package e2e

import (
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/bench/stand"
)

// cpuTime is the processor time that the proxy has used so far.
func cpuTime(t testing.TB, p *stand.Proxy) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ") // the name may hold anything
	fields := strings.Fields(rest)
	const utime, stime, tick = 11, 12, 10 * time.Millisecond
	ticks := 0
	for _, i := range []int{utime, stime} {
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick
}

// descriptors are the proxy's open descriptors by kind. The idle pipes of its pool, which it makes when they are first needed
// and keeps, are left out.
func descriptors(p *stand.Proxy) (map[string]int, error) {
	n, err := p.Descriptors()
	if err != nil {
		return nil, err
	}
	idle, err := p.Metric(`sluice_pipes{state="idle"}`)
	if err != nil {
		return nil, err
	}
	n["pipe"] -= 2 * int(idle)
	return n, nil
}

// holdsDescriptors is what the proxy has when it carries nothing: the same at several looks.
func holdsDescriptors(t testing.TB, p *stand.Proxy) map[string]int {
	t.Helper()
	var last map[string]int
	same := 0
	eventually(t, "descriptors at rest", func() error {
		now, err := descriptors(p)
		if err != nil {
			return err
		}
		if !maps.Equal(now, last) {
			last, same = now, 0
		}
		if same++; same < 8 {
			return fmt.Errorf("%v", now)
		}
		return nil
	})
	return last
}

// sameDescriptors waits until the proxy has exactly the descriptors it had before.
func sameDescriptors(t testing.TB, p *stand.Proxy, before map[string]int) {
	t.Helper()
	eventually(t, "descriptors", func() error {
		now, err := descriptors(p)
		if err == nil && !maps.Equal(now, before) {
			err = fmt.Errorf("%v, were %v", now, before)
		}
		return err
	})
}
