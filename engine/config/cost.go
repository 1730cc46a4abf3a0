package config

import (
	"math"
	"strconv"
	"strings"
)

// Cost is what the load balancer costs, in whatever money its bill is. The proxy does nothing with it; sluice doctor --costs
// multiplies.
type Cost struct {
	// Hour is the fixed price of an hour.
	Hour float64
	// GBLow and GBHigh are the price of a GB of 1e9 bytes, from where it is cheapest to where it is dearest.
	GBLow, GBHigh float64
	// Billed says which bytes that price is for.
	Billed Billed
}

// None says whether no price is set.
func (c Cost) None() bool { return c.Hour == 0 && c.GBHigh == 0 }

// Billed says which bytes a load balancer charges for.
type Billed uint8

const (
	// BilledDominant: those of the direction, up or down, that has more.
	BilledDominant Billed = iota
	// BilledDown: those to the clients.
	BilledDown
	// BilledUp: those from the clients.
	BilledUp
	// BilledSum: all.
	BilledSum
)

// String writes the choice as SLUICE_COST_BILLED takes it.
func (b Billed) String() string { return word(billings, b) }

var billings = []string{BilledDominant: "dominant", BilledDown: "down", BilledUp: "up", BilledSum: "sum"}

// UnmarshalText reads dominant, down, up or sum.
func (b *Billed) UnmarshalText(text []byte) (err error) {
	*b, err = choice[Billed](billings, strings.TrimSpace(string(text)))
	return err
}

// maxPrice catches a price in another variable's place.
const maxPrice = 1e6

// price is an amount of money.
type price float64

func (p *price) UnmarshalText(b []byte) error {
	v, err := parsePrice(string(b))
	*p = price(v)
	return err
}

func parsePrice(text string) (float64, error) {
	text = strings.TrimSpace(text)
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(v) || v < 0 || v > maxPrice || strings.ContainsAny(text, "xXpPnN_") {
		return 0, refuse("write a number without a currency: 0.025", "%s is not a price", quote(text))
	}
	return v, nil
}

// priceSpan is a price, or two with a hyphen between them.
type priceSpan struct{ low, high float64 }

func (s *priceSpan) UnmarshalText(b []byte) (err error) {
	low, high, isSpan := strings.Cut(string(b), "-")
	if s.low, err = parsePrice(low); err != nil {
		return err
	}
	s.high = s.low
	if isSpan {
		s.high, err = parsePrice(high)
	}
	if err == nil && s.high < s.low {
		return refuse("write the lower price first", "%s goes down", quote(string(b)))
	}
	return err
}

func showPrice(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

func showSpan(c Cost) string {
	if c.GBLow == c.GBHigh {
		return showPrice(c.GBLow)
	}
	return showPrice(c.GBLow) + "-" + showPrice(c.GBHigh)
}
