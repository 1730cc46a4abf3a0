package metric

import (
	"bufio"
	"bytes"
	"math"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func exposition(s *Set) string {
	var b bytes.Buffer
	s.WritePrometheus(&b)
	return b.String()
}

func TestExposition(t *testing.T) {
	s := NewSet(3)
	s.Gauge("sluice_draining", func() float64 { return Bool(true) })
	s.Gauge("sluice_build_info", func() float64 { return 1 }, "goversion", "go1.26", "version", `a"b\c`+"\nd")
	relay := s.Counter("sluice_relays_closed_total", "cause", "reset")
	s.Counter("sluice_relays_closed_total", "cause", "done")
	s.CounterFunc("sluice_replay_full_total", func() uint64 { return math.MaxUint64 })
	h := s.Histogram("sluice_clock_skew_seconds")
	s.GaugeEach("sluice_dc_address_healthy", func(emit func(float64, ...string)) {
		emit(1, "dc", "2", "address", "149.154.167.51:443")
		emit(0, "address", "[2001:67c:4e8:f002::a]:443", "dc", "2")
	})
	s.CounterEach("sluice_front_bytes_total", func(emit func(uint64, ...string)) {
		emit(math.MaxUint64-1, "path", "splice", "edge", "none", "direction", "up")
	})
	for shard := -1; shard < 9; shard++ {
		relay.Inc(shard)
	}
	relay.Add(1, 90)
	for _, v := range []float64{0, 1, 1.5, 3600, 3601, math.NaN()} {
		h.Observe(1, v)
		h.Observe(7, v)
	}
	want := `# HELP sluice_build_info Always 1: the version that runs and the Go release that built it
# TYPE sluice_build_info gauge
sluice_build_info{version="a\"b\\c\nd",goversion="go1.26"} 1
# HELP sluice_clock_skew_seconds Distance between our clock and the client's, of accepted hellos
# TYPE sluice_clock_skew_seconds histogram
sluice_clock_skew_seconds_bucket{le="1"} 4
sluice_clock_skew_seconds_bucket{le="2"} 6
sluice_clock_skew_seconds_bucket{le="5"} 6
sluice_clock_skew_seconds_bucket{le="10"} 6
sluice_clock_skew_seconds_bucket{le="20"} 6
sluice_clock_skew_seconds_bucket{le="30"} 6
sluice_clock_skew_seconds_bucket{le="60"} 6
sluice_clock_skew_seconds_bucket{le="120"} 6
sluice_clock_skew_seconds_bucket{le="180"} 6
sluice_clock_skew_seconds_bucket{le="300"} 6
sluice_clock_skew_seconds_bucket{le="600"} 6
sluice_clock_skew_seconds_bucket{le="3600"} 8
sluice_clock_skew_seconds_bucket{le="+Inf"} 10
sluice_clock_skew_seconds_sum 14407
sluice_clock_skew_seconds_count 10
# HELP sluice_dc_address_healthy 1 while an address of a Telegram data centre is preferred, 0 while it is set back after failed dials
# TYPE sluice_dc_address_healthy gauge
sluice_dc_address_healthy{dc="2",address="149.154.167.51:443"} 1
sluice_dc_address_healthy{dc="2",address="[2001:67c:4e8:f002::a]:443"} 0
# HELP sluice_draining 1 while the process finishes its relays before it ends
# TYPE sluice_draining gauge
sluice_draining 1
# HELP sluice_front_bytes_total Bytes carried between refused connections and the front, by direction (up is towards the front), path (splice, copy) and what stands in front of the listener
# TYPE sluice_front_bytes_total counter
sluice_front_bytes_total{direction="up",edge="none",path="splice"} 18446744073709551614
# HELP sluice_relays_closed_total Relays that ended, by cause
# TYPE sluice_relays_closed_total counter
sluice_relays_closed_total{cause="done"} 0
sluice_relays_closed_total{cause="reset"} 100
# HELP sluice_replay_full_total Valid hellos refused because the replay table was full
# TYPE sluice_replay_full_total counter
sluice_replay_full_total 18446744073709551615
`
	if diff := cmp.Diff(want, exposition(s)); diff != "" {
		t.Errorf("exposition (-want +got):\n%s", diff)
	}
}

// full makes a series, at least, of every family, as an engine would.
func full(t testing.TB) *Set {
	t.Helper()
	s := NewSet(2)
	for i := range Catalogue {
		d := &Catalogue[i]
		var labels []string
		for _, l := range d.Labels {
			labels = append(labels, l, "some value")
		}
		switch d.Type {
		case TypeCounter:
			s.Counter(d.Name, labels...).Inc(0)
		case TypeGauge:
			s.Gauge(d.Name, func() float64 { return 0.5 }, labels...)
		case TypeHistogram:
			s.Histogram(d.Name, labels...).Observe(1, 0.1)
		default:
			t.Fatalf("%s has the type %q", d.Name, d.Type)
		}
	}
	return s
}

// TestGrammar reads a whole exposition back line by line: each family once, in order, help and type before its samples.
func TestGrammar(t *testing.T) {
	sample := regexp.MustCompile(`^([a-z_]+)(?:\{[a-z]+="(?:[^"\\\n]|\\.)*"(?:,[a-z]+="(?:[^"\\\n]|\\.)*")*\})? (\S+)$`)
	suffix := regexp.MustCompile(`_(bucket|sum|count)$`)
	row := -1
	samples := 0
	in := bufio.NewScanner(strings.NewReader(exposition(full(t))))
	for in.Scan() {
		line := in.Text()
		if strings.HasPrefix(line, "# HELP ") {
			if row >= 0 && samples == 0 {
				t.Errorf("%s has no samples", Catalogue[row].Name)
			}
			row, samples = row+1, 0
			d := Catalogue[row]
			if want := "# HELP " + d.Name + " " + d.Help; line != want {
				t.Fatalf("got %q, want %q", line, want)
			}
			if want := "# TYPE " + d.Name + " " + d.Type; !in.Scan() || in.Text() != want {
				t.Fatalf("got %q, want %q", in.Text(), want)
			}
			continue
		}
		m := sample.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("not a sample: %q", line)
		}
		name := m[1]
		if Catalogue[row].Type == TypeHistogram {
			name = suffix.ReplaceAllString(name, "")
		}
		if name != Catalogue[row].Name {
			t.Fatalf("sample %q stands under %s", line, Catalogue[row].Name)
		}
		if _, err := strconv.ParseFloat(m[2], 64); err != nil {
			t.Errorf("sample %q: %v", line, err)
		}
		samples++
	}
	if row != len(Catalogue)-1 {
		t.Errorf("%d families, want %d", row+1, len(Catalogue))
	}
}

func TestWriteProcess(t *testing.T) {
	var b bytes.Buffer
	WriteProcess(&b)
	for _, name := range []string{"process_resident_memory_bytes ", "go_goroutines "} {
		if !strings.Contains(b.String(), name) {
			t.Errorf("%q is missing", name)
		}
	}
}

// TestConcurrent counts, observes, registers and scrapes at once; nothing may be lost.
func TestConcurrent(t *testing.T) {
	const goroutines, each = 8, 2000
	s := NewSet(goroutines)
	c := s.Counter("sluice_accepted_total")
	h := s.Histogram("sluice_dc_dial_seconds")
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			s.Counter("sluice_refused_total", "cause", strconv.Itoa(g))
			for i := range each {
				c.Inc(g)
				h.Observe(i, 0.25) // shards are shared: sums must not be lost
				if i%500 == 0 {
					exposition(s)
				}
			}
		})
	}
	wg.Wait()
	if got := c.Value(); got != goroutines*each {
		t.Errorf("counter is %d, want %d", got, goroutines*each)
	}
	out := exposition(s)
	for _, want := range []string{
		"sluice_accepted_total 16000\n",
		"sluice_dc_dial_seconds_sum 4000\n",
		"sluice_dc_dial_seconds_count 16000\n",
		`sluice_dc_dial_seconds_bucket{le="0.1"} 0` + "\n",
		`sluice_dc_dial_seconds_bucket{le="0.25"} 16000` + "\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing", want)
		}
	}
}

func TestHotPathAllocatesNothing(t *testing.T) {
	s := NewSet(2)
	c := s.Counter("sluice_accepted_total")
	h := s.Histogram("sluice_handshake_seconds")
	n := testing.AllocsPerRun(1000, func() {
		c.Inc(0)
		c.Add(1, 10)
		h.Observe(1, 0.003)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestNewSet: any number of shards is served, also one that is not a power of two.
func TestNewSet(t *testing.T) {
	for shards, cells := range map[int]int{-1: 1, 0: 1, 1: 1, 2: 2, 3: 4, 4: 4, 5: 8, 64: 64} {
		if got := NewSet(shards).cells; got != cells {
			t.Errorf("%d shards have %d cells, want %d", shards, got, cells)
		}
	}
}

func BenchmarkCounterInc(b *testing.B) {
	c := NewSet(1).Counter("sluice_accepted_total")
	b.ReportAllocs()
	for b.Loop() {
		c.Inc(0)
	}
}

func BenchmarkCounterIncParallel(b *testing.B) {
	c := NewSet(64).Counter("sluice_accepted_total")
	var mu sync.Mutex
	next := 0
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		mu.Lock()
		shard := next
		next++
		mu.Unlock()
		for pb.Next() {
			c.Inc(shard)
		}
	})
}

func BenchmarkHistogramObserve(b *testing.B) {
	h := NewSet(1).Histogram("sluice_handshake_seconds")
	b.ReportAllocs()
	for b.Loop() {
		h.Observe(0, 0.003)
	}
}

func BenchmarkWritePrometheus(b *testing.B) {
	s := full(b)
	b.ReportAllocs()
	for b.Loop() {
		s.WritePrometheus(&bytes.Buffer{})
	}
}
