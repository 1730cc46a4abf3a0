package engine

import (
	"context"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sluice/splice"
)

// session is what the engine remembers of a relay: enough to count and log its end. Its methods are the relay loop's calls.
//
// There is one for each established relay, however long it is idle: every byte counts.
type session struct {
	shard        *shard
	live         *live
	front        *place // of a fronted one, else nil
	peer, client endpoint
	dc           int32 // of a relay to a DC
}

// place is a stranger's place at the front.
type place struct {
	site     *site
	shadowOf atomic.Pointer[conn] // of a shadow, until its client follows it
}

func (e *Engine) newSession(c *conn) *session {
	return &session{shard: c.shard, live: c.live, peer: endpointOf(c.peer), client: endpointOf(c.client)}
}

// endpoint is a netip.AddrPort in half the memory: without a zone.
type endpoint struct {
	ip   [16]byte
	port uint16
}

func endpointOf(a netip.AddrPort) (e endpoint) {
	if a.IsValid() {
		e = endpoint{ip: a.Addr().As16(), port: a.Port()}
	}
	return e
}

func (e endpoint) String() string {
	return netip.AddrPortFrom(netip.AddrFrom16(e.ip).Unmap(), e.port).String()
}

// Dialed counts an attempt to connect and remembers what it says of the address.
func (s *session) Dialed(addr netip.AddrPort, err error, took time.Duration) {
	e := s.shard.e
	result := dialResult(err)
	if s.front != nil {
		e.frontDials[result].Inc(s.shard.index)
		if err != nil {
			e.limited.line("front_dial", slog.LevelWarn, "the front cannot be reached",
				slog.String("front", s.front.site.to.String()), slog.String("error", err.Error()))
		}
		return
	}
	n := int(s.dc)
	e.dcDial(n, result).Inc(s.shard.index)
	if err == nil {
		e.dcDialSeconds.Observe(s.shard.index, took.Seconds())
	}
	if result != dialExhausted {
		s.live.dcs.Report(n, addr, err == nil, time.Now())
	}
	if err != nil {
		e.limited.line("dc_dial", slog.LevelWarn, "a data centre cannot be reached", slog.Int("dc", n),
			slog.String("address", addr.String()), slog.String("error", err.Error()))
	}
}

// Spoke tells the connection, on its own loop, what is heard of its shadow's front.
func (s *session) Spoke(reached bool) {
	c := s.front.shadowOf.Load()
	if c == nil {
		return
	}
	if reached {
		c.heard.Store(frontSpoke)
	} else {
		c.heard.Store(frontUnreachable)
	}
	c.shard.handler.wake(c)
}

// Closed counts and logs the end of a relay.
func (s *session) Closed(end splice.End) {
	e, i := s.shard.e, s.shard.index
	text := "relay closed"
	if s.front != nil {
		e.places.Release()
		e.frontsClosed[end.Cause].Inc(i)
		text = "front closed"
	} else {
		e.relaysClosed[end.Cause].Inc(i)
	}
	if !e.log.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	attrs := []slog.Attr{
		slog.String("peer", s.peer.String()), slog.String("client", s.client.String()), slog.String("cause", end.Cause.String()),
		slog.Uint64("up", end.Up), slog.Uint64("down", end.Down), slog.Duration("lived", end.Lived),
	}
	if s.front == nil {
		attrs = append(attrs, slog.Int("dc", int(s.dc)))
	}
	e.log.LogAttrs(context.Background(), slog.LevelDebug, text, attrs...)
}

// outcome counts and logs the end of a handshake.
func (e *Engine) outcome(c *conn, why cause) {
	i := c.shard.index
	e.handshakes[why].Inc(i)
	if why == accepted {
		e.handshakeSeconds.Observe(i, time.Duration(e.clock()-c.opened).Seconds())
	}
	if text, level := why.hint(); text != "" {
		e.limited.line(why.String(), level, text, slog.String("peer", c.peer.String()), slog.String("client", c.client.String()))
	}
	if e.log.Enabled(context.Background(), slog.LevelDebug) {
		e.log.LogAttrs(context.Background(), slog.LevelDebug, "handshake", slog.String("result", why.String()),
			slog.String("peer", c.peer.String()), slog.String("client", c.client.String()))
	}
}

// dial is a label of the dial counters.
type dial uint8

const (
	dialOK dial = iota
	dialRefused
	dialTimeout
	dialUnreachable
	dialExhausted // no descriptor, port or memory of ours
	dialError
	dials
)

var dialNames = [dials]string{"ok", "refused", "timeout", "unreachable", "exhausted", "error"}

func dialResult(err error) dial {
	switch err {
	case nil:
		return dialOK
	case unix.ECONNREFUSED, unix.ENOENT:
		return dialRefused
	case unix.ETIMEDOUT:
		return dialTimeout
	case unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EAFNOSUPPORT:
		return dialUnreachable
	case unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS, unix.EADDRNOTAVAIL, unix.EAGAIN:
		return dialExhausted
	}
	return dialError
}
