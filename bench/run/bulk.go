package main

import (
	"fmt"

	"sluice/bench/load"
)

func bulkScenarios(bridge bool) []scenario {
	suffix, where := "", "loopback"
	if bridge {
		suffix, where = "-mtu1500", "the pair of network namespaces"
	}
	figures := []string{"cpu_s_per_gb", "gb_per_s"}
	var all []scenario
	for _, n := range []int{1, 8, 64} {
		all = append(all, scenario{
			name: fmt.Sprintf("download-%d%s", n, suffix), about: fmt.Sprintf("bulk download, %d flows, %s", n, where),
			bridge: bridge, figures: figures, long: n != 8, run: bulk(n, load.Source, 0, false),
		})
	}
	all = append(all, scenario{
		name: "upload-8" + suffix, about: "bulk upload in records of 2,878 bytes as tdlib writes them, 8 flows, " + where,
		bridge: bridge, figures: figures, run: bulk(8, load.Sink, 2878, false),
	}, scenario{
		name: "upload-8-16k" + suffix, about: "bulk upload in records of 16,384 bytes as on iOS, 8 flows, " + where,
		bridge: bridge, figures: figures, run: bulk(8, load.Sink, 16384, false),
	})
	return append(all, scenario{
		name: "fronted-8" + suffix, about: "bulk download of strangers from the front, 8 flows, " + where,
		bridge: bridge, figures: figures, run: bulk(8, load.Source, 0, true),
	})
}

// bulk moves as much as it can one way.
func bulk(flows int, mode string, record int, fronted bool) func(*bench, variant) (values, error) {
	return func(b *bench, v variant) (values, error) {
		job := load.Job{Conns: flows, Mode: mode, Record: record, SampleDown: 1 << 20, SampleUp: 256 << 10}
		if fronted {
			job.Kind = load.Stranger
		}
		moved := received
		if mode == load.Sink {
			moved = delivered
		}
		var out values
		err := b.with(v, setup{fronted: fronted}, func(t *trial) error {
			if t.quick {
				job.SampleDown, job.SampleUp = 8<<20, 4<<20
			}
			g, err := t.open(job)
			if err != nil {
				return err
			}
			if err := t.run(g); err != nil {
				return err
			}
			s, err := t.measure(g, moved)
			if err != nil {
				return err
			}
			out = perByte(s, moved(s))
			return t.finish(g)
		})
		return out, err
	}
}

func perByte(s span, bytes float64) values {
	amount := bytes / gb
	return values{
		"cpu_s_per_gb": s.proxy.Seconds() / amount, "gb_per_s": amount / s.wall.Seconds(), "cpu_share": s.proxy.Seconds() / s.wall.Seconds(),
		"kernel_s_per_gb": s.kernel.Seconds() / amount, "load_s_per_gb": s.load.Seconds() / amount, "far_s_per_gb": s.far.Seconds() / amount,
		"system_s_per_gb": (s.proxy + s.load + s.far + s.kernel).Seconds() / amount,
	}
}
