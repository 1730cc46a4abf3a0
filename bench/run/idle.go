package main

import (
	"fmt"
	"time"

	"sluice/bench/far"
	"sluice/bench/load"
)

const (
	movedBytes = 64 << 10
	quietTime  = 15 * time.Second
)

func idleScenarios() []scenario {
	var all []scenario
	for _, n := range []int{1000, 4000, 9000} {
		all = append(all, scenario{
			name: fmt.Sprintf("idle-%d", n), not: []string{rawName},
			about: fmt.Sprintf("%d established relays: memory of the process over an idle one, for each relay: fresh, when each has moved "+
				"64 KiB, and %v later", n, quietTime),
			figures: []string{"quiet_kib", "moved_kib", "fresh_kib", "cpu_us_per_session"},
			run:     idle(n),
			long:    n != 9000,
		})
	}
	return all
}

// idle looks at what established relays cost in memory.
func idle(conns int) func(*bench, variant) (values, error) {
	return func(b *bench, v variant) (out values, err error) {
		wait := quietTime
		if b.quick {
			conns, wait = min(conns, 300), 200*time.Millisecond
		}
		err = b.with(v, setup{}, func(t *trial) error {
			out, err = t.idle(conns, wait)
			return err
		})
		return out, err
	}
}

func (t *trial) idle(conns int, wait time.Duration) (values, error) {
	if err := t.pause(300 * time.Millisecond); err != nil {
		return nil, err
	}
	before, err := t.memory()
	if err != nil {
		return nil, err
	}
	out := values{}
	g, err := t.open(load.Job{Conns: conns, Mode: load.Hold})
	if err != nil {
		return nil, err
	}
	out["cpu_us_per_session"] = micros(t.spent()-before.cpu) / float64(conns)
	note := func(name string) error {
		m, err := t.memory()
		out[name+"_kib"] = float64(m.process-before.process) / 1024 / float64(conns)
		out[name+"_kernel_kib"] = float64(m.sockets+m.slab-before.sockets-before.slab) / 1024 / float64(conns)
		return err
	}
	for _, step := range []func() error{
		func() error { return t.pause(500 * time.Millisecond) },
		func() error { return note("fresh") },
		func() error { return t.move(g, load.Move{Up: 1 << 10, Down: movedBytes}) },
		func() error { return note("moved") },
		func() error { return t.pause(wait) },
		func() error { return note("quiet") },
		func() error { return t.move(g, load.Move{Up: 100, Down: 100}) }, // whoever was quiet must still be served
		func() error { return t.finish(g) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// memory is what a proxy holds at one moment.
type memory struct {
	process, sockets, slab int64
	cpu                    time.Duration
}

func (t *trial) memory() (m memory, err error) {
	m.sockets, m.slab, m.cpu = socketMemory(), slab(), t.spent()
	m.process, err = resident(t.proxy.pid())
	return m, err
}

func (t *trial) spent() time.Duration {
	d, _ := processCPU(t.proxy.pid())
	return d
}

func (t *trial) move(g load.Opened, m load.Move) error {
	return t.load.Call("move", struct {
		load.Named
		load.Move
	}{g.Named, m}, nil, callLimit)
}

func stallScenario() scenario {
	return scenario{
		name: "stall-1000", about: "1,000 clients that ask for endless data and never read; then 8 more that do",
		figures: []string{"process_mib", "own_kernel_mib", "kernel_mib", "others_ms"}, run: stall,
	}
}

const (
	stallTime   = 5 * time.Second
	stallBuffer = 64 << 10 // of the clients' and the far side's sockets, so that what the kernel holds is the proxy's
)

// stall looks at what clients cost that do not read.
func stall(b *bench, v variant) (values, error) {
	conns, long := 1000, stallTime
	if b.quick {
		conns, long = 100, 500*time.Millisecond
	}
	out := values{}
	if err := b.far.Call("set", far.Settings{SendBuffer: stallBuffer}, nil, callLimit); err != nil {
		return nil, err
	}
	defer func() { _ = b.far.Call("set", far.Settings{}, nil, callLimit) }()
	err := b.with(v, setup{}, func(t *trial) error {
		before, err := t.memory()
		if err != nil {
			return err
		}
		g, err := t.open(load.Job{Conns: conns, Mode: load.Stall, Receive: stallBuffer})
		if err != nil {
			return err
		}
		if err := t.run(g); err != nil {
			return err
		}
		for end := time.Now().Add(long); time.Now().Before(end); {
			if err := t.pause(100 * time.Millisecond); err != nil {
				return err
			}
			m, err := t.memory()
			if err != nil {
				return err
			}
			out["process_mib"] = max(out["process_mib"], float64(m.process)/(1<<20))
			out["kernel_mib"] = max(out["kernel_mib"], float64(m.sockets-before.sockets)/(1<<20))
			own, err := t.socketShare()
			if err != nil {
				return err
			}
			out["own_kernel_mib"] = max(out["own_kernel_mib"], float64(own)/(1<<20))
		}
		others, err := t.open(load.Job{Conns: 8, Mode: load.Hold, SampleDown: 4 << 20})
		if err != nil {
			return fmt.Errorf("beside the stalled: %w", err)
		}
		out["others_ms"] = millis(others.Took)
		if err := t.finish(others); err != nil {
			return err
		}
		return t.finish(g)
	})
	return out, err
}
