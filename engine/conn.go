package engine

import (
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"

	"sluice/engine/access"
	"sluice/engine/config"
	"sluice/engine/edge"
	"sluice/splice"
)

// stage is where a connection stands before its hand-off:
//
//	          PROXY header            hello                 frame
//	(open) ──▶ inHeader ─────▶ inHello ───────▶ inFrame ──────────▶ gone (to a relay)
//	              │               │                │
//	              │ no            │ no             │ no: closed quietly
//	              └───────────────┴──▶ gone (to the front, with every byte it sent)
//
// In inHello a connection that is not whole within a moment gets a shadow: the front is dialled and told what came so far, so
// that its clock runs from the first bytes on. If the hello turns out to be one of ours the shadow is dropped; if it does not,
// or the front has something to say, the client follows its bytes.
type stage uint8

const (
	inHeader stage = iota
	inHello
	inFrame
	gone
)

const (
	// moment is how long a hello may stay incomplete before the front hears of it.
	moment = 300 * time.Millisecond
	// headerTime is how long a PROXY header may take: it comes from a machine, in the first segment.
	headerTime = 3 * time.Second
	// maxBeforeFrame bounds what a client sends after its hello until its 64-byte frame is whole (it comes in one or two small
	// records). Everything that came with it is handed on.
	maxBeforeFrame = 20 << 10
)

// What is heard of a shadow's front.
const (
	frontSpoke       int32 = 1 + iota // it has something to say, or has closed
	frontUnreachable                  // no address answers
)

// conn is a connection before its hand-off. Loop only, but for heard.
type conn struct {
	shard  *shard
	gnet   gnet.Conn
	id     uint64
	stage  stage
	live   *live // the configuration in force when it came
	door   *door // of live: the one it came in by
	beyond bool  // it comes past the load balancer that it should come from
	opened int64
	due    int64 // when the stage's patience ends

	peer, client netip.AddrPort
	header       headerResult // of the header that was read; headerResults without one
	marks        []byte       // the header's: the proxies that it has passed
	user         *access.User

	said []byte // received and not consumed
	fed  int    // of it, what the shadow has been given

	shadow   splice.ID
	shadowed bool
	tried    bool         // a shadow has been asked for, once
	owner    *session     // of the shadow
	heard    atomic.Int32 // of the shadow's front: 0 nothing yet
}

func (h *handler) newConn(g gnet.Conn, s *shard) *conn {
	e := h.engine
	c := &conn{shard: s, gnet: g, live: e.live.Load(), opened: e.clock(), peer: addrPort(g.RemoteAddr()), header: headerResults}
	c.client, c.door = c.peer, e.door(c.live, g.LocalAddr())
	c.beyond = c.door.shuts(c.peer.Addr())
	c.stage, c.due = inHello, c.opened+int64(c.live.cfg.HandshakeTimeout)
	if c.door.edge.Header != config.Off && !c.outside() {
		c.stage, c.due = inHeader, c.opened+int64(min(headerTime, c.live.cfg.HandshakeTimeout))
	}
	return c
}

// outside says whether c comes past the load balancer that it should come from. Whatever it says, it is a stranger.
func (c *conn) outside() bool { return c.beyond }

// watch has the wheel bring c back for its next deadline.
func (c *conn) watch() {
	due := c.due
	if c.stage == inHello && !c.tried {
		due = min(due, c.opened+int64(moment))
	}
	c.shard.wheel.Add(due, c.id)
}

// timer looks which of c's deadlines has come.
func (c *conn) timer(now int64) {
	switch {
	case now >= c.due:
		c.expire()
		return
	case c.stage == inHello && !c.tried && now >= c.opened+int64(moment):
		c.castShadow()
	}
	if c.stage != gone {
		c.watch()
	}
}

// expire ends the patience of c's stage.
func (c *conn) expire() {
	switch c.stage {
	case inHeader:
		if len(c.said) == 0 && c.door.edge.Header == config.Optional {
			c.stage, c.due = inHello, c.opened+int64(c.live.cfg.HandshakeTimeout)
			c.castShadow()
			c.watch()
			return
		}
		c.shard.e.headers[headerLate].Inc(c.shard.index)
		c.toFront(headerTimeout)
	case inHello:
		c.toFront(helloTimeout)
	case inFrame:
		c.quit(frameTimeout)
	}
	c.close()
}

// evict makes room: as if its time were over, and without a dial for somebody who has said nothing.
func (c *conn) evict() {
	if c.stage == inFrame || len(c.said) == 0 && !c.shadowed {
		c.quit(evicted)
	} else {
		c.toFront(evicted)
	}
	c.close()
}

// close has gnet close its descriptor outside of one of its callbacks for c. A dup of it may live on in a relay.
func (c *conn) close() { _ = c.shard.loop.Close(c.gnet) }

// advance judges all that c has said as far as it goes. It returns what gnet is to do with the connection.
func (c *conn) advance() gnet.Action {
	for {
		var more bool
		switch c.stage {
		case inHeader:
			more = c.readHeader()
		case inHello:
			more = c.readHello()
		case inFrame:
			more = c.readFrame()
		}
		if c.stage == gone {
			return gnet.Close
		}
		if !more {
			return gnet.None
		}
	}
}

// readHeader reads the PROXY header. True means that the next stage has begun.
func (c *conn) readHeader() bool {
	h, n, err := edge.ParseHeader(c.said)
	e, i := c.shard.e, c.shard.index
	switch {
	case err == nil:
		c.header = headerV1 + headerResult(h.Version-1)
		if h.Local {
			c.header = headerLocal
		} else {
			c.client = netip.AddrPortFrom(h.Source.Addr().Unmap(), h.Source.Port())
		}
		e.headers[c.header].Inc(i)
		if e.passed(h.Marks) || c.door.keeper != nil && len(h.Marks) >= maxPassed*edge.MarkerLen {
			c.quit(looped)
			return false
		}
		c.marks = handOn(h.Marks)
		c.said = c.said[:copy(c.said, c.said[n:])]
	case err == edge.ErrShort:
		return false
	case err == edge.ErrNone && c.door.edge.Header == config.Optional:
	case err == edge.ErrNone:
		e.headers[headerAbsent].Inc(i)
		c.toFront(headerMissing)
		return false
	default:
		e.headers[headerReject(err)].Inc(i)
		c.toFront(badHeader)
		return false
	}
	c.stage = inHello
	c.opened = e.clock() // the hello has a time of its own, which starts now
	c.due = c.opened + int64(c.live.cfg.HandshakeTimeout)
	c.watch()
	return true
}

// ended judges a client's end of stream, or its reset, before the hand-off.
func (c *conn) ended(reset bool) {
	switch {
	case c.stage == inFrame:
		c.quit(frameEnd)
	case len(c.said) == 0 && !c.shadowed && c.door.fromEdge(c.peer.Addr()) && c.door.fromEdge(c.client.Addr()): // some name themselves
		c.quit(health)
	case len(c.said) == 0 && !c.shadowed:
		c.quit(silent)
	case reset && c.shadowed:
		c.shard.relay.Abort(c.shadow)
		c.leave(helloEnd)
	case reset:
		c.quit(helloEnd)
	case c.stage == inHeader:
		c.toFront(headerEnd)
	default:
		c.toFront(helloEnd) // half a hello, then FIN: the front answers as it likes
	}
}

// quit ends c without a relay: its shadow is dropped, the cause counted.
func (c *conn) quit(why cause) {
	if c.shadowed {
		c.shard.relay.Drop(c.shadow)
	}
	c.leave(why)
}

// leave takes c out of the books; whatever comes now is no longer judged here.
func (c *conn) leave(why cause) {
	c.stage = gone
	c.shard.remove(c)
	c.shard.e.outcome(c, why)
}

// addrPort is a gnet address as a value.
func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		p := t.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	return netip.AddrPort{}
}
