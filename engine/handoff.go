package engine

import (
	"log/slog"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"sluice/engine/dc"
	"sluice/engine/edge"
	"sluice/obfs"
	"sluice/splice"
)

// The hand-off: the descriptor is duplicated, what the client said goes along, and gnet closes its own descriptor when it is
// told gnet.Close. It sends no FIN while the duplicate lives. On success the relay owns the duplicate and closes it once; on
// error it is closed here.

// dup is the client's descriptor for a relay.
func (c *conn) dup() (int, error) {
	return unix.FcntlInt(uintptr(c.gnet.Fd()), unix.F_DUPFD_CLOEXEC, 0)
}

// toDC hands a client that has shown its frame to the relay loop, which dials the DC.
func (c *conn) toDC(f *obfs.Frame) {
	e := c.shard.e
	number := dc.Number(f.DC)
	addrs := c.live.dcs.Addrs(number, time.Now())
	if len(addrs) == 0 {
		c.quit(unknownDC)
		return
	}
	r, err := c.relayTo(f)
	if err != nil {
		c.quit(handoffFailed)
		return
	}
	ses := e.newSession(c)
	ses.dc = int32(number)
	r.Addrs, r.Lane, r.Owner = addrs, c.door.lane, ses
	if r.Client, err = c.dup(); err != nil {
		c.quit(handoffFailed)
		return
	}
	if _, err = c.shard.relay.Add(r); err != nil {
		_ = unix.Close(r.Client)
		c.quit(handoffFailed)
		return
	}
	c.leave(accepted)
}

// toFront sends the client to the front with every byte it has sent, as if it had connected there. A client that has a shadow
// follows it. Without a front, or without a place at it, the connection is closed.
func (c *conn) toFront(why cause) {
	if c.shadowed {
		c.followShadow(why)
		return
	}
	r, ok := c.frontRelay(append([]byte(nil), c.said...))
	if !ok {
		c.leave(why)
		return
	}
	var err error
	if r.Client, err = c.dup(); err == nil {
		if _, err = c.shard.relay.Add(r); err != nil {
			_ = unix.Close(r.Client)
		}
	}
	if err != nil {
		c.live.front.Release()
		why = handoffFailed
	}
	c.leave(why)
}

// frontRelay prepares a relay to the front that takes one of its places; the session gives it back.
func (c *conn) frontRelay(early []byte) (splice.Relay, bool) {
	e, f := c.shard.e, c.live.front
	addrs, path, ok := f.Target()
	if !ok {
		e.limited.line("front", slog.LevelError, "the front has no address yet: strangers are closed instead of seeing it",
			slog.String("front", c.live.cfg.Front.String()))
	}
	if ok && !f.Acquire() {
		ok = false
		e.limited.line("front_full", slog.LevelWarn, "all places at the front are taken: strangers are closed instead of seeing it",
			slog.Int("places", f.Cap()))
	}
	if !ok {
		e.frontRefused.Inc(c.shard.index)
		return splice.Relay{}, false
	}
	ses := e.newSession(c)
	ses.front = &place{front: f}
	r := splice.Relay{Client: -1, Mode: splice.Raw, Addrs: addrs, Path: path, Early: early, Lane: c.door.lane, Owner: ses}
	if v := c.live.cfg.FrontProxyProtocol; v != 0 {
		r.Preface = edge.AppendHeader(nil, v, c.client, c.local())
	}
	return r, true
}

// local is the address the client connected to. (gnet only knows its listener's.)
func (c *conn) local() netip.AddrPort {
	sa, err := unix.Getsockname(c.gnet.Fd())
	if err != nil {
		return netip.AddrPort{}
	}
	return socketAddr(sa)
}

// castShadow dials the front for a client that is slow to say who it is. Without a place there is none, and nothing is lost
// but the likeness of timing.
func (c *conn) castShadow() {
	c.tried = true
	if f := c.live.front; len(c.said) == 0 && f.Used() >= f.Cap()/2 {
		return // who says nothing does not take the last places of those who do
	}
	r, ok := c.frontRelay(append([]byte(nil), c.said...))
	if !ok {
		return
	}
	ses := r.Owner.(*session)
	ses.front.shadowOf.Store(c)
	id, err := c.shard.relay.Add(r)
	if err != nil {
		c.live.front.Release()
		return
	}
	c.shadow, c.shadowed, c.owner, c.fed = id, true, ses, len(c.said)
}

// feedShadow tells the front what came since the last time.
func (c *conn) feedShadow() {
	if c.shadowed && c.fed < len(c.said) {
		c.shard.relay.Feed(c.shadow, append([]byte(nil), c.said[c.fed:]...))
		c.fed = len(c.said)
	}
}

// followShadow brings the client to where its bytes already are.
func (c *conn) followShadow(why cause) {
	fd, err := c.dup()
	if err != nil {
		c.quit(handoffFailed)
		return
	}
	if err = c.shard.relay.Adopt(c.shadow, fd, append([]byte(nil), c.said[c.fed:]...)); err != nil {
		_ = unix.Close(fd)
		why = handoffFailed
	}
	c.owner.front.shadowOf.Store(nil)
	c.leave(why)
}

// noteUnexpectedHeader tells a PROXY header that is not expected from other garbage.
func (c *conn) noteUnexpectedHeader() {
	if c.header != headerResults || c.outside() {
		return
	}
	if _, _, err := edge.ParseHeader(c.said); err == nil {
		e := c.shard.e
		e.headers[headerUnexpected].Inc(c.shard.index)
		e.limited.line("unexpected_header", slog.LevelWarn, unexpectedHeaderHint, slog.String("peer", c.peer.String()))
	}
}
