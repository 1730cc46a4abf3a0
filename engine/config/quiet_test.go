package config

import (
	"strings"
	"testing"
	"time"
)

// What is not set follows the product in front that is the first to forget a connection, whichever listener it stands before.
func TestQuietTimes(t *testing.T) {
	const five = 330 * time.Second
	for _, tt := range []struct {
		set             string // without the prefix, blanks between them
		idle, keepAlive time.Duration
		warning         string
	}{
		{"", five, time.Minute, ""},
		{"EDGE=haproxy", five, time.Minute, ""},
		{"EDGE=aws-nlb EDGE_RANGES=10.0.0.0/24", five, time.Minute, ""},
		{"EDGE=aws-global-accelerator", five, time.Minute, ""},
		{"EDGE=aws-global-accelerator IDLE_TIMEOUT=339s", 339 * time.Second, time.Minute, ""},
		{"EDGE=aws-global-accelerator IDLE_TIMEOUT=340s", 340 * time.Second, time.Minute, "IDLE_TIMEOUT: is not below 5m40s, after which aws-global-accelerator"},
		{"EDGE=haproxy LISTEN=:443,:444=aws-global-accelerator IDLE_TIMEOUT=1h", time.Hour, time.Minute, "is not below 5m40s"},
		{"EDGE=haproxy IDLE_TIMEOUT=1h", time.Hour, time.Minute, ""},
		{"IDLE_TIMEOUT=3m", 3 * time.Minute, time.Minute, ""},
		{"IDLE_TIMEOUT=2m", 2 * time.Minute, 40 * time.Second, ""},
		{"IDLE_TIMEOUT=100s", 100 * time.Second, 33 * time.Second, ""},
		{"IDLE_TIMEOUT=10s", 10 * time.Second, 10 * time.Second, ""},
		{"IDLE_TIMEOUT=24h", 24 * time.Hour, time.Minute, ""},
		{"KEEPALIVE=10s", five, 10 * time.Second, ""},
		{"KEEPALIVE=10m", five, 10 * time.Minute, ""},
		{"KEEPALIVE=off", five, 0, ""},
		{"KEEPALIVE=Off EDGE=aws-global-accelerator", five, 0, ""},
		{"KEEPALIVE=339s EDGE=aws-global-accelerator", five, 339 * time.Second, ""},
		{"KEEPALIVE=340s EDGE=aws-global-accelerator", five, 340 * time.Second, "KEEPALIVE: is not below 5m40s"},
	} {
		t.Run(tt.set, func(t *testing.T) {
			var env []string
			for _, s := range strings.Fields(tt.set) {
				env = append(env, Prefix+s)
			}
			c := mustLoad(t, env...)
			if c.IdleTimeout != tt.idle || c.KeepAlive != tt.keepAlive {
				t.Errorf("idle %v, keep-alive %v; want %v and %v", c.IdleTimeout, c.KeepAlive, tt.idle, tt.keepAlive)
			}
			var all []string
			for _, w := range c.Warnings {
				all = append(all, w.Error())
			}
			if text := strings.Join(all, "\n"); (tt.warning == "") != (text == "") || !strings.Contains(text, tt.warning) {
				t.Errorf("warned: %q, want %q", text, tt.warning)
			}
		})
	}
}

// Every product that is known to forget connections does so after our defaults: the idle time is below its own, and more than one
// keep-alive fits in.
func TestDefaultsStayBelowTheProducts(t *testing.T) {
	known := 0
	for _, p := range profiles {
		if p.idle == 0 {
			continue
		}
		known++
		idle := defaultIdle(p.idle)
		if idle >= p.idle || 2*defaultKeepAlive(idle, p.idle) >= p.idle {
			t.Errorf("%s: %v, and idle %v with keep-alive %v", p.name, p.idle, idle, defaultKeepAlive(idle, p.idle))
		}
	}
	if known < 2 {
		t.Errorf("%d products are known", known)
	}
	for product, want := range map[time.Duration]time.Duration{0: usualIdle, time.Hour: usualIdle, 340 * time.Second: usualIdle, 339 * time.Second: 329 * time.Second, time.Minute: 50 * time.Second} {
		if got := defaultIdle(product); got != want {
			t.Errorf("in front of a product of %v the idle time is %v, want %v", product, got, want)
		}
	}
	if got := defaultKeepAlive(time.Hour, 2*time.Minute); got != 40*time.Second {
		t.Errorf("a long idle time of ours and a short one of the product's: %v", got)
	}
}
