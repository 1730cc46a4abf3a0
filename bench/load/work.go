package load

import (
	"time"

	"golang.org/x/sys/unix"

	"sluice/bench/poll"
	"sluice/bench/task"
)

const (
	chunk     = 64 << 10 // of a checked upload, made at a time
	turnBytes = 1 << 20  // that an upload may send before the others have their turn

	// lazy is how much has to wait for a blind sink before it is woken. On loopback the sender pays for waking the receiver, which
	// with real clients on other machines no proxy does.
	lazy = 256 << 10
)

// refill makes the next part of a checked upload; false when there is none.
func (c *conn) refill(l *load) bool {
	n := int(min(c.unsent, chunk))
	if n == 0 {
		return false
	}
	if l.made == nil {
		l.made = make([]byte, chunk)
	}
	b := l.made[:n]
	task.Fill(b, uint64(c.index), c.put)
	c.put += uint64(n)
	c.unsent -= uint64(n)
	c.encipher(b)
	c.say(b)
	return true
}

// runConn sets a ready client to its group's work.
func (l *load) runConn(c *conn) {
	g := c.group
	switch g.Mode {
	case Source:
		c.phase = blindDown
		poll.WakeAt(c.fd, lazy)
		l.ask(c, task.Task{Op: task.Source})
		c.rest()
	case Stall:
		l.ask(c, task.Task{Op: task.Source})
		c.phase = stalled
		l.watch(c, 0)
	case Sink:
		if err := g.uploads(); err != nil {
			l.lost(c, err)
			return
		}
		l.ask(c, task.Task{Op: task.Sink})
		c.phase = blindUp
		l.pump(c)
	case Exchange:
		op := task.Exchange
		if g.Check {
			op = task.Exchanges
		}
		l.ask(c, task.Task{Op: op, Up: g.Up, Down: g.Down})
		if !g.Check {
			c.rest()
		}
		c.phase, c.idle, c.seen, c.put = exchanging, true, 0, 0
		if g.Think > 0 { // not all at once
			l.later(c, time.Duration(l.rnd.Uint64()%uint64(2*g.Think)))
			return
		}
		l.exchange(c)
	}
}

// think is a pause of the given mean: half of it to one and a half.
func (l *load) think(mean time.Duration) time.Duration {
	return mean/2 + time.Duration(l.rnd.Uint64()%uint64(mean))
}

// exchange sends the next request.
func (l *load) exchange(c *conn) {
	if c.phase != exchanging || !c.idle {
		return
	}
	g := c.group
	c.idle = false
	c.since = time.Now()
	c.want = g.Down
	if g.Check {
		c.unsent = g.Up
	} else {
		c.sayBlind(g.Up)
		c.upAt += g.Up
	}
	l.pump(c)
}

// sayBlind queues a request at whose bytes nobody will look.
func (c *conn) sayBlind(n uint64) {
	noise := task.Noise()
	for n > 0 {
		part := min(n, uint64(len(noise)))
		c.say(noise[:part])
		n -= part
	}
}

// pumpBlind sends records from the group's file until the socket is full or the turn is over.
func (l *load) pumpBlind(c *conn) {
	g := c.group
	for budget := turnBytes; budget > 0; {
		if c.blind == g.length {
			c.blind = 0
		}
		n, e := poll.SendFile(c.fd, g.records, int64(c.blind), g.length-c.blind)
		if e == unix.EAGAIN {
			break
		}
		if e != 0 {
			l.lost(c, e)
			return
		}
		c.blind += n
		g.stats.Sent += uint64(n)
		budget -= n
	}
	l.watch(c, poll.In|poll.Out)
}
