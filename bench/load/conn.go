package load

import (
	"crypto/cipher"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"sluice/bench/far"
	"sluice/bench/poll"
	"sluice/bench/task"
	"sluice/obfs"
)

// phase is where a client is. Those before ready belong to its beginning.
type phase uint8

const (
	dialing    phase = iota
	flight           // the hello is sent
	sampleDown       // a checked download
	sampleUp         // a checked upload
	ready
	moveDown // the same two once more
	moveUp
	blindDown  // received bytes are discarded
	blindUp    // records are sent without end
	stalled    // nothing is read
	exchanging // request and reply
)

var phaseNames = [...]string{
	"connecting", "waiting for the flight", "in a checked download", "in a checked upload", "holding", "in a checked download",
	"in a checked upload", "downloading", "uploading", "stalled", "exchanging",
}

func (p phase) String() string { return phaseNames[p] }

// conn is one client.
type conn struct {
	fd, index int
	group     *group
	phase     phase
	watching  uint32
	since     time.Time // of the beginning, or of the exchange
	hello     []byte    // until the flight is checked
	acc       []byte    // of the flight

	up, down obfs.Keys
	upAt     uint64 // position of the next byte in the stream
	downAt   uint64
	upCTR    cipher.Stream // only while bytes are being checked
	downCTR  cipher.Stream

	frame [recordHeader]byte // of the record being read
	have  int                // bytes of it
	left  int                // payload of it still to come

	want   uint64 // payload bytes still to come
	seen   uint64 // of the pattern
	unsent uint64 // payload of a checked upload that has not been made
	put    uint64 // and that has
	moveUp uint64
	out    []byte // made and not yet sent
	blind  int    // position in the group's file
	idle   bool   // between exchanges
}

func (l *load) dial(g *group) error {
	var local netip.Addr
	if len(g.Locals) > 0 {
		local = g.Locals[g.started%len(g.Locals)]
	}
	fd, err := poll.Dial(local, g.Addr)
	if err != nil {
		return err
	}
	poll.NoDelay(fd)
	if g.Receive > 0 {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, g.Receive)
	}
	c := &conn{fd: fd, group: g, since: time.Now(), watching: poll.Out}
	l.keep(c)
	if err := l.poller.Add(fd, poll.Out, uint64(c.index)); err != nil {
		l.close(c)
		return err
	}
	g.started++
	g.inFlight++
	return nil
}

func (l *load) keep(c *conn) {
	if n := len(l.free); n > 0 {
		c.index, l.free = l.free[n-1], l.free[:n-1]
		l.conns[c.index] = c
		return
	}
	c.index = len(l.conns)
	l.conns = append(l.conns, c)
}

func (l *load) close(c *conn) {
	if l.conns[c.index] != c {
		return
	}
	poll.Close(c.fd)
	l.conns[c.index] = nil
	l.free = append(l.free, c.index)
}

func (l *load) watch(c *conn, mask uint32) {
	if c.watching == mask {
		return
	}
	c.watching = mask
	if err := l.poller.Change(c.fd, mask, uint64(c.index)); err != nil {
		l.lost(c, err)
	}
}

func (l *load) event(e poll.Event) {
	c := l.conns[e.Token]
	switch {
	case c == nil:
	case c.phase == dialing:
		l.connected(c)
	default:
		if e.Mask&poll.Out != 0 {
			l.pump(c)
		}
		if l.conns[e.Token] == c && e.Mask&(poll.In|poll.Hup|poll.Err) != 0 {
			l.read(c)
		}
	}
}

// connected says what a client says first.
func (l *load) connected(c *conn) {
	if err := poll.Failure(c.fd); err != nil {
		l.lost(c, err)
		return
	}
	l.watch(c, poll.In)
	g := c.group
	c.phase = flight
	if g.Header > 0 {
		c.out = l.appendProxyHeader(c.out, c)
	}
	switch g.Kind {
	case FakeTLS, Stranger:
		c.hello = l.sign(g)
		c.out = append(c.out, c.hello...)
		l.pump(c)
	case Direct:
		l.makeFrame(c)
		l.startSample(c)
	case Greeted:
		l.pump(c)
	}
}

// startSample asks for the checked download. For FakeTLS what it says shares a record with the frame, as tdlib has it.
func (l *load) startSample(c *conn) {
	c.phase = sampleDown
	l.ask(c, task.Task{Op: task.Down, Down: c.group.SampleDown})
}

// ask sends a task and prepares for what it brings.
func (l *load) ask(c *conn, t task.Task) {
	t.Seed = uint64(c.index)
	var b [task.Len]byte
	t.Append(b[:0])
	c.want, c.seen = t.Down, 0
	if t.Op == task.Up {
		c.want = task.AckLen
		c.unsent, c.put = t.Up, 0
	}
	c.encipher(b[:])
	c.say(b[:])
	l.pump(c)
}

func (l *load) read(c *conn) {
	if c.phase == blindDown || c.phase == blindUp {
		n, e := poll.Discard(c.fd, drain)
		if !l.readFailed(c, n, e) {
			c.group.stats.Wire += uint64(n)
		}
		return
	}
	n, e := poll.Recv(c.fd, l.buf)
	if l.readFailed(c, n, e) {
		return
	}
	c.group.stats.Wire += uint64(n)
	if c.phase == flight {
		l.feedFlight(c, l.buf[:n])
		return
	}
	l.feed(c, l.buf[:n])
}

func (l *load) readFailed(c *conn, n int, e unix.Errno) bool {
	switch {
	case e == unix.EAGAIN || e == unix.EINTR:
		return true
	case e != 0:
		l.lost(c, e)
		return true
	case n == 0:
		l.lost(c, errEnd)
		return true
	}
	return false
}

// feedFlight takes the answer to a client's beginning.
func (l *load) feedFlight(c *conn, b []byte) {
	switch c.group.Kind {
	case Greeted:
		l.readied(c)
	case Stranger:
		c.acc = append(c.acc, b...)
		if len(c.acc) < far.FlightLen {
			return
		}
		if len(c.acc) > far.FlightLen || !task.Matches(c.acc, 0, 0) {
			l.wrong(c, "the front's answer is not what it sent")
			return
		}
		c.acc, c.hello = nil, nil
		l.startSample(c)
	case FakeTLS:
		c.acc = append(c.acc, b...)
		whole, err := checkFlight(c.acc, c.hello, c.group.secret.Key)
		if err != nil {
			l.wrong(c, "%v", err)
			return
		}
		if !whole {
			return
		}
		c.acc, c.hello = nil, nil
		l.makeFrame(c)
		l.startSample(c)
	}
}

// payload takes bytes of the session, in clear but for the cipher.
func (l *load) payload(c *conn, b []byte) {
	c.downAt += uint64(len(b))
	if uint64(len(b)) > c.want {
		l.wrong(c, "more came than was asked for")
		return
	}
	c.want -= uint64(len(b))
	if c.phase != exchanging || c.group.Check {
		c.decipherAt(b, c.downAt-uint64(len(b)))
		if !task.Matches(b, uint64(c.index), c.seen) {
			l.wrong(c, "byte %d or one of the %d after it is not what was sent", c.seen, len(b)-1)
			return
		}
		c.seen += uint64(len(b))
	}
	if c.want == 0 {
		l.satisfied(c)
	}
}

// satisfied is called when all that was asked for has come.
func (l *load) satisfied(c *conn) {
	g := c.group
	switch c.phase {
	case sampleDown:
		if g.SampleUp > 0 {
			c.phase = sampleUp
			l.ask(c, task.Task{Op: task.Up, Up: g.SampleUp})
			return
		}
		c.rest()
		l.readied(c)
	case sampleUp:
		c.rest()
		l.readied(c)
	case moveDown:
		if c.moveUp > 0 {
			c.phase = moveUp
			l.ask(c, task.Task{Op: task.Up, Up: c.moveUp})
			return
		}
		c.rest()
		l.moved(c)
	case moveUp:
		c.rest()
		l.moved(c)
	case exchanging:
		g.stats.Exchanges++
		g.stats.Latency.Add(l.now.Sub(c.since))
		c.idle = true
		if g.Think > 0 {
			l.later(c, l.think(g.Think))
			return
		}
		l.exchange(c)
	}
}

// rest gives up what only a busy client needs.
func (c *conn) rest() {
	c.upCTR, c.downCTR = nil, nil
	c.out = nil
}
