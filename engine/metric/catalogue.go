package metric

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// The types of families, as the exposition names them.
const (
	TypeCounter   = "counter"
	TypeGauge     = "gauge"
	TypeHistogram = "histogram"
)

// Def is one family of the catalogue.
type Def struct {
	// Name is the whole name, with the prefix sluice_.
	Name string
	// Type is one of the Type constants.
	Type string
	// Help is one sentence without a full stop.
	Help string
	// Labels are the keys that each of its series has.
	Labels []string
	// Buckets are the upper bounds of a histogram, ascending, without +Inf; nil for the other types.
	Buckets []float64
}

var (
	handshakeBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	dialBuckets      = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	skewBuckets      = []float64{1, 2, 5, 10, 20, 30, 60, 120, 180, 300, 600, 3600}
)

// Catalogue is every family there is, sorted by name. It is read only.
var Catalogue = []Def{
	{"sluice_accepted_total", TypeCounter, "Connections accepted on the listeners", nil, nil},
	{"sluice_build_info", TypeGauge, "Always 1: the version that runs and the Go release that built it", []string{"version", "goversion"}, nil},
	{"sluice_clock_skew_seconds", TypeHistogram, "Distance between our clock and the client's, of accepted hellos", nil, skewBuckets},
	{"sluice_connections", TypeGauge, "Open client connections by state: handshake (not judged yet), relay (to Telegram), front (to the web site), waiting (for a place at the web site)", []string{"state"}, nil},
	{"sluice_dc_address_healthy", TypeGauge, "1 while an address of a Telegram data centre is preferred, 0 while it is set back after failed dials", []string{"dc", "address"}, nil},
	{"sluice_dc_dial_seconds", TypeHistogram, "Time to connect to a Telegram data centre, of dials that succeeded", nil, dialBuckets},
	{"sluice_dc_dials_total", TypeCounter, "Connection attempts to Telegram data centres, one for each address tried", []string{"dc", "result"}, nil},
	{"sluice_draining", TypeGauge, "1 while the process finishes its relays before it ends", nil, nil},
	{"sluice_edge_guard", TypeGauge, "1 if the kernel drops connections from outside the ranges, 0 if they are closed after accept; absent without ranges", nil, nil},
	{"sluice_edge_guard_dropped_total", TypeCounter, "Segments from outside the ranges that the kernel dropped, several for each attempt to connect", []string{"family"}, nil},
	{"sluice_engine_restarts_total", TypeCounter, "Times that the accepting engine stopped by itself and was started again", nil, nil},
	{"sluice_fds_limit", TypeGauge, "File descriptors the process may hold", nil, nil},
	{"sluice_fds_used", TypeGauge, "File descriptors counted against the limit", nil, nil},
	{"sluice_flight_match", TypeGauge, "1 for how well our handshake resembles the front's: exact, sum (its size only), over (the front's is too long) and so on", []string{"front", "match"}, nil},
	{"sluice_flight_record_bytes", TypeGauge, "Length of the encrypted record in our handshake, as learned from the front (its place in SLUICE_FRONT)", []string{"front"}, nil},
	{"sluice_front_addresses", TypeGauge, "Addresses of the front that are known", []string{"front"}, nil},
	{"sluice_front_bytes_total", TypeCounter, "Bytes carried between refused connections and the front, by direction (up is towards the front), path (splice, copy) and what stands in front of the listener", []string{"direction", "edge", "path"}, nil},
	{"sluice_front_capacity", TypeGauge, "Connections to the front allowed at a time", nil, nil},
	{"sluice_front_dials_total", TypeCounter, "Connection attempts to the front, one for each address tried", []string{"result"}, nil},
	{"sluice_front_looped", TypeGauge, "1 while connections to the front come back to this proxy", []string{"front"}, nil},
	{"sluice_front_refused_total", TypeCounter, "Strangers closed instead of seeing the front, by cause: full (its capacity and the line are used up), late (waited too long), no_address, loop (it leads back here)", []string{"cause"}, nil},
	{"sluice_front_resolve_failures_total", TypeCounter, "Failed look-ups of the front's name", nil, nil},
	{"sluice_front_resolved_age_seconds", TypeGauge, "Time since the front's name was last resolved", []string{"front"}, nil},
	{"sluice_fronts_closed_total", TypeCounter, "Fronted connections that ended, by cause", []string{"cause"}, nil},
	{"sluice_handshake_seconds", TypeHistogram, "Time from accepting a client to sending it our handshake", nil, handshakeBuckets},
	{"sluice_handshakes_total", TypeCounter, "Connections judged, by result: ok, or why they were refused", []string{"result"}, nil},
	{"sluice_log_dropped_total", TypeCounter, "Log lines left out by rate limits", nil, nil},
	{"sluice_log_lost_total", TypeCounter, "Log lines lost because whoever reads standard error does not keep up", nil, nil},
	{"sluice_loop_panics_total", TypeCounter, "Connections dropped by a fault of ours; report each", nil, nil},
	{"sluice_loop_stalled", TypeGauge, "1 while a loop stands still, 0 while it turns: accept (handshakes) and relay (sessions), numbered from 0", []string{"loop"}, nil},
	{"sluice_pipe_capacity_bytes", TypeGauge, "Capacity of each pipe in the pool", nil, nil},
	{"sluice_pipe_exhausted_total", TypeCounter, "Bursts copied because no pipe was free", nil, nil},
	{"sluice_pipe_reclaimed_total", TypeCounter, "Pipes taken back from stalled relays", nil, nil},
	{"sluice_pipes", TypeGauge, "Pipes of the pool by state: idle, busy (bytes in flight)", []string{"state"}, nil},
	{"sluice_proxy_headers_total", TypeCounter, "PROXY protocol headers looked for, by result", []string{"result"}, nil},
	{"sluice_ranges_age_seconds", TypeGauge, "Time since a list of the load balancer's ranges was known to be good", []string{"source"}, nil},
	{"sluice_ranges_prefixes", TypeGauge, "Ranges in a list that connections are taken from", []string{"source"}, nil},
	{"sluice_ranges_refreshes_total", TypeCounter, "Looks at the lists of ranges, by result: ok, failed (the last good list stays in force)", []string{"result"}, nil},
	{"sluice_refused_total", TypeCounter, "Connections closed unread, by cause: fds, connections, handshakes (limits reached), draining, outsider (not from the load balancer's ranges)", []string{"cause"}, nil},
	{"sluice_relay_bytes_total", TypeCounter, "Payload bytes relayed, by direction (up is towards Telegram), path (splice, copy, crypt) and what stands in front of the listener", []string{"direction", "edge", "path"}, nil},
	{"sluice_relays_closed_total", TypeCounter, "Relays that ended, by cause", []string{"cause"}, nil},
	{"sluice_replay_capacity", TypeGauge, "Hellos that the replay table takes in one window", nil, nil},
	{"sluice_replay_entries", TypeGauge, "Hellos in the replay table's current window", nil, nil},
	{"sluice_replay_full_total", TypeCounter, "Valid hellos refused because the replay table was full", nil, nil},
	{"sluice_replay_rotations_total", TypeCounter, "Windows of the replay table that ended", nil, nil},
	{"sluice_splice_supported", TypeGauge, "1 if the kernel moves downloads, 0 if they are copied", nil, nil},
}

// lookup returns the row of that name. It panics when there is none, or when it is of another type.
func lookup(name, kind string) *Def {
	i, ok := slices.BinarySearchFunc(Catalogue, name, func(d Def, n string) int { return strings.Compare(d.Name, n) })
	if !ok {
		panic("metric: " + name + " is not in the catalogue")
	}
	if d := &Catalogue[i]; d.Type == kind {
		return d
	}
	panic("metric: " + name + " is not a " + kind)
}

// series is the name with its labels, in the catalogue's order. It panics unless labels has each of the row's keys once.
func (d *Def) series(labels []string) string {
	if len(labels) != 2*len(d.Labels) {
		panic("metric: " + d.Name + " takes the labels " + strings.Join(d.Labels, ", "))
	}
	if len(labels) == 0 {
		return d.Name
	}
	var b strings.Builder
	b.WriteString(d.Name)
	sep := byte('{')
	for _, key := range d.Labels {
		b.WriteByte(sep)
		b.WriteString(key)
		b.WriteString(`="`)
		b.WriteString(labelEscaper.Replace(value(d, labels, key)))
		b.WriteByte('"')
		sep = ','
	}
	b.WriteByte('}')
	return b.String()
}

// value finds a key among pairs of key and value.
func value(d *Def, labels []string, key string) string {
	for i := 0; i < len(labels); i += 2 {
		if labels[i] == key {
			return labels[i+1]
		}
	}
	panic("metric: " + d.Name + " lacks the label " + key)
}

// What the text format escapes, in label values and in help.
var (
	labelEscaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	helpEscaper  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
)

// formatBound writes a bucket's bound as scrapers expect it.
func formatBound(le float64) string {
	if math.IsInf(le, 1) {
		return "+Inf"
	}
	return strconv.FormatFloat(le, 'g', -1, 64)
}
