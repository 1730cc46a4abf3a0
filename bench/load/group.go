package load

import (
	"container/heap"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"sluice/bench/client"
	"sluice/bench/figure"
	"sluice/bench/poll"
	"sluice/bench/remote"
	"sluice/bench/task"
)

// How a client begins.
const (
	FakeTLS  = "ee"       // a Telegram client with the secret
	Direct   = "direct"   // a data centre's client without a proxy's protocol
	Greeted  = "greet"    // waits for one byte
	Stranger = "stranger" // a browser's hello: the front answers
)

// What a client does once its sample was right.
const (
	Hold     = "hold"     // nothing
	Source   = "source"   // downloads without end
	Sink     = "sink"     // uploads without end
	Stall    = "stall"    // downloads without end and never reads
	Exchange = "exchange" // requests and replies, one after the other
	Sessions = "sessions" // closes, and begins anew
)

// Job is a group of clients that do the same. It is the argument of "open", which is answered when all of them are ready (for
// Sessions: at once).
type Job struct {
	Kind   string         `json:"kind"`
	Mode   string         `json:"mode"`
	Addr   netip.AddrPort `json:"addr"`
	Locals []netip.Addr   `json:"locals,omitempty"` // addresses to connect from, in turn
	Secret string         `json:"secret,omitempty"` // as clients are given it, in hex
	DCs    int            `json:"dcs,omitempty"`    // data centres 1 to DCs are asked for in turn; 0 is 2 alone
	Header int            `json:"header,omitempty"` // version of the PROXY header sent first; 0: none
	Hybrid bool           `json:"hybrid,omitempty"` // hellos with X25519MLKEM768

	Conns int `json:"conns"`
	Ramp  int `json:"ramp,omitempty"` // at most so many handshakes at a time; 0 is 64

	SampleDown uint64 `json:"sample_down,omitempty"` // bytes to check at the start; at least 1
	SampleUp   uint64 `json:"sample_up,omitempty"`   // the same of an upload
	Check      bool   `json:"check,omitempty"`       // check every byte of exchanges

	Up      uint64        `json:"up,omitempty"`   // bytes of a request
	Down    uint64        `json:"down,omitempty"` // bytes of its reply
	Think   time.Duration `json:"think,omitempty"`
	Record  int           `json:"record,omitempty"`  // payload of the longest record written; 0 is 2,878 (protocol.md 2.3)
	Receive int           `json:"receive,omitempty"` // SO_RCVBUF; 0 leaves it to the kernel
}

// Opened answers "open".
type Opened struct {
	Named
	Took time.Duration `json:"took"`
}

// Move is the argument of "move", answered when every client has moved so many bytes, checked.
type Move struct {
	Up   uint64 `json:"up"`
	Down uint64 `json:"down"`
}

// Stats answers "stats". Counts since the group was opened.
type Stats struct {
	Ready     int              `json:"ready"`
	Failed    int              `json:"failed"`
	Sessions  uint64           `json:"sessions"`  // begun and proved with a byte from the far side
	Wire      uint64           `json:"wire"`      // bytes received
	Sent      uint64           `json:"sent"`      // bytes sent by sinks
	Exchanges uint64           `json:"exchanges"` // replies received whole
	Wrong     uint64           `json:"wrong"`     // bytes or records that were not what they should be
	LastError string           `json:"last_error,omitempty"`
	Latency   figure.Histogram `json:"latency"` // of exchanges, or of sessions to their first byte
}

// group is a Job at work.
type group struct {
	Job
	id       int
	secret   client.Secret
	hellos   [][]byte
	records  int // file of upload records, -1 until needed
	length   int // of it
	stats    Stats
	opening  *remote.Call
	began    time.Time
	moving   *remote.Call
	unmoved  int
	started  int // clients begun
	inFlight int // of them, not yet ready
	closed   bool
	running  bool
}

func (l *load) open(c *remote.Call) error {
	g := &group{opening: c, began: l.now, records: -1}
	if err := json.Unmarshal(c.Args, &g.Job); err != nil {
		return err
	}
	if g.Kind == FakeTLS {
		var err error
		if g.secret, err = client.ParseSecret(g.Secret); err != nil {
			return err
		}
	}
	if g.Ramp == 0 {
		g.Ramp = 64
	}
	if g.Record == 0 {
		g.Record = 2878
	}
	g.SampleDown = max(g.SampleDown, 1)
	if g.Mode == Exchange && g.Up == 0 {
		return errors.New("an exchange needs a request")
	}
	g.prepare()
	g.id = len(l.groups)
	l.groups = append(l.groups, g)
	if g.Mode == Sessions {
		g.opened(l.now)
	}
	l.begin(g)
	return nil
}

// prepare makes the hellos that each client only signs.
func (g *group) prepare() {
	if g.Kind != FakeTLS && g.Kind != Stranger {
		return
	}
	for range 32 {
		host := g.secret.Host
		if host == "" {
			host = "example.org"
		}
		g.hellos = append(g.hellos, client.Hello{Host: host, Hybrid: g.Hybrid}.Foreign())
	}
}

func (g *group) opened(now time.Time) {
	if g.opening != nil {
		g.opening.Reply(Opened{Named{g.id}, now.Sub(g.began)})
		g.opening = nil
	}
}

// begin starts clients up to the ramp's limit.
func (l *load) begin(g *group) {
	for !g.closed && g.inFlight < g.Ramp && (g.started < g.Conns || g.Mode == Sessions && g.inFlight < g.Conns) {
		if err := l.dial(g); err != nil {
			g.failed(err)
			if g.opening != nil {
				g.opening.Fail(err)
				g.opening = nil
			}
			return
		}
	}
}

func (g *group) failed(err error) {
	g.stats.Failed++
	g.stats.LastError = err.Error()
}

// readied counts a client whose sample was right.
func (l *load) readied(c *conn) {
	g := c.group
	g.inFlight--
	g.stats.Sessions++
	g.stats.Latency.Add(l.now.Sub(c.since))
	if g.Mode == Sessions {
		l.close(c)
		if g.Think > 0 {
			heap.Push(&l.timers, timer{at: l.now.Add(l.think(g.Think)), group: g})
			return
		}
		l.begin(g)
		return
	}
	c.phase = ready
	g.stats.Ready++
	if g.running {
		l.runConn(c)
	}
	l.begin(g)
	if g.stats.Ready == g.Conns {
		g.stats.Latency = figure.Histogram{}
		g.opened(l.now)
	}
}

// lost ends a client that should have gone on.
func (l *load) lost(c *conn, err error) {
	g := c.group
	early := c.phase < ready
	l.close(c)
	if g.closed {
		return
	}
	g.failed(fmt.Errorf("%s client, %s: %w", g.Kind, c.phase, err))
	if g.moving != nil {
		g.moving.Fail(errors.New(g.stats.LastError))
		g.moving = nil
	}
	if !early {
		return
	}
	g.inFlight--
	switch {
	case g.opening != nil:
		g.opening.Fail(errors.New(g.stats.LastError))
		g.opening = nil
		g.closed = true
	case g.stats.Failed < 1000:
		l.begin(g)
	}
}

// wrong ends a client that was sent what it should not have been.
func (l *load) wrong(c *conn, format string, args ...any) {
	c.group.stats.Wrong++
	l.lost(c, fmt.Errorf(format, args...))
}

func (l *load) each(g *group, f func(*conn)) {
	for _, c := range l.conns {
		if c != nil && c.group == g {
			f(c)
		}
	}
}

func (l *load) runGroup(g *group) {
	g.running = true
	l.each(g, func(c *conn) {
		if c.phase == ready {
			l.runConn(c)
		}
	})
}

func (l *load) moveGroup(g *group, m Move, call *remote.Call) error {
	if g.moving != nil {
		return errors.New("a move is under way")
	}
	g.moving, g.unmoved = call, 0
	l.each(g, func(c *conn) {
		if c.phase == ready {
			c.phase, c.moveUp = moveDown, m.Up
			g.unmoved++
		}
	})
	if g.unmoved == 0 {
		g.moving = nil
		return errors.New("no client is ready")
	}
	l.each(g, func(c *conn) {
		if c.phase == moveDown {
			l.ask(c, task.Task{Op: task.Down, Down: max(m.Down, 1)})
		}
	})
	return nil
}

// moved counts a client that has moved its bytes.
func (l *load) moved(c *conn) {
	c.phase = ready
	g := c.group
	if g.unmoved--; g.unmoved == 0 && g.moving != nil {
		g.moving.Reply(struct{}{})
		g.moving = nil
	}
}

func (l *load) closeGroup(g *group) {
	g.closed = true
	l.each(g, l.close)
	if g.records >= 0 {
		poll.Close(g.records)
		g.records = -1
	}
}

// uploads makes the file that sinks send over and over: whole records for FakeTLS.
func (g *group) uploads() error {
	if g.records >= 0 {
		return nil
	}
	var b []byte
	var r rand.ChaCha8
	payload := make([]byte, g.Record)
	for len(b) < 2<<20 {
		_, _ = r.Read(payload)
		if g.Kind == FakeTLS {
			b = appendHeader(b, len(payload))
		}
		b = append(b, payload...)
	}
	var err error
	g.records, err = poll.Memory("load", b)
	g.length = len(b)
	return err
}
