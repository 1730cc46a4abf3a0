package engine

import (
	"errors"
	"log/slog"

	"sluice/engine/edge"
	"sluice/faketls"
)

// cause is how a handshake ended: a label of sluice_handshakes_total and the reason in the log. Every outcome is classified
// here, once.
type cause uint8

const (
	accepted      cause = iota
	silent              // closed without a byte: a port scan
	health              // the same by the load balancer: its health check
	outsider            // not from the load balancer's ranges
	looped              // our own connection to the front, come back
	notTLS              // the first bytes are no TLS handshake record
	badHello            // a hello that breaks its grammar
	helloTooLong        // more than faketls.MaxHello
	noTLS13             // a hello that does not offer TLS 1.3
	noKeyShare          // a hello without a key share we can answer
	noName              // a hello without a server name
	unknownName         // a name that no secret carries
	badDigest           // a hello that no secret signed
	clockSkew           // signed, and outside the clock window
	replayed            // signed, and seen before
	replayFull          // the replay table is full: we fail closed
	helloTimeout        // not whole in time
	helloEnd            // closed before it was whole
	badHeader           // a PROXY header that cannot be used
	headerMissing       // PROXY required, and none came
	headerTimeout       // no whole PROXY header in time
	headerEnd           // closed before the header was whole
	badFrame            // after the flight: no obfuscated2 frame (closed quietly)
	unknownDC           // after the flight: a DC we have no address of
	frameTimeout        // after the flight: no frame in time
	frameEnd            // after the flight: closed before the frame was whole
	flightFailed        // the flight could not be sent
	handoffFailed       // no descriptor or loop for the relay
	evicted             // the oldest of too many unfinished handshakes
	stopped             // we are closing
	causes
)

var causeNames = [causes]string{
	"ok", "silent", "health", "outsider", "loop", "not_tls", "bad_hello", "hello_too_long", "no_tls13", "no_key_share", "no_name", "unknown_name",
	"bad_digest", "clock_skew", "replay", "replay_full", "hello_timeout", "hello_end", "bad_header", "header_missing",
	"header_timeout", "header_end", "bad_frame", "unknown_dc", "frame_timeout", "frame_end", "flight_failed", "handoff_failed",
	"evicted", "stopped",
}

func (c cause) String() string { return causeNames[c] }

// helloCause classifies why a hello was rejected by its form.
func helloCause(err error) cause {
	var r faketls.Reject
	if !errors.As(err, &r) {
		return badHello
	}
	switch r {
	case faketls.NotHandshake:
		return notTLS
	case faketls.TooLong:
		return helloTooLong
	case faketls.NoTLS13:
		return noTLS13
	case faketls.NoKeyShare:
		return noKeyShare
	case faketls.NoName:
		return noName
	}
	return badHello
}

// unfronted says why a stranger is closed instead of seeing the front: a label of sluice_front_refused_total.
type unfronted uint8

const (
	frontFull      unfronted = iota // no place, and none in the line for one
	frontLate                       // waited too long
	frontNoAddress                  // its name has not been resolved yet
	frontLoops                      // it leads back here
	unfronteds
)

var unfrontedNames = [unfronteds]string{"full", "late", "no_address", "loop"}

func (u unfronted) String() string { return unfrontedNames[u] }

// headerResult is a label of sluice_proxy_headers_total.
type headerResult uint8

const (
	headerV1 headerResult = iota
	headerV2
	headerLocal      // LOCAL or UNKNOWN: no client named
	headerAbsent     // required, and none came
	headerUnexpected // came, and none is expected
	headerMalformed
	headerTooLong
	headerBadCRC
	headerBadFamily
	headerLate // not whole in time
	headerResults
)

var headerNames = [headerResults]string{
	"v1", "v2", "local", "missing", "unexpected", "malformed", "too_long", "bad_crc", "bad_family", "timeout",
}

func (h headerResult) String() string { return headerNames[h] }

// headerReject classifies why a PROXY header cannot be used.
func headerReject(err error) headerResult {
	var r edge.Reject
	if errors.As(err, &r) {
		switch r {
		case edge.TooLong:
			return headerTooLong
		case edge.BadCRC:
			return headerBadCRC
		case edge.BadFamily:
			return headerBadFamily
		}
	}
	return headerMalformed
}

// hint is the one line an operator gets, at most once in a while, when a cause says that a setting is wrong.
func (c cause) hint() (text string, level slog.Level) {
	switch c {
	case headerMissing:
		return "connections arrive without the PROXY header that SLUICE_PROXY_PROTOCOL=required asks for: turn it on at the load balancer, or set SLUICE_PROXY_PROTOCOL to optional or off (where the mode is set: SLUICE_EDGE_MODE=opaque)", slog.LevelWarn
	case badHeader:
		return "connections arrive with a PROXY header that cannot be used: look at sluice_proxy_headers_total for why", slog.LevelWarn
	case clockSkew:
		return "clients with the right secret are refused for their clock: is this host's clock right? SLUICE_CLOCK_SKEW sets the tolerance", slog.LevelWarn
	case replayFull:
		return "the replay table is full and new clients are sent to the front: more handshakes within the clock window than it can remember", slog.LevelError
	case handoffFailed, flightFailed:
		return "handshakes fail for want of descriptors or socket memory", slog.LevelError
	case looped:
		return loopHint, slog.LevelError
	case unknownDC:
		return "clients ask for a data centre that has no address: set SLUICE_DC_n for it", slog.LevelWarn
	}
	return "", 0
}

const unexpectedHeaderHint = "connections arrive with a PROXY header while SLUICE_PROXY_PROTOCOL=off, and are taken for strangers: set it to required or optional (where the mode is set: SLUICE_EDGE_MODE=proxy), or turn it off at the load balancer"
