// Package config turns SLUICE_* environment variables into one immutable Config.
//
// It is the only place that knows the names of the variables. One table (table.go) describes them all, and the
// reference page, the sample file and the output of `sluice check` are generated from it. Every problem found is reported
// at once, by the name of its variable, and no message ever repeats the value of a secret.
package config

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"time"
)

// Config is everything the proxy was told. It is immutable once Load has returned it, so any goroutine may
// read it; to change something, load another one.
type Config struct {
	// Listen holds the addresses to accept clients on, at least one, none twice. An unspecified IPv6 address
	// ([::]) means dual stack. Port 0 lets the kernel choose.
	Listen []netip.AddrPort

	// Edges says what stands in front of each of Listen.
	Edges []Edge

	// Edge is what stands in front of the listeners for which nothing else is said.
	Edge Edge

	// EdgeGuard says whether the kernel is to drop connections from outside the ranges.
	EdgeGuard GuardPolicy

	// EdgeRefresh is the time between two looks at the lists of ranges; 0 is never.
	EdgeRefresh time.Duration

	// Cost is what the load balancer costs.
	Cost Cost

	// Secrets are the keys clients may use, none twice. Empty only in a trial (see Trial).
	Secrets []Secret

	// Front is where every connection goes that does not prove a secret.
	Front Front

	// FrontsFor are the fronts that some server names have of their own, no name twice.
	FrontsFor []FrontFor

	// FrontProxyProtocol is the version (1 or 2) of the PROXY header sent to the front, 0 for none.
	FrontProxyProtocol int

	// DC overrides the built-in addresses of data centres. Keys are 1..5 and 203, and 10000+n for the test
	// servers; a centre that is not there keeps its built-in addresses.
	DC map[int][]netip.AddrPort

	// IPPreference orders, or limits, the address families used to reach the data centres.
	IPPreference IPPreference

	// PublicHost is the name or address that clients are given in links; empty when it was not set.
	PublicHost string

	// PublicPort is the port in links. It is the first listening address's when it was not set.
	PublicPort uint16

	// AlignedDownloads lets the kernel move downloads without deciphering them (protocol.md 3.3).
	AlignedDownloads bool

	// HybridKeyShare answers X25519MLKEM768 when the client offers it and the front does (protocol.md 2.2).
	HybridKeyShare bool

	// ClockBehind and ClockAhead are how far a client's clock may be behind ours and ahead of it.
	ClockBehind, ClockAhead time.Duration

	// MaxConnections bounds the clients served at a time; 0 is as many as the descriptor limit allows.
	MaxConnections int

	// AdminListen is where /metrics, /healthz and /readyz are served: address:port, unix:/path, or AdminOff.
	AdminListen string

	// AdminToken is what a request for the metrics must bring; empty for nothing.
	AdminToken Token

	// StateDir keeps what should outlive a restart. Empty when neither a setting nor a home directory names one.
	StateDir string

	// LogLevel is the least severe level that is written.
	LogLevel slog.Level

	// LogFormat is "text" or "json".
	LogFormat string

	// DrainTimeout is how long sessions may go on after the proxy was told to stop.
	DrainTimeout time.Duration

	// IdleTimeout closes a relay on which neither side has sent anything for so long.
	IdleTimeout time.Duration

	// KeepAlive is how long a socket may be quiet until its peer is asked whether it is there, towards clients and towards
	// Telegram; 0 is never.
	KeepAlive time.Duration

	// HandshakeTimeout bounds the time from accept to the client's 64-byte frame.
	HandshakeTimeout time.Duration

	// Trial is true when no secret was given. Secrets is empty then, and Front is the built-in page unless one was
	// set; the caller completes it with WithSecret.
	Trial bool

	// Warnings are what Load accepted but the operator should know. Never a secret value in them.
	Warnings []Problem

	lines []Line
}

// AdminOff is the AdminListen of a proxy that serves no admin address.
const AdminOff = "off"

// Policy says what the proxy expects in front of a client's own bytes.
type Policy uint8

const (
	// Off: clients connect directly, or the load balancer keeps their addresses; a PROXY header is not looked for.
	Off Policy = iota
	// Optional: a PROXY header is taken when there is one. Anybody who reaches the port can claim any address.
	Optional
	// Required: every connection must begin with a PROXY header.
	Required
)

// String writes the policy as SLUICE_PROXY_PROTOCOL takes it.
func (p Policy) String() string { return word(policies, p) }

var policies = []string{Off: "off", Optional: "optional", Required: "required"}

// IPPreference orders the address families towards the data centres.
type IPPreference uint8

const (
	// PreferIPv4 tries IPv4 addresses first.
	PreferIPv4 IPPreference = iota
	// PreferIPv6 tries IPv6 addresses first.
	PreferIPv6
	// OnlyIPv4 leaves IPv6 addresses out.
	OnlyIPv4
	// OnlyIPv6 leaves IPv4 addresses out.
	OnlyIPv6
)

// String writes the preference as SLUICE_IP_PREFERENCE takes it.
func (p IPPreference) String() string { return word(ipPreferences, p) }

var ipPreferences = []string{
	PreferIPv4: "prefer-ipv4", PreferIPv6: "prefer-ipv6", OnlyIPv4: "only-ipv4", OnlyIPv6: "only-ipv6",
}

func word[T ~uint8](words []string, v T) string {
	if int(v) < len(words) {
		return words[v]
	}
	return fmt.Sprintf("unknown(%d)", uint8(v))
}

// WithSecret returns a copy that serves s besides what c serves already. It is how a trial gets its kept secret.
func (c *Config) WithSecret(s Secret) *Config {
	d := *c
	d.Secrets = append(append([]Secret(nil), c.Secrets...), s)
	return &d
}

func joinHostPort(host string, port uint16) string {
	if a, err := netip.ParseAddr(host); err == nil {
		return netip.AddrPortFrom(a, port).String()
	}
	return host + ":" + strconv.Itoa(int(port))
}
