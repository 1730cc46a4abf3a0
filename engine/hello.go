package engine

import (
	"crypto/rand"
	"time"

	"golang.org/x/sys/unix"

	"sluice/engine/access"
	"sluice/engine/replay"
	"sluice/faketls"
	"sluice/obfs"
	"sluice/splice"
)

// readHello judges a ClientHello. Any "no" sends the client to the front; a "yes" has been answered with the flight when this
// returns true.
func (c *conn) readHello() bool {
	s := c.shard
	switch c.heard.Swap(0) {
	case frontSpoke: // it was first: whatever comes now is its business
		c.toFront(helloTimeout)
		return false
	case frontUnreachable: // which is no reason to refuse who may yet be one of ours
		s.relay.Drop(c.shadow)
		c.shadowed = false
	}
	h, n, err := faketls.ParseHello(c.said, s.join)
	switch {
	case err == faketls.ErrShort:
		c.feedShadow()
		return false
	case err != nil:
		c.noteUnexpectedHeader()
		c.toFront(helloCause(err))
		return false
	}
	why := outsider
	if !c.outside() {
		why = c.admitHello(&h)
	}
	if why == accepted {
		why = c.sendFlight(&h)
	}
	switch why {
	case accepted:
	case flightFailed, frameEnd:
		c.quit(why)
		return false
	default:
		c.toFront(why)
		return false
	}
	if c.shadowed {
		s.relay.Drop(c.shadow)
		c.shadowed = false
	}
	c.said = c.said[:copy(c.said, c.said[n:])]
	if len(c.said) == 0 {
		s.release(c)
	}
	c.stage, c.due = inFrame, s.e.clock()+int64(c.live.cfg.HandshakeTimeout)
	c.watch()
	return true
}

// maxSigned bounds the hellos whose signature is looked for, which costs time for each secret of the name. The longest of a client has 1,821
// bytes (protocol.md 2.1).
const maxSigned = 4 << 10

// admitHello looks for the user whose secret signed the hello, and whether the hello is good now, and new.
func (c *conn) admitHello(h *faketls.Hello) cause {
	s := c.shard
	users := c.live.users.Candidates(faketls.AppendLower(s.scratch[:0], h.Name))
	if len(users) == 0 {
		return unknownName
	}
	if len(h.Message) > maxSigned {
		return badDigest
	}
	user, at := s.verify(users, h)
	if user == nil {
		return badDigest
	}
	now := time.Now()
	skew := now.Sub(time.Unix(int64(at), 0)) // above zero: the client's clock is behind ours
	if skew > s.e.behind || -skew > s.e.ahead {
		return clockSkew
	}
	switch s.e.replay.Insert([16]byte(h.Random), now) {
	case replay.Replayed:
		return replayed
	case replay.Full:
		return replayFull
	}
	s.e.journal.Note([16]byte(h.Random), at)
	c.user = user
	s.e.skew.Observe(s.index, skew.Abs().Seconds())
	return accepted
}

func (s *shard) verify(users []*access.User, h *faketls.Hello) (*access.User, uint32) {
	for _, u := range users {
		if at, ok := s.mac.Verify(&u.Key, h); ok {
			return u, at
		}
	}
	return nil, 0
}

// sendFlight answers the hello in one write. It goes straight to the descriptor: gnet's outbound buffer must stay empty, for
// what it holds at a hand-off is lost. A fresh socket takes more than a flight, so less is an error; a client that has reset meanwhile is none of ours.
func (c *conn) sendFlight(h *faketls.Hello) cause {
	s := c.shard
	shape := *c.live.sites.choice.For(faketls.AppendLower(s.scratch[:0], h.Name)).shape.Load()
	shape.Hybrid = shape.Hybrid && c.live.cfg.HybridKeyShare
	flight, err := faketls.AppendFlight(s.flight[:0], s.mac, &c.user.Key, h, shape, rand.Reader)
	if err != nil {
		return flightFailed
	}
	s.flight = flight
	n, err := unix.SendmsgN(c.gnet.Fd(), flight, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	switch {
	case err == unix.ECONNRESET || err == unix.EPIPE:
		return frameEnd
	case err != nil || n < len(flight):
		return flightFailed
	}
	return accepted
}

// readFrame waits for the client's 64-byte frame, and hands the connection over when it is whole. Whoever is here has proved
// the secret: what is wrong from here on is closed quietly.
func (c *conn) readFrame() bool {
	s := c.shard
	if len(c.said) > len(s.scratch) {
		s.scratch = make([]byte, len(c.said))
	}
	var d faketls.Deframer
	payload := s.scratch[:copy(s.scratch, c.said)]
	n, err := d.Deframe(payload)
	if n < obfs.FrameLen {
		if err != nil || len(c.said) > maxBeforeFrame {
			c.quit(badFrame)
		}
		return false
	}
	f, _, err := obfs.ParseFrame(payload[:n], &c.user.Key)
	if err != nil {
		c.quit(badFrame)
		return false
	}
	c.toDC(&f)
	return false
}

// relayTo makes the relay of a client whose frame is f: our own frame to the DC, and the streams on both sides.
func (c *conn) relayTo(f *obfs.Frame) (r splice.Relay, err error) {
	r = splice.Relay{Skip: obfs.FrameLen, FromClient: f.Up, Early: append([]byte(nil), c.said...)}
	var wire [obfs.FrameLen]byte
	if c.live.cfg.AlignedDownloads {
		r.Mode = splice.Aligned
		wire, r.ToDC, err = obfs.AlignedFrame(f, rand.Reader)
	} else {
		r.Mode = splice.Recrypt
		r.ToClient = f.Down
		wire, r.ToDC, r.FromDC, err = obfs.FreshFrame(f, rand.Reader)
	}
	r.Preface = wire[:]
	return r, err
}
