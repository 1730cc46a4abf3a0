package far

import (
	"golang.org/x/sys/unix"

	"sluice/bench/poll"
	"sluice/bench/task"
)

const (
	chunk     = 64 << 10 // of the pattern, made at a time
	smallSend = 32 << 10 // up to here a copy from memory is as cheap as sendfile
)

// say sends bytes that belong to no task.
func (f *far) say(c *conn, b []byte) {
	c.encipher(b)
	c.outAt += uint64(len(b))
	c.rest = append(c.rest, b...)
	f.pump(c)
}

// pump sends what a connection owes, as far as its turn and the socket allow.
func (f *far) pump(c *conn) {
	for budget := turn; budget > 0; {
		n, done, ok := f.pumpOnce(c)
		if !ok {
			return
		}
		if done {
			f.settle(c)
			return
		}
		budget -= n
	}
	f.watch(c, true) // it is still writable: the others first
}

// pumpOnce makes one send. Not ok: it would block, or the connection is gone.
func (f *far) pumpOnce(c *conn) (n int, done, ok bool) {
	var e unix.Errno
	switch {
	case len(c.rest) > 0:
		n, e = poll.Send(c.fd, c.rest)
		if e == 0 {
			c.rest = c.rest[n:]
		}
	case c.owed == 0:
		return 0, true, true
	case c.checked():
		c.make()
		return 0, false, true
	default:
		n, e = f.sendBlind(c)
	}
	switch {
	case e == unix.EAGAIN:
		f.watch(c, true)
		return 0, false, false
	case e != 0:
		f.close(c)
		return 0, false, false
	}
	f.stats.Out += uint64(n)
	return n, false, true
}

func (c *conn) checked() bool { return c.task.Op != task.Source && c.task.Op != task.Exchange }

// make prepares the next bytes of the pattern.
func (c *conn) make() {
	n := int(min(c.owed, chunk))
	if cap(c.rest) < n {
		c.rest = make([]byte, n)
	}
	c.rest = c.rest[:n]
	task.Fill(c.rest, c.task.Seed, c.sent)
	c.encipher(c.rest)
	c.sent += uint64(n)
	c.outAt += uint64(n)
	c.owed -= uint64(n)
}

func (f *far) sendBlind(c *conn) (int, unix.Errno) {
	want := int(min(c.owed, turn))
	var n int
	var e unix.Errno
	if want <= smallSend {
		n, e = poll.Send(c.fd, task.Noise()[:want])
	} else {
		if c.blind >= memoryLen {
			c.blind = 0
		}
		n, e = poll.SendFile(c.fd, f.memory, c.blind, min(want, int(memoryLen-c.blind)))
		if n > 0 {
			c.blind += int64(n)
		}
	}
	if e != 0 {
		return 0, e
	}
	if c.owed != endless {
		c.owed -= uint64(n)
	}
	c.outAt += uint64(n)
	return n, 0
}

// settle is called when nothing is owed: the task may be done.
func (f *far) settle(c *conn) {
	f.watch(c, false)
	c.rest = nil
	if c.state != busy {
		return
	}
	if c.task.Op == task.Down || c.task.Op == task.Up && c.taken == c.task.Up {
		c.state = tasks
		c.need = task.Len
		c.dropStreams() // an idle connection costs little here too
	}
}

func (f *far) watch(c *conn, out bool) {
	if c.watchOut == out {
		return
	}
	c.watchOut = out
	mask := uint32(poll.In)
	if out {
		mask |= poll.Out
	}
	if err := f.poller.Change(c.fd, mask, uint64(c.index)); err != nil {
		f.close(c)
	}
}
