package engine

import (
	"io"
	"math/bits"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"sluice/engine/config"
	"sluice/engine/edge/ranges"
	"sluice/engine/metric"
	"sluice/splice"
)

// counters are the engine's own series, each made once. Their first argument is the loop that counts.
type counters struct {
	metrics   *metric.Set
	loopCount int

	accepts          *metric.Counter
	handshakes       [causes]*metric.Counter
	handshakeSeconds *metric.Histogram
	skew             *metric.Histogram
	headers          [headerResults]*metric.Counter
	refused          map[refusal]*metric.Counter
	rangesRefreshes  [2]*metric.Counter // ok, failed
	dcDials          map[int]*[dials]*metric.Counter
	dcDialSeconds    *metric.Histogram
	frontDials       [dials]*metric.Counter
	relaysClosed     []*metric.Counter
	frontsClosed     []*metric.Counter

	frontRefused         [unfronteds]*metric.Counter
	frontResolveFailures *metric.Counter
	logDropped           *metric.Counter
	panics               atomic.Uint64
}

// otherDC is the label of data centres that are only there by an override.
const otherDC = "other"

var labelledDCs = []int{1, 2, 3, 4, 5, 203, 10001, 10002, 10003}

func (c *counters) initCounters(loops int) {
	m := metric.NewSet(1 << bits.Len(uint(loops))) // one more shard than loops, for all else
	c.metrics, c.loopCount = m, loops
	c.accepts = m.Counter("sluice_accepted_total")
	c.handshakeSeconds = m.Histogram("sluice_handshake_seconds")
	c.skew = m.Histogram("sluice_clock_skew_seconds")
	c.dcDialSeconds = m.Histogram("sluice_dc_dial_seconds")
	c.logDropped = m.Counter("sluice_log_dropped_total")
	c.frontResolveFailures = m.Counter("sluice_front_resolve_failures_total")
	c.refused = map[refusal]*metric.Counter{}
	c.dcDials = map[int]*[dials]*metric.Counter{}
	for i := range c.handshakes {
		c.handshakes[i] = m.Counter("sluice_handshakes_total", "result", cause(i).String())
	}
	for i := range c.headers {
		c.headers[i] = m.Counter("sluice_proxy_headers_total", "result", headerResult(i).String())
	}
	for _, why := range []refusal{refusedDescriptors, refusedConnections, refusedHandshakes, refusedDraining, refusedOutsider} {
		c.refused[why] = m.Counter("sluice_refused_total", "cause", string(why))
	}
	for i, result := range []string{"ok", "failed"} {
		c.rangesRefreshes[i] = m.Counter("sluice_ranges_refreshes_total", "result", result)
	}
	for i := range c.frontRefused {
		c.frontRefused[i] = m.Counter("sluice_front_refused_total", "cause", unfronted(i).String())
	}
	for i := range c.frontDials {
		c.frontDials[i] = m.Counter("sluice_front_dials_total", "result", dialNames[i])
	}
	for _, n := range append([]int{0}, labelledDCs...) {
		label, row := strconv.Itoa(n), new([dials]*metric.Counter)
		if n == 0 {
			label = otherDC
		}
		for i := range row {
			row[i] = m.Counter("sluice_dc_dials_total", "dc", label, "result", dialNames[i])
		}
		c.dcDials[n] = row
	}
	for _, cause := range splice.Causes() {
		c.relaysClosed = append(c.relaysClosed, m.Counter("sluice_relays_closed_total", "cause", cause.String()))
		c.frontsClosed = append(c.frontsClosed, m.Counter("sluice_fronts_closed_total", "cause", cause.String()))
	}
}

// offLoop is the shard for goroutines that are no loop.
func (c *counters) offLoop() int { return c.loopCount }

func (c *counters) dcDial(n int, result dial) *metric.Counter {
	row := c.dcDials[n]
	if row == nil {
		row = c.dcDials[0]
	}
	return row[result]
}

// sum adds up one figure of all relay loops.
func (e *Engine) sum(f func(*splice.Stats) int64) func() int64 {
	return func() (n int64) {
		for _, l := range e.loops {
			n += f(l.Stats())
		}
		return n
	}
}

// registerGauges adds the series that are read when they are asked for.
func (e *Engine) registerGauges() {
	m := e.metrics
	gauge := func(name string, f func() int64, labels ...string) {
		m.Gauge(name, func() float64 { return float64(f()) }, labels...)
	}
	total := func(name string, f func(*splice.Stats) uint64, labels ...string) {
		all := e.sum(func(s *splice.Stats) int64 { return int64(f(s)) })
		m.CounterFunc(name, func() uint64 { return uint64(all()) }, labels...)
	}
	m.Gauge("sluice_build_info", func() float64 { return 1 }, "version", e.version, "goversion", runtime.Version())
	gauge("sluice_connections", e.budget.pending.Load, "state", "handshake")
	gauge("sluice_connections", e.sum(func(s *splice.Stats) int64 { return s.Relays[splice.ToDC].Load() }), "state", "relay")
	gauge("sluice_connections", e.sum(func(s *splice.Stats) int64 {
		return s.Relays[splice.ToFront].Load() - s.Shadows.Load()
	}), "state", "front")
	gauge("sluice_connections", e.budget.waiting, "state", "waiting")
	m.CounterEach("sluice_relay_bytes_total", e.eachTraffic(splice.ToDC))
	m.CounterEach("sluice_front_bytes_total", e.eachTraffic(splice.ToFront))
	gauge("sluice_pipes", e.sum(func(s *splice.Stats) int64 { return s.PipesIdle.Load() }), "state", "idle")
	gauge("sluice_pipes", e.sum(func(s *splice.Stats) int64 { return s.PipesBusy.Load() }), "state", "busy")
	gauge("sluice_pipe_capacity_bytes", func() int64 { return e.loops[0].Stats().PipeSize.Load() })
	panicked := e.sum(func(s *splice.Stats) int64 { return int64(s.Panics.Load()) })
	m.CounterFunc("sluice_loop_panics_total", func() uint64 { return e.panics.Load() + uint64(panicked()) })
	total("sluice_pipe_exhausted_total", func(s *splice.Stats) uint64 { return s.NoPipe.Load() })
	total("sluice_pipe_reclaimed_total", func(s *splice.Stats) uint64 { return s.Reclaimed.Load() })
	m.Gauge("sluice_splice_supported", func() float64 { return metric.Bool(e.splices()) })
	gauge("sluice_fds_used", e.budget.used)
	gauge("sluice_fds_limit", func() int64 { return e.budget.descriptors })
	m.CounterFunc("sluice_engine_restarts_total", e.restarts.Load)
	m.GaugeEach("sluice_loop_stalled", e.watchdog.each)
	m.Gauge("sluice_draining", func() float64 { return metric.Bool(e.state.Load() == draining) })
	gauge("sluice_replay_entries", func() int64 { return int64(e.replay.Stats().Entries) })
	gauge("sluice_replay_capacity", func() int64 { return int64(e.replay.Stats().Capacity) })
	m.CounterFunc("sluice_replay_full_total", func() uint64 { return e.replay.Stats().Full })
	m.CounterFunc("sluice_replay_rotations_total", func() uint64 { return e.replay.Stats().Rotations })
	e.registerFront(gauge)
	m.GaugeEach("sluice_edge_guard", func(emit func(value float64, labels ...string)) {
		if v, ok := e.guardState(); ok {
			emit(v)
		}
	})
	for i, family := range []string{"ipv4", "ipv6"} {
		m.CounterFunc("sluice_edge_guard_dropped_total", func() uint64 {
			v4, v6 := e.guardDropped()
			return [2]uint64{v4, v6}[i]
		}, "family", family)
	}
	m.GaugeEach("sluice_ranges_prefixes", func(emit func(value float64, labels ...string)) {
		e.eachList(func(s ranges.State) { emit(float64(s.Prefixes), "source", s.Source) })
	})
	m.GaugeEach("sluice_ranges_age_seconds", func(emit func(value float64, labels ...string)) {
		e.eachList(func(s ranges.State) {
			if s.Changes && !s.Taken.IsZero() {
				emit(time.Since(s.Taken).Seconds(), "source", s.Source)
			}
		})
	})
	m.GaugeEach("sluice_dc_address_healthy", func(emit func(value float64, labels ...string)) {
		e.live.Load().dcs.Each(func(n int, addr netip.AddrPort, healthy bool) {
			emit(metric.Bool(healthy), "dc", strconv.Itoa(n), "address", addr.String())
		})
	})
}

// eachTraffic tells what relays of a kind have carried, by direction, path and edge: every edge that a listener has, and those that had some
// until a reload.
func (e *Engine) eachTraffic(kind splice.Kind) func(emit func(value uint64, labels ...string)) {
	return func(emit func(uint64, ...string)) {
		doors := e.live.Load().doors
		for lane, profile := range config.Profiles() {
			used := slices.ContainsFunc(doors, func(d door) bool { return d.lane == uint8(lane) })
			for half, direction := range []string{"up", "down"} {
				for p := range splice.Paths {
					n := e.sum(func(s *splice.Stats) int64 { return int64(s.Bytes[lane][kind][half][p].Load()) })()
					if used || n > 0 {
						emit(uint64(n), "direction", direction, "edge", profile, "path", p.String())
					}
				}
			}
		}
	}
}

func (e *Engine) registerFront(gauge func(name string, f func() int64, labels ...string)) {
	gauge("sluice_front_capacity", func() int64 { return int64(e.places.Count()) })
	each := func(name string, f func(s *site) float64) {
		e.metrics.GaugeEach(name, func(emit func(value float64, labels ...string)) {
			for _, s := range e.live.Load().sites.all {
				emit(f(s), "front", s.number)
			}
		})
	}
	each("sluice_front_addresses", func(s *site) float64 {
		addrs, path, _ := s.Target()
		if path != "" {
			return 1
		}
		return float64(len(addrs))
	})
	each("sluice_front_resolved_age_seconds", func(s *site) float64 { return s.Age().Seconds() })
	each("sluice_front_looped", func(s *site) float64 { return metric.Bool(s.looped.Load()) })
	each("sluice_flight_record_bytes", func(s *site) float64 { return float64(s.shape.Load().Record) })
	e.metrics.GaugeEach("sluice_flight_match", func(emit func(value float64, labels ...string)) {
		for _, s := range e.live.Load().sites.all {
			if m := s.match.Load(); m != nil {
				emit(1, "front", s.number, "match", m.String())
			}
		}
	})
}

// CountLostLines tells the metrics of a log that loses lines rather than block. It is called before Run.
func (e *Engine) CountLostLines(lost func() uint64) {
	e.metrics.CounterFunc("sluice_log_lost_total", lost)
}

// writeMetrics writes the exposition: our own families, then the process's.
func (e *Engine) writeMetrics(w io.Writer) {
	e.metrics.WritePrometheus(w)
	metric.WriteProcess(w)
}
