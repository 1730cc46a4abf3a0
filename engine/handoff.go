package engine

import (
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"sluice/engine/dc"
	"sluice/engine/edge"
	"sluice/engine/front"
	"sluice/faketls"
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
// follows it. When all places at the front are taken it waits in line, unread, as in a busy server's backlog. Without a front, or without
// a place in the line, the connection is closed.
func (c *conn) toFront(why cause) {
	if c.cameBack() {
		c.quit(looped)
		return
	}
	to := c.site()
	look, again := c.shard.e.looks.returned(c.said)
	if c.shadowed && c.owner.front.site == to {
		c.followShadow(why)
		return
	}
	if c.shadowed { // it was called before the name was known
		c.shard.relay.Drop(c.shadow)
		c.shadowed = false
	}
	r, ok := c.frontRelay(to, append([]byte(nil), c.said...))
	if !ok {
		c.leave(why)
		return
	}
	var err error
	if r.Client, err = c.dup(); err != nil {
		c.leave(handoffFailed)
		return
	}
	s := &stranger{shard: c.shard, site: to, relay: r}
	e := c.shard.e
	if parked := look != nil && (again || e.places.Full()) && e.looks.park(s, look); !parked && !s.join() {
		why = handoffFailed
	}
	c.leave(why)
}

// stranger is a connection with a place at the front, or in line for one. It owns the client's descriptor until it is admitted.
type stranger struct {
	shard *shard
	site  *site
	relay splice.Relay
}

// join takes a place, waits for one in line or, without room there, ends. It reports false when the hand-off has failed. Any goroutine may call
// it, once.
func (s *stranger) join() bool {
	e := s.shard.e
	switch e.places.Join(s, time.Now().Add(lineTime)) {
	case front.Placed:
		if !s.Admit() {
			e.places.Release()
			return false
		}
	case front.Full:
		s.refuse(frontFull)
	}
	return true
}

// Admit implements front.Waiter.
func (s *stranger) Admit() bool {
	_, err := s.shard.relay.Add(s.relay)
	if err != nil {
		_ = unix.Close(s.relay.Client)
	}
	return err == nil
}

// TurnAway implements front.Waiter.
func (s *stranger) TurnAway() { s.refuse(frontLate) }

func (s *stranger) refuse(why unfronted) {
	if why == frontLoops { // a reset goes all the way round, and each place on it is given back; an end would wait for the other end's
		_ = unix.SetsockoptLinger(s.relay.Client, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	_ = unix.Close(s.relay.Client)
	e := s.shard.e
	e.frontRefused[why].Inc(e.offLoop())
	if why == frontLoops {
		return
	}
	e.limited.line("front_full", slog.LevelWarn, "all places at the front are taken: strangers are closed instead of seeing it",
		slog.Int("places", e.places.Count()), slog.Int("waiting", e.places.Waiting()))
}

// site is the front that c's server name leads to, as far as it is known.
func (c *conn) site() *site {
	if choice := c.live.sites.choice; !choice.Alone() {
		s := c.shard
		return choice.For(faketls.AppendLower(s.scratch[:0], faketls.FindName(c.said, s.join)))
	}
	return c.live.sites.all[0]
}

// frontRelay prepares a relay to a front. Whoever adds it must have one of the places, which the session gives back.
func (c *conn) frontRelay(to *site, early []byte) (splice.Relay, bool) {
	e, i := c.shard.e, c.shard.index
	if to.looped.Load() {
		e.frontRefused[frontLoops].Inc(i)
		return splice.Relay{}, false
	}
	addrs, path, ok := to.Target()
	if !ok {
		e.frontRefused[frontNoAddress].Inc(i)
		e.limited.line("front", slog.LevelError, "the front has no address yet: strangers are closed instead of seeing it",
			slog.String("front", to.to.String()))
		return splice.Relay{}, false
	}
	ses := e.newSession(c)
	ses.front = &place{site: to}
	r := splice.Relay{Client: -1, Mode: splice.Raw, Addrs: addrs, Path: path, Early: early, Lane: c.door.lane, Owner: ses}
	if v := c.live.cfg.FrontProxyProtocol; v != 0 {
		r.Preface = edge.AppendHeader(nil, v, c.client, c.local(), append(c.marks, e.marker[:]...))
	}
	return r, true
}

// maxPassed is how many proxies a connection may have passed, each the other's front, before it is taken for one that goes round.
const maxPassed = 4

// passed says whether a connection with these marks has come by here before.
func (e *Engine) passed(marks []byte) bool {
	for mark := range slices.Chunk(marks, edge.MarkerLen) {
		if string(mark) == string(e.marker[:]) || e.looks.marked(mark) {
			return true
		}
	}
	return false
}

// handOn is what of a header's marks the next one hears, nil without any. From those who may say anything there may be more than anybody needs.
func handOn(marks []byte) []byte {
	whole := marks[:len(marks)/edge.MarkerLen*edge.MarkerLen]
	return append([]byte(nil), whole[max(0, len(whole)-(maxPassed-1)*edge.MarkerLen):]...)
}

// cameBack says whether c begins with a PROXY header of ours where none is expected.
func (c *conn) cameBack() bool {
	if c.header != headerResults {
		return false
	}
	h, _, err := edge.ParseHeader(c.said)
	return err == nil && c.shard.e.passed(h.Marks)
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
	places := c.shard.e.places
	if len(c.said) == 0 && places.Used() >= places.Count()/2 {
		return // who says nothing does not take the last places of those who do
	}
	if !c.live.sites.choice.Alone() && len(c.said) > 0 && faketls.FindName(c.said, c.shard.join) == nil {
		return // of several fronts none can be told yet: an SNI router waits, too
	}
	r, ok := c.frontRelay(c.site(), append([]byte(nil), c.said...))
	if !ok || !places.Take() {
		return
	}
	ses := r.Owner.(*session)
	ses.front.shadowOf.Store(c)
	id, err := c.shard.relay.Add(r)
	if err != nil {
		places.Release()
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
	e := c.shard.e
	if h, _, err := edge.ParseHeader(c.said); err == nil && !e.passed(h.Marks) {
		e.headers[headerUnexpected].Inc(c.shard.index)
		if e.handshakes[accepted].Value() > 0 {
			return // clients get in without, so it is a stranger's
		}
		e.limited.line("unexpected_header", slog.LevelWarn, unexpectedHeaderHint, slog.String("peer", c.peer.String()))
	}
}
