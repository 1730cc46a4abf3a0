package main

import (
	"fmt"
	"time"

	"sluice/bench/figure"
	"sluice/bench/load"
)

const requestSize = 256

func exchangeScenarios() []scenario {
	var all []scenario
	for _, s := range []struct{ flows, kib int }{
		{64, 1}, {64, 4}, {32, 1}, {32, 4}, {32, 16}, {32, 64}, {32, 256}, {512, 1}, {512, 4}, {512, 16}, {512, 64}, {512, 256},
	} {
		all = append(all, scenario{
			name:    fmt.Sprintf("exchange-%dk-%d", s.kib, s.flows),
			about:   fmt.Sprintf("a request of %d bytes and its reply of %d KiB, over and over, %d flows", requestSize, s.kib, s.flows),
			figures: []string{"cpu_us_per_exchange", "p50_ms", "p99_ms", "p999_ms", "exchanges_per_s"},
			run:     exchange(s.flows, s.kib),
			long:    s.flows == 32 && s.kib < 256 || s.flows == 512 && s.kib != 16,
		})
	}
	return all
}

func exchange(flows, kib int) func(*bench, variant) (values, error) {
	return func(b *bench, v variant) (values, error) {
		var out values
		job := load.Job{Conns: flows, Mode: load.Exchange, Up: requestSize, Down: uint64(kib) << 10, Check: b.quick}
		err := b.with(v, setup{}, func(t *trial) error {
			g, err := t.open(job)
			if err != nil {
				return err
			}
			if err := t.run(g); err != nil {
				return err
			}
			s, err := t.measure(g, exchanged)
			if err != nil {
				return err
			}
			if err := t.finish(g); err != nil {
				return err
			}
			out = perExchange(s)
			return nil
		})
		return out, err
	}
}

func perExchange(s span) values {
	n := exchanged(s)
	v := values{
		"cpu_us_per_exchange": micros(s.proxy) / n, "exchanges_per_s": n / s.wall.Seconds(), "cpu_share": s.proxy.Seconds() / s.wall.Seconds(),
		"kernel_us_per_exchange": micros(s.kernel) / n, "system_us_per_exchange": micros(s.proxy+s.load+s.far+s.kernel) / n,
	}
	latencies(v, &s.clients.Latency)
	return v
}

func latencies(v values, h *figure.Histogram) {
	v["p50_ms"] = millis(h.Quantile(0.5))
	v["p99_ms"] = millis(h.Quantile(0.99))
	v["p999_ms"] = millis(h.Quantile(0.999))
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
func millis(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
