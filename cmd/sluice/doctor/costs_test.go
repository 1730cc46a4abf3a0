package doctor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"sluice/engine/config"
)

// carrying starts a stand-in for a proxy that was started so many hours ago, at a whole second.
func (s *scene) carrying(hours int, lines ...string) {
	now := time.Unix(1_777_000_000, 0)
	s.world.Now = func() time.Time { return now }
	s.admin(append(lines, fmt.Sprintf("process_start_time_seconds %d", now.Unix()-int64(hours)*3600))...)
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-6*math.Max(1, math.Abs(b)) }

// TestCostsOfThePage: the seed's own example: 0.025 an hour is about 18 a month.
func TestCostsOfThePage(t *testing.T) {
	s := newScene(t)
	s.set("SLUICE_EDGE", exampleEdge)
	s.carrying(
		48,
		`sluice_relay_bytes_total{direction="down",edge="aws-global-accelerator",path="splice"} 80e9`,
		`sluice_relay_bytes_total{direction="down",edge="aws-global-accelerator",path="copy"} 15e9`,
		`sluice_relay_bytes_total{direction="up",edge="aws-global-accelerator",path="crypt"} 8e9`,
		`sluice_front_bytes_total{direction="down",edge="aws-global-accelerator",path="splice"} 5e9`,
		`sluice_relay_bytes_total{direction="down",edge="none",path="splice"} 2e9`,
	)
	c, err := MeasuredCosts(t.Context(), s.config(), s.world)
	if err != nil {
		t.Fatal(err)
	}
	if c.Prices != examplePage || !near(c.Hours, 48) || len(c.Edges) != 2 {
		t.Fatalf("%+v", c)
	}
	ga, none := c.Edges[0], c.Edges[1]
	if !near(ga.DownPerDay, 50) || !near(ga.UpPerDay, 4) || !near(ga.PerMonth, 1500) || !near(ga.Fixed, 18) ||
		!near(ga.Low, 18+10.5) || !near(ga.High, 18+157.5) || !ga.Priced || ga.Billed != "dominant" {
		t.Errorf("%+v", ga)
	}
	if none.Priced || none.High != 0 || !near(none.DownPerDay, 1) {
		t.Errorf("another edge: %+v", none)
	}
	var text bytes.Buffer
	if err := c.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2026-04-25", "18.00 a month", "28.50 to 175.50 a month", "no price", "3 to 4 %"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in:\n%s", want, text.String())
		}
	}
	var object Costs
	var b bytes.Buffer
	if err := c.WriteJSON(&b); err != nil || json.Unmarshal(b.Bytes(), &object) != nil || len(object.Edges) != 2 {
		t.Errorf("%v: %s", err, b.String())
	}
}

func TestBilledDirections(t *testing.T) {
	for billed, want := range map[string]float64{"dominant": 6, "down": 6, "up": 4, "sum": 10} {
		s := newScene(t)
		s.set("SLUICE_COST_GB", "1")
		s.set("SLUICE_COST_BILLED", billed)
		s.carrying(24, `sluice_relay_bytes_total{direction="down",edge="none"} 6e9`, `sluice_relay_bytes_total{direction="up",edge="none"} 4e9`)
		c, err := MeasuredCosts(t.Context(), s.config(), s.world)
		if err != nil || !near(c.Edges[0].High, 30*want) {
			t.Errorf("%s: %+v, %v, want %v a month", billed, c, err, 30*want)
		}
	}
}

// TestDominantMayBeUp: the direction that has more is the one.
func TestDominantMayBeUp(t *testing.T) {
	for _, tt := range []struct{ up, down, want float64 }{{1, 2, 2}, {3, 2, 3}, {0, 0, 0}} {
		if got := billed(config.BilledDominant, tt.up, tt.down); got != tt.want {
			t.Errorf("%v up, %v down: %v, want %v", tt.up, tt.down, got, tt.want)
		}
	}
}

func TestCostsOfAShortTime(t *testing.T) {
	for hours, want := range map[int]bool{23: true, 24: false} {
		s := newScene(t)
		s.carrying(hours)
		c, err := MeasuredCosts(t.Context(), s.config(), s.world)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(strings.Join(c.Notes, "\n"), "less than a day"); got != want {
			t.Errorf("%d hours: notes %q", hours, c.Notes)
		}
	}
}

func TestCostsThatNobodyTells(t *testing.T) {
	s := newScene(t)
	if _, err := MeasuredCosts(t.Context(), s.config(), s.world); !errors.Is(err, ErrNotRunning) {
		t.Errorf("error %v", err)
	}
	s.admin(`sluice_relay_bytes_total{direction="down",edge="none"} 6e9`)
	if _, err := MeasuredCosts(t.Context(), s.config(), s.world); !errors.Is(err, ErrNotRunning) {
		t.Errorf("without a start: error %v", err)
	}
}

func TestGivenCosts(t *testing.T) {
	s := newScene(t)
	s.set("SLUICE_COST_HOUR", "1")
	s.set("SLUICE_COST_GB", "0.1-0.2")
	for _, billed := range []config.Billed{config.BilledDominant, config.BilledUp, config.BilledSum} {
		s.set("SLUICE_COST_BILLED", billed.String())
		c := GivenCosts(s.config(), time.Now(), 10)
		if e := c.Edges[0]; !near(e.Fixed, 720) || !near(e.Low, 750) || !near(e.High, 780) || c.Hours != 0 {
			t.Errorf("%v: %+v", billed, c)
		}
	}
}
