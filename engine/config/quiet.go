package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// How long connections may be quiet: what the products in front allow, and what follows from it where nothing is set.
const (
	usualIdle      = 330 * time.Second
	idleMargin     = 10 * time.Second // before the product forgets a connection: its clock starts where ours does, a network earlier
	usualKeepAlive = time.Minute
	minKeepAlive   = 10 * time.Second
	maxKeepAlive   = 10 * time.Minute
	probesInIdle   = 3 // so many keep-alives fit into the idle time, where it is short
)

// keepAlive is the time after which a quiet socket is asked whether its peer is there: none is off, zero was not set.
type keepAlive time.Duration

const noKeepAlive = -1

func (k *keepAlive) UnmarshalText(b []byte) error {
	if strings.EqualFold(strings.TrimSpace(string(b)), "off") {
		*k = noKeepAlive
		return nil
	}
	return setDuration((*time.Duration)(k), b, minKeepAlive, maxKeepAlive)
}

// productIdle is the least time after which a product in front of a listener forgets a quiet connection, and its name; 0 when none
// is known to.
func productIdle(edges []Edge) (least time.Duration, name string) {
	for _, e := range edges {
		p := profiles[slices.Index(profileNames, e.Profile)]
		if p.idle > 0 && (least == 0 || p.idle < least) {
			least, name = p.idle, p.name
		}
	}
	return least, name
}

// defaultIdle is the idle time where none is set, in front of which product being as it may.
func defaultIdle(product time.Duration) time.Duration {
	if product == 0 {
		return usualIdle
	}
	return min(usualIdle, product-idleMargin)
}

// defaultKeepAlive is less than half of what either side allows.
func defaultKeepAlive(idle, product time.Duration) time.Duration {
	if product > 0 {
		idle = min(idle, product)
	}
	return max(min(usualKeepAlive, (idle/probesInIdle).Truncate(time.Second)), minKeepAlive)
}

// setQuiet fills in the times that were not set.
func (r *raw) setQuiet(c *Config) {
	product, _ := productIdle(c.Edges)
	if c.IdleTimeout = time.Duration(r.IdleTimeout); c.IdleTimeout == 0 {
		c.IdleTimeout = defaultIdle(product)
	}
	switch k := time.Duration(r.KeepAlive); k {
	case noKeepAlive:
		c.KeepAlive = 0
	case 0:
		c.KeepAlive = defaultKeepAlive(c.IdleTimeout, product)
	default:
		c.KeepAlive = k
	}
}

// checkQuiet finds times that let a product forget a connection which both ends believe in.
func (in *input) checkQuiet(c *Config) {
	product, name := productIdle(c.Edges)
	if product == 0 {
		return
	}
	after := fmt.Sprintf("is not below %s, after which %s forgets a quiet connection", formatDuration(product), name)
	if c.IdleTimeout >= product {
		in.warn(Prefix+"IDLE_TIMEOUT", after, "")
	}
	if c.KeepAlive >= product {
		in.warn(Prefix+"KEEPALIVE", after, "")
	}
}

func showKeepAlive(c *Config) string {
	if c.KeepAlive == 0 {
		return "off"
	}
	return formatDuration(c.KeepAlive)
}
