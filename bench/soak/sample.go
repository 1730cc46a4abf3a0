package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sluice/bench/figure"
)

const (
	restartsMetric = "sluice_engine_restarts_total"
	panicsMetric   = "sluice_loop_panics_total"
)

// The columns of a sample. All sizes are bytes, all times seconds.
const (
	colTime = iota // since the load began
	colResident
	colSockets // descriptors of the proxy
	colPipeEnds
	colOthers
	colPipesIdle
	colPipesBusy
	colGoroutines
	colHandshakes // connections at the proxy
	colRelays
	colFronts
	colLiving // connections that the load has or tries to have
	colRestarts
	colPanics
	colProxyCPU
	colSoakCPU
	colSocketMemory // of the machine
	colExchange50
	colExchange99
	colExchanges
	colHandshake50
	colHandshake99
	columns
)

var columnNames = [columns]string{
	"seconds", "resident_bytes", "sockets", "pipe_descriptors", "other_descriptors", "pipes_idle", "pipes_busy", "goroutines", "handshakes",
	"relays", "fronts", "living", "engine_restarts", "loop_panics", "proxy_cpu_seconds", "soak_cpu_seconds", "tcp_memory_bytes",
	"exchange_p50_seconds", "exchange_p99_seconds", "exchanges", "handshake_p50_seconds", "handshake_p99_seconds",
}

// sampledMetrics are the columns that the proxy's own page has.
var sampledMetrics = map[int]string{
	colPipesIdle: `sluice_pipes{state="idle"}`, colPipesBusy: `sluice_pipes{state="busy"}`, colGoroutines: "go_goroutines",
	colHandshakes: `sluice_connections{state="handshake"}`, colRelays: `sluice_connections{state="relay"}`,
	colFronts: `sluice_connections{state="front"}`, colRestarts: restartsMetric, colPanics: panicsMetric,
	colProxyCPU: "process_cpu_seconds_total",
}

// sample is one look at everything. What could not be had is NaN.
type sample [columns]float64

// saveEvery is how often what is known so far is written, for whoever does not want to wait for the end.
const saveEvery = time.Minute

// sampler takes samples until ctx ends. r is the record so far.
func (s *soak) sampler(ctx context.Context, r record) {
	saved := time.Now()
	for sleep(ctx, s.opts.every) {
		v := s.look()
		s.mu.Lock()
		s.samples = append(s.samples, v)
		s.mu.Unlock()
		if time.Since(saved) < saveEvery {
			continue
		}
		saved, r.Lasted = time.Now(), min(s.ledger.now(), r.Asked-2) // a record that is not whole must not look so
		s.enter(&r)
		_ = s.save(&r) // the last one counts
	}
}

func (s *soak) look() sample {
	v := s.rig.look()
	exchange, handshakes := s.lag.take()
	v[colTime], v[colLiving], v[colExchanges] = s.ledger.now(), float64(s.ledger.living()), float64(exchange.Total)
	for col, q := range map[int]float64{colExchange50: 0.5, colExchange99: 0.99} {
		v[col] = quantile(exchange, q)
	}
	for col, q := range map[int]float64{colHandshake50: 0.5, colHandshake99: 0.99} {
		v[col] = quantile(handshakes, q)
	}
	v[colSoakCPU] = ownCPU()
	return v
}

func quantile(h figure.Histogram, q float64) float64 {
	if h.Total == 0 {
		return math.NaN()
	}
	return h.Quantile(q).Seconds()
}

// look is what the kernel and the proxy's page say of the proxy.
func (r *rig) look() (v sample) {
	for i := range v {
		v[i] = math.NaN()
	}
	if n, err := r.proxy.Resident(); err == nil {
		v[colResident] = float64(n)
	}
	v[colSocketMemory] = socketMemory()
	page, err := r.proxy.Page("/metrics")
	if err == nil {
		for line := range strings.Lines(page) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			for col, series := range sampledMetrics {
				if name == series {
					v[col], _ = strconv.ParseFloat(value, 64)
				}
			}
		}
	}
	// Last: the page's own connection has gone by then, mostly.
	if held, err := r.proxy.Descriptors(); err == nil {
		v[colSockets], v[colPipeEnds], v[colOthers] = float64(held["socket"]), float64(held["pipe"]), 0
		for kind, n := range held {
			if kind != "socket" && kind != "pipe" {
				v[colOthers] += float64(n)
			}
		}
	}
	return v
}

func ownCPU() float64 {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// socketMemory is the kernel's memory in TCP buffers of the whole machine.
func socketMemory() float64 {
	b, _ := os.ReadFile("/proc/net/sockstat")
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		for i := range f {
			if f[0] == "TCP:" && f[i] == "mem" && i+1 < len(f) {
				pages, _ := strconv.ParseFloat(f[i+1], 64)
				return pages * float64(os.Getpagesize())
			}
		}
	}
	return math.NaN()
}

// writeSamples writes a table with a head line.
func writeSamples(w io.Writer, samples []sample) error {
	c := csv.NewWriter(w)
	_ = c.Write(columnNames[:])
	for _, v := range samples {
		row := make([]string, columns)
		for i, x := range v {
			if !math.IsNaN(x) {
				row[i] = strconv.FormatFloat(x, 'g', 8, 64)
			}
		}
		_ = c.Write(row)
	}
	c.Flush()
	return c.Error()
}

// readSamples reads what writeSamples has written.
func readSamples(r io.Reader) ([]sample, error) {
	rows, err := csv.NewReader(r).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 || strings.Join(rows[0], ",") != strings.Join(columnNames[:], ",") {
		return nil, fmt.Errorf("the samples have other columns")
	}
	var all []sample
	for _, row := range rows[1:] {
		var v sample
		for i, text := range row {
			v[i] = math.NaN()
			if text == "" {
				continue
			}
			if v[i], err = strconv.ParseFloat(text, 64); err != nil {
				return nil, err
			}
		}
		all = append(all, v)
	}
	return all, nil
}
