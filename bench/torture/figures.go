package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"sluice/bench/stand"
)

// figures are what a proxy holds at some moment.
type figures struct {
	resident    int64 // bytes
	descriptors int
	pipes       int // descriptors of pipes
	goroutines  int
	connections int // of all states
}

const mib = 1 << 20

// measure looks at a proxy.
func measure(p *stand.Proxy) (f figures, err error) {
	page := func(series string) int {
		v, e := p.Metric(series)
		if e != nil && err == nil {
			err = e
		}
		return int(v)
	}
	f.goroutines = page("go_goroutines")
	connections, e := p.SumMetric("sluice_connections")
	if e != nil {
		return f, e
	}
	f.connections = int(connections)
	count, e := p.Descriptors()
	if e != nil {
		return f, e
	}
	for kind, n := range count {
		f.descriptors += n
		if kind == "pipe" {
			f.pipes = n
		}
	}
	f.resident, e = p.Resident()
	if e != nil {
		return f, e
	}
	return f, err
}

// same says what of f has not come back to what it was before.
func (f figures) same(before figures) error {
	slack := max(int64(16*mib), before.resident*3/10)
	switch {
	case f.connections != before.connections:
		return fmt.Errorf("%d connections, %d before", f.connections, before.connections)
	case f.descriptors > before.descriptors:
		return fmt.Errorf("%d descriptors, %d before", f.descriptors, before.descriptors)
	case f.pipes > before.pipes:
		return fmt.Errorf("%d descriptors of pipes, %d before", f.pipes, before.pipes)
	case f.goroutines > before.goroutines:
		return fmt.Errorf("%d goroutines, %d before", f.goroutines, before.goroutines)
	case f.resident > before.resident+slack:
		return fmt.Errorf("%d MiB of memory, %d before", f.resident/mib, before.resident/mib)
	}
	return nil
}

// awaitSame waits until everything is back. The memory of a burst is given back by the proxy's own tidying, every five seconds.
func awaitSame(p *stand.Proxy, before figures, patience time.Duration) (f figures, err error) {
	deadline := time.Now().Add(patience)
	for {
		if f, err = measure(p); err == nil {
			err = f.same(before)
		}
		if err == nil || time.Now().After(deadline) {
			return f, err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// awaitQuiet waits until nobody is connected and the figures stand still.
func awaitQuiet(p *stand.Proxy, patience time.Duration) (f figures, err error) {
	deadline, still := time.Now().Add(patience), 0
	last := figures{}
	for still < 4 {
		if f, err = measure(p); err != nil {
			return f, err
		}
		if f.connections == 0 && f.descriptors == last.descriptors && f.goroutines == last.goroutines {
			still++
		} else {
			still = 0
		}
		last = f
		if time.Now().After(deadline) {
			return f, fmt.Errorf("no rest: %+v", f)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return f, nil
}

// fieldAfter is the number behind a word in a file of the kernel's, 0 without one.
func fieldAfter(text, word string) int64 {
	words := strings.Fields(text)
	for i := range len(words) - 1 {
		if words[i] == word {
			n, _ := strconv.ParseInt(words[i+1], 10, 64)
			return n
		}
	}
	return 0
}
