package config

import (
	"strings"
	"testing"
)

func TestCost(t *testing.T) {
	c := mustLoad(t)
	if !c.Cost.None() || c.Cost.Billed != BilledDominant {
		t.Errorf("nothing set: %+v", c.Cost)
	}
	c = mustLoad(t, "SLUICE_COST_HOUR=0.025", "SLUICE_COST_GB= 0.007 - 0.105 ", "SLUICE_COST_BILLED=Sum")
	if want := (Cost{0.025, 0.007, 0.105, BilledSum}); c.Cost != want || c.Cost.None() {
		t.Errorf("got %+v, want %+v", c.Cost, want)
	}
	if c := mustLoad(t, "SLUICE_COST_GB=0.09"); c.Cost.GBLow != 0.09 || c.Cost.GBHigh != 0.09 || c.Cost.None() {
		t.Errorf("one price: %+v", c.Cost)
	}
	for _, line := range c.Effective() {
		if line.Variable == "SLUICE_COST_GB" && line.Value != "0.007-0.105" {
			t.Errorf("shown as %q", line.Value)
		}
	}
}

func TestCostRefused(t *testing.T) {
	for _, tt := range []struct{ value, text string }{
		{"SLUICE_COST_HOUR=$0.025", "is not a price"},
		{"SLUICE_COST_HOUR=-1", "is not a price"},
		{"SLUICE_COST_HOUR=NaN", "is not a price"},
		{"SLUICE_COST_HOUR=inf", "is not a price"},
		{"SLUICE_COST_HOUR=0x1p4", "is not a price"},
		{"SLUICE_COST_HOUR=1000001", "is not a price"},
		{"SLUICE_COST_GB=0.1-", "is not a price"},
		{"SLUICE_COST_GB=0.1-0.2-0.3", "is not a price"},
		{"SLUICE_COST_GB=0.2-0.1", "goes down"},
		{"SLUICE_COST_BILLED=both", "is not a choice"},
	} {
		ps := problemsOf(t, tt.value)
		if len(ps) != 1 || !strings.Contains(ps[0].Text, tt.text) || ps[0].Hint == "" {
			t.Errorf("%s: %+v", tt.value, ps)
		}
	}
	mustLoad(t, "SLUICE_COST_HOUR=1000000")
}
