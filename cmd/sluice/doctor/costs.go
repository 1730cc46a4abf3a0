package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"sluice/engine/config"
)

// Costs is what the load balancers have carried, and what that comes to in a month.
type Costs struct {
	Time time.Time `json:"time"`
	// Hours is how long was measured; 0 when the traffic was given.
	Hours float64 `json:"measured_hours"`
	// Prices says where they come from.
	Prices string     `json:"prices"`
	Edges  []EdgeCost `json:"edges"`
	Notes  []string   `json:"notes"`
}

// EdgeCost is one load balancer's part. Amounts are in the money of the prices; a month has 30 days.
type EdgeCost struct {
	Edge       string  `json:"edge"`
	UpPerDay   float64 `json:"up_gb_per_day"`
	DownPerDay float64 `json:"down_gb_per_day"`
	Billed     string  `json:"billed"`
	PerMonth   float64 `json:"billed_gb_per_month"`
	Priced     bool    `json:"priced"`
	Fixed      float64 `json:"fixed_per_month"`
	Low        float64 `json:"low_per_month"`  // everything, by the cheapest way
	High       float64 `json:"high_per_month"` // and by the dearest
}

const (
	gigabyte     = 1e9
	daysPerMonth = 30
	hoursPerDay  = 24
)

// example is what AWS Global Accelerator cost on the date named; it is used where no price is set.
var example = config.Cost{Hour: 0.025, GBLow: 0.007, GBHigh: 0.105, Billed: config.BilledDominant}

const (
	exampleEdge = "aws-global-accelerator"
	examplePage = "an example, in US dollars: AWS Global Accelerator's as of 2026-04-25; set SLUICE_COST_HOUR and SLUICE_COST_GB to yours"
	ownPrices   = "SLUICE_COST_HOUR, SLUICE_COST_GB, SLUICE_COST_BILLED"
	noPrices    = "none: set SLUICE_COST_HOUR and SLUICE_COST_GB"
)

// ErrNotRunning says that no running proxy tells what it has carried.
var ErrNotRunning = errors.New("no running proxy tells what it has carried")

// MeasuredCosts reckons with what the running proxy has carried since its start.
func MeasuredCosts(ctx context.Context, cfg *config.Config, w World) (Costs, error) {
	x := newExam(ctx, cfg, w)
	p, err := x.page()
	if err != nil {
		return Costs{}, fmt.Errorf("%w: %w", ErrNotRunning, err)
	}
	start, found := p.value("process_start_time_seconds")
	hours := float64(w.Now().UnixMilli())/1000/3600 - start/3600
	if !found || hours <= 0 {
		return Costs{}, fmt.Errorf("%w: its page does not say since when", ErrNotRunning)
	}
	c := newCosts(cfg, w.Now())
	c.Hours = hours
	carried := p.carried()
	if len(carried) == 0 {
		carried[cfg.Edge.Profile] = [2]float64{}
	}
	for _, edge := range slices.Sorted(maps.Keys(carried)) {
		perDay := func(bytes float64) float64 { return bytes / gigabyte / hours * hoursPerDay }
		c.add(cfg, edge, perDay(carried[edge][0]), perDay(carried[edge][1]))
	}
	if hours < hoursPerDay {
		c.Notes = append(c.Notes, fmt.Sprintf("measured over %.1f hours only: less than a day, whose hours are not alike", hours))
	}
	return c, nil
}

// GivenCosts reckons with so many GB a day in the billed direction.
func GivenCosts(cfg *config.Config, now time.Time, perDay float64) Costs {
	c := newCosts(cfg, now)
	up, down := 0.0, perDay
	if c.cost(cfg, cfg.Edge.Profile).Billed == config.BilledUp {
		up, down = down, up
	}
	c.add(cfg, cfg.Edge.Profile, up, down)
	c.Notes = append(c.Notes, "an estimate for the traffic given")
	return c
}

func newCosts(cfg *config.Config, now time.Time) Costs {
	c := Costs{Time: now.UTC(), Prices: ownPrices, Notes: []string{
		"counted are the bytes that clients sent and got; headers of TCP and IP come on top, 3 to 4 % of a download",
		"not counted: public addresses, instances, the hosting provider's own traffic, and what the load balancer turns away",
	}}
	if cfg.Cost.None() {
		c.Prices = noPrices
		if cfg.Edge.Profile == exampleEdge {
			c.Prices = examplePage
		}
	}
	return c
}

// cost is the price of an edge: what is set is for the one that SLUICE_EDGE names.
func (c *Costs) cost(cfg *config.Config, edge string) config.Cost {
	switch {
	case edge != cfg.Edge.Profile:
		return config.Cost{}
	case c.Prices == examplePage:
		return example
	}
	return cfg.Cost
}

// add reckons for one edge.
func (c *Costs) add(cfg *config.Config, edge string, up, down float64) {
	cost := c.cost(cfg, edge)
	e := EdgeCost{Edge: edge, UpPerDay: up, DownPerDay: down, Billed: cost.Billed.String(), Priced: !cost.None()}
	e.PerMonth = billed(cost.Billed, up, down) * daysPerMonth
	e.Fixed = cost.Hour * hoursPerDay * daysPerMonth
	e.Low, e.High = cents(e.Fixed+e.PerMonth*cost.GBLow), cents(e.Fixed+e.PerMonth*cost.GBHigh)
	e.Fixed = cents(e.Fixed)
	c.Edges = append(c.Edges, e)
}

// cents rounds an amount of money.
func cents(v float64) float64 { return math.Round(v*100) / 100 }

func billed(b config.Billed, up, down float64) float64 {
	switch b {
	case config.BilledDown:
		return down
	case config.BilledUp:
		return up
	case config.BilledSum:
		return up + down
	}
	return max(up, down)
}

// carried is what has passed each edge, up and down, sessions' and strangers' together. A page without the label has one edge, "".
func (p page) carried() map[string][2]float64 {
	all := map[string][2]float64{}
	for _, s := range p {
		if s.name != "sluice_relay_bytes_total" && s.name != "sluice_front_bytes_total" {
			continue
		}
		sum := all[s.labels["edge"]]
		switch s.labels["direction"] {
		case "up":
			sum[0] += s.value
		case "down":
			sum[1] += s.value
		}
		all[s.labels["edge"]] = sum
	}
	return all
}

// WriteJSON writes the reckoning as one object.
func (c Costs) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(c)
}

// WriteText writes the reckoning for people.
func (c Costs) WriteText(w io.Writer) error {
	var b strings.Builder
	if c.Hours > 0 {
		fmt.Fprintf(&b, "measured over %.1f hours, since the proxy was started\n", c.Hours)
	}
	fmt.Fprintf(&b, "prices: %s\n", c.Prices)
	for _, e := range c.Edges {
		e.write(&b)
	}
	b.WriteByte('\n')
	for _, n := range c.Notes {
		fmt.Fprintf(&b, "- %s\n", n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (e EdgeCost) write(b *strings.Builder) {
	fmt.Fprintf(b, "\n%s\n  a day          %.2f GB up, %.2f GB down\n", e.Edge, e.UpPerDay, e.DownPerDay)
	if !e.Priced {
		fmt.Fprintf(b, "  a month        %.1f GB the greater way; no price\n", e.PerMonth)
		return
	}
	fmt.Fprintf(b, "  billed         %.1f GB a month (%s)\n", e.PerMonth, e.Billed)
	fmt.Fprintf(b, "  fixed          %.2f a month\n", e.Fixed)
	fmt.Fprintf(b, "  for the GB     %s a month\n", span(e.Low-e.Fixed, e.High-e.Fixed))
	fmt.Fprintf(b, "  together       %s a month\n", span(e.Low, e.High))
}

func span(low, high float64) string {
	if low == high {
		return fmt.Sprintf("%.2f", low)
	}
	return fmt.Sprintf("%.2f to %.2f", low, high)
}
