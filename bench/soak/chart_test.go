package main

import (
	"encoding/xml"
	"io"
	"math"
	"strings"
	"testing"
)

// draw writes c and checks that it is well-formed and says nothing that is no number.
func draw(t *testing.T, c chart) string {
	t.Helper()
	var b strings.Builder
	if err := c.write(&b); err != nil {
		t.Fatal(err)
	}
	d := xml.NewDecoder(strings.NewReader(b.String()))
	for {
		_, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, b.String())
		}
	}
	for _, bad := range []string{"NaN", "Inf", "%!"} {
		if strings.Contains(b.String(), bad) {
			t.Fatalf("%s in\n%s", bad, b.String())
		}
	}
	return b.String()
}

func TestChart(t *testing.T) {
	nan := math.NaN()
	for name, c := range map[string]struct {
		chart
		want []string
	}{
		"nothing": {chart: chart{title: "a <title> & more", scale: 1}, want: []string{"a &lt;title&gt; &amp; more"}},
		"one point": {
			chart: chart{scale: 1, length: 10, lines: []line{{"one", []float64{5}, []float64{3}}}},
			want:  []string{`d="M485.0 50.0"`}, // half-way, at the top
		},
		"a gap": {
			chart: chart{scale: 1, length: 3, lines: []line{{"gap", []float64{0, 1, 2, 3}, []float64{1, nan, 1, 1}}}},
			want:  []string{`d="M70.0 50.0M623.3 50.0L900.0 50.0"`},
		},
		"all unknown": {chart: chart{scale: 1, length: 1, lines: []line{{"none", []float64{0, 1}, []float64{nan, nan}}}}, want: []string{`d=""`}},
		"zeros by powers of ten": {
			chart: chart{scale: 1, log: true, length: 2, lines: []line{{"zero", []float64{0, 1, 2}, []float64{0, 10, 1000}}}},
			want:  []string{`d="M485.0 274.0L900.0 50.0"`, ">10<", ">100<", ">1000<"},
		},
		"marks": {
			chart: chart{scale: 1, length: 300, marks: []mark{{"x<y", 0}, {"z", 150}, {"x<y", 300}}},
			want:  []string{">x&lt;y<", ">z<", "M900.0 274"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			svg := draw(t, c.chart)
			for _, w := range c.want {
				if !strings.Contains(svg, w) {
					t.Errorf("no %s in\n%s", w, svg)
				}
			}
		})
	}
}

// A spike in one of many points is still there when there are more points than columns.
func TestChartKeepsSpikes(t *testing.T) {
	l := line{name: "lag"}
	for i := range 100_000 {
		l.at, l.y = append(l.at, float64(i)), append(l.y, 1)
	}
	for _, at := range []int{0, 33_333, 99_999} {
		l.y[at] = 50
		svg := draw(t, chart{scale: 1, length: 100_000, lines: []line{l}})
		if !strings.Contains(svg, " 50.0") {
			t.Errorf("the spike at %d is not drawn", at)
		}
		if n := strings.Count(svg, "L"); n > columnsDrawn+1 {
			t.Errorf("%d points are drawn", n)
		}
		l.y[at] = 1
	}
}

func TestNiceStep(t *testing.T) {
	for least, want := range map[float64]float64{0: 1, -1: 1, 0.013: 0.02, 0.2: 0.2, 1: 1, 1.1: 2, 4: 5, 7: 10, 20: 20, 21: 50, 99: 100} {
		if got := niceStep(least); math.Abs(got-want) > 1e-9*want {
			t.Errorf("step of %v: %v, want %v", least, got, want)
		}
	}
}
