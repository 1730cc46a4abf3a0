package far

import (
	"crypto/cipher"
	"encoding/binary"

	"golang.org/x/sys/unix"

	"sluice/bench/poll"
	"sluice/bench/task"
	"sluice/obfs"
)

type state uint8

const (
	head  state = iota // of the connection: a frame, or a hello's record
	tasks              // the next task
	busy               // a task is being done
	deaf               // whatever comes is discarded
)

// conn is one connection.
type conn struct {
	fd, index int
	role      role
	state     state
	watchOut  bool

	need    int    // bytes that acc is to have
	acc     []byte // of a head or a task
	in, out obfs.Keys
	inAt    uint64 // position of the next byte in the stream
	outAt   uint64
	inCTR   cipher.Stream // only while a task needs it
	outCTR  cipher.Stream

	task  task.Task
	taken uint64 // bytes of the task's upload (for an exchange: of this round)
	owed  uint64 // bytes still to be sent
	sent  uint64 // bytes of the task's download that have been made
	seen  uint64 // bytes of the task's upload that have been checked
	rest  []byte // made and not yet sent
	blind int64  // position in the memory file
}

const (
	endless = 1 << 62
	lazy    = 256 << 10 // has to wait for a blind sink before it is woken: on loopback the sender would pay for it
)

func (c *conn) begin() {
	switch c.role {
	case roleDC:
		c.need = obfs.FrameLen
	case roleFront:
		c.need = 5
	case roleGreet:
		c.state = deaf
	}
}

func (f *far) event(e poll.Event) {
	c := f.conns[e.Token]
	if c == nil {
		return
	}
	if e.Mask&poll.Out != 0 {
		f.pump(c)
	}
	if f.conns[e.Token] == c && e.Mask&(poll.In|poll.Hup|poll.Err) != 0 {
		f.read(c)
	}
}

// read takes what has come: without a copy where nobody looks at it.
func (f *far) read(c *conn) {
	if c.discards() {
		n, e := poll.Discard(c.fd, turn)
		if f.readFailed(c, n, e) {
			return
		}
		f.discarded(c, n)
		return
	}
	n, e := poll.Recv(c.fd, f.buf)
	if !f.readFailed(c, n, e) {
		f.feed(c, f.buf[:n])
	}
}

func (f *far) discarded(c *conn, n int) {
	f.stats.In += uint64(n)
	c.inAt += uint64(n)
	if c.state == busy && c.task.Op == task.Exchange {
		f.credit(c, uint64(n))
	}
}

func (c *conn) discards() bool {
	if c.state == busy {
		return c.task.Op == task.Exchange || c.task.Op == task.Source || c.task.Op == task.Sink
	}
	return c.state == deaf
}

func (f *far) readFailed(c *conn, n int, e unix.Errno) bool {
	if e == unix.EAGAIN || e == unix.EINTR {
		return true
	}
	if e != 0 || n <= 0 {
		f.close(c)
		return true
	}
	return false
}

// feed takes bytes in order, whatever they belong to.
func (f *far) feed(c *conn, b []byte) {
	for len(b) > 0 && f.conns[c.index] == c {
		if c.discards() {
			f.discarded(c, len(b))
			return
		}
		if c.state == busy {
			b = f.check(c, b)
			continue
		}
		n := min(len(b), c.need-len(c.acc))
		c.acc = append(c.acc, b[:n]...)
		b = b[n:]
		if len(c.acc) == c.need {
			f.complete(c)
		}
	}
}

// complete acts on a whole head or task.
func (f *far) complete(c *conn) {
	acc := c.acc
	c.acc = acc[:0]
	switch {
	case c.state == tasks:
		f.startTask(c, acc)
	case c.role == roleFront && len(acc) == 5:
		c.acc = acc // the record's body follows
		c.need = 5 + int(binary.BigEndian.Uint16(acc[3:]))
		if c.need == 5 {
			f.bad(c, "a hello without a body")
		}
	case c.role == roleFront:
		c.state, c.need = tasks, task.Len
		flight := make([]byte, FlightLen)
		task.Fill(flight, 0, 0)
		f.say(c, flight)
	default:
		var err error
		if c.in, c.out, _, _, err = obfs.ParseServerFrame(acc); err != nil {
			f.bad(c, err.Error())
			return
		}
		c.inAt = obfs.FrameLen
		c.state, c.need = tasks, task.Len
	}
}

// startTask deciphers a task and begins it.
func (f *far) startTask(c *conn, b []byte) {
	c.decipher(b)
	c.inAt += task.Len
	t, err := task.Parse(b)
	if err != nil {
		f.bad(c, err.Error())
		return
	}
	c.state, c.task, c.taken, c.seen, c.sent = busy, t, 0, 0, 0
	switch t.Op {
	case task.Down:
		c.owed = t.Down
	case task.Source:
		c.owed = t.Down
		if t.Down == 0 {
			c.owed = endless
		}
		c.dropStreams()
	case task.Sink:
		poll.WakeAt(c.fd, lazy)
		c.dropStreams()
	case task.Exchange:
		c.dropStreams()
	}
	if t.Op == task.Up && t.Up == 0 {
		c.owed = task.AckLen
	}
	f.pump(c)
}

// dropStreams gives up the streams of a connection whose bytes nobody will look at any more.
func (c *conn) dropStreams() { c.inCTR, c.outCTR = nil, nil }

func (c *conn) decipher(b []byte) {
	if c.role != roleDC {
		return
	}
	if c.inCTR == nil {
		c.inCTR = c.in.Stream(c.inAt)
	}
	c.inCTR.XORKeyStream(b, b)
}

func (c *conn) encipher(b []byte) {
	if c.role != roleDC {
		return
	}
	if c.outCTR == nil {
		c.outCTR = c.out.Stream(c.outAt)
	}
	c.outCTR.XORKeyStream(b, b)
}

// check takes bytes of an upload whose content is known, and returns what does not belong to it.
func (f *far) check(c *conn, b []byte) []byte {
	n := len(b)
	switch c.task.Op {
	case task.Up:
		n = int(min(uint64(n), c.task.Up-c.taken))
	case task.Exchanges:
		n = int(min(uint64(n), c.task.Up-c.taken))
	}
	if n == 0 {
		f.bad(c, "bytes that no task asked for")
		return nil
	}
	part := b[:n]
	c.decipher(part)
	c.inAt += uint64(n)
	f.stats.In += uint64(n)
	if !task.Matches(part, c.task.Seed, c.seen) {
		f.bad(c, "an upload is not what was sent")
		return nil
	}
	c.seen += uint64(n)
	f.credit(c, uint64(n))
	return b[n:]
}

// credit counts an upload and what it earns.
func (f *far) credit(c *conn, n uint64) {
	c.taken += n
	switch c.task.Op {
	case task.Up:
		if c.taken == c.task.Up {
			c.owed = task.AckLen
		}
	case task.Exchange, task.Exchanges:
		rounds := c.taken / c.task.Up
		c.taken %= c.task.Up
		c.owed += rounds * c.task.Down
	}
	if c.owed > 0 && !c.watchOut {
		f.pump(c)
	}
}
