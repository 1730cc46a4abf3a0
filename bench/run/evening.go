package main

import (
	"time"

	"sluice/bench/load"
)

func eveningScenario() scenario {
	return scenario{
		name: "evening", run: evening, figures: []string{"cpu_s_per_gb", "cpu_share", "process_mib", "p50_ms", "p99_ms", "gb_per_s"},
		about: "2,000 clients who ping now and then, 40 who load 140 KiB for each 4 KiB they send (35:1), new ones all the time",
	}
}

// evening is a mix: what each variant is given to do is about the same, so its share of a CPU can be compared too.
func evening(b *bench, v variant) (values, error) {
	quiet := load.Job{Conns: 2000, Mode: load.Exchange, Up: 104, Down: 104, Think: 20 * time.Second}
	busy := load.Job{Conns: 40, Mode: load.Exchange, Up: 4 << 10, Down: 140 << 10, Think: 60 * time.Millisecond, Check: b.quick}
	fresh := load.Job{Conns: 1, Mode: load.Sessions, Think: 30 * time.Millisecond}
	if v.kind == load.Direct {
		fresh.Kind = load.Direct
	}
	if b.quick {
		quiet.Conns = 200
	}
	var out values
	err := b.with(v, setup{}, func(t *trial) error {
		var groups []load.Opened
		for _, j := range []load.Job{busy, quiet, fresh} {
			g, err := t.open(j)
			if err != nil {
				return err
			}
			groups = append(groups, g)
		}
		for _, g := range groups {
			if err := t.run(g); err != nil {
				return err
			}
		}
		s, err := t.measure(groups[0], exchanged)
		if err != nil {
			return err
		}
		m, err := t.memory()
		if err != nil {
			return err
		}
		for _, g := range groups {
			if err := t.finish(g); err != nil {
				return err
			}
		}
		out = perByte(s, received(s))
		latencies(out, &s.clients.Latency)
		out["process_mib"] = float64(m.process) / (1 << 20)
		return nil
	})
	return out, err
}
