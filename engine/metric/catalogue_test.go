package metric

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metrics"
)

// TestCatalogue holds the rows to what lookup needs and to what promtool's linter asks of names.
func TestCatalogue(t *testing.T) {
	name := regexp.MustCompile(`^sluice_[a-z]+(_[a-z]+)*$`)
	label := regexp.MustCompile(`^[a-z]+$`)
	for i, d := range Catalogue {
		t.Run(d.Name, func(t *testing.T) {
			if !name.MatchString(d.Name) {
				t.Error("bad name")
			}
			if i > 0 && Catalogue[i-1].Name >= d.Name {
				t.Errorf("not sorted after %s", Catalogue[i-1].Name)
			}
			if strings.HasSuffix(d.Name, "_total") != (d.Type == TypeCounter) {
				t.Errorf("the suffix _total does not fit a %s", d.Type)
			}
			if d.Help == "" || strings.HasSuffix(d.Help, ".") || strings.ContainsAny(d.Help, "|\n") {
				t.Errorf("bad help %q", d.Help)
			}
			for j, l := range d.Labels {
				if !label.MatchString(l) || slices.Contains(d.Labels[:j], l) || l == "le" {
					t.Errorf("bad label %q", l)
				}
			}
			if (d.Type == TypeHistogram) != (d.Buckets != nil) {
				t.Errorf("%d buckets for a %s", len(d.Buckets), d.Type)
			}
			if d.Buckets != nil {
				if err := metrics.ValidateBuckets(d.Buckets); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestMisusePanics(t *testing.T) {
	gauge := func() float64 { return 0 }
	each := func(func(float64, ...string)) {}
	for _, tc := range []struct {
		name string
		do   func(s *Set)
		want string
	}{
		{"unknown name", func(s *Set) { s.Counter("sluice_nonsense_total") }, "not in the catalogue"},
		{"name without its prefix", func(s *Set) { s.Counter("accepted_total") }, "not in the catalogue"},
		{"gauge as a counter", func(s *Set) { s.Counter("sluice_draining") }, "not a counter"},
		{"counter as a gauge", func(s *Set) { s.Gauge("sluice_accepted_total", gauge) }, "not a gauge"},
		{"counter as a histogram", func(s *Set) { s.Histogram("sluice_accepted_total") }, "not a histogram"},
		{"label missing", func(s *Set) { s.Counter("sluice_dc_dials_total", "dc", "2") }, "takes the labels dc, result"},
		{"label too many", func(s *Set) { s.Counter("sluice_accepted_total", "a", "b") }, "takes the labels"},
		{"label without a value", func(s *Set) { s.Counter("sluice_refused_total", "cause") }, "takes the labels cause"},
		{"wrong label", func(s *Set) { s.Counter("sluice_refused_total", "result", "x") }, "lacks the label cause"},
		{"label twice", func(s *Set) { s.Counter("sluice_dc_dials_total", "dc", "2", "dc", "3") }, "lacks the label result"},
		{"histogram with labels", func(s *Set) { s.Histogram("sluice_dc_dial_seconds", "dc", "2") }, "takes the labels"},
		{"counter twice", func(s *Set) { s.Counter("sluice_accepted_total"); s.Counter("sluice_accepted_total") }, "made twice"},
		{"series twice in another order", func(s *Set) {
			s.Counter("sluice_dc_dials_total", "dc", "2", "result", "ok")
			s.Counter("sluice_dc_dials_total", "result", "ok", "dc", "2")
		}, "made twice"},
		{"histogram twice", func(s *Set) { s.Histogram("sluice_dc_dial_seconds"); s.Histogram("sluice_dc_dial_seconds") }, "made twice"},
		{"each twice", func(s *Set) {
			s.GaugeEach("sluice_dc_address_healthy", each)
			s.GaugeEach("sluice_dc_address_healthy", each)
		}, "made twice"},
		{"gauge beside each", func(s *Set) {
			s.GaugeEach("sluice_draining", each)
			s.Gauge("sluice_draining", gauge)
		}, "made twice"},
		{"each beside gauge", func(s *Set) {
			s.Gauge("sluice_draining", gauge)
			s.GaugeEach("sluice_draining", each)
		}, "made twice"},
		{"each of a counter", func(s *Set) { s.GaugeEach("sluice_accepted_total", each) }, "not a gauge"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			defer func() {
				got, _ := recover().(string)
				if !strings.Contains(got, tc.want) {
					t.Errorf("panic %q, want %q in it", got, tc.want)
				}
			}()
			tc.do(NewSet(1))
		})
	}
}
