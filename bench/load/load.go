// Package load is a crowd of clients in one thread: FakeTLS and obfuscated2 (protocol.md 2 and 3), a data centre's own clients
// for relays without a protocol, and strangers who are sent to the front. Each looks at the first bytes of its session (or at all
// of them) and then becomes a sink that costs next to nothing. It is a process of its own, driven over remote.
package load

import (
	"container/heap"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"time"

	"sluice/bench/poll"
	"sluice/bench/remote"
)

// load is the process. One goroutine.
type load struct {
	poller *poll.Poller
	calls  *remote.Calls
	rnd    *rand.ChaCha8
	groups []*group
	conns  []*conn
	free   []int
	timers timers
	buf    []byte
	made   []byte
	now    time.Time
}

const (
	callsToken = 1 << 62
	bufLen     = 512 << 10
	drain      = 4 << 20 // a blind sink takes up to so much at a time
)

// Serve runs the clients until in ends.
func Serve(in io.Reader, out io.Writer) error {
	runtime.LockOSThread()
	l := &load{buf: make([]byte, bufLen), rnd: seeded()}
	var err error
	if l.poller, err = poll.New(); err != nil {
		return err
	}
	if l.calls, err = remote.Serve(in, out); err != nil {
		return err
	}
	if err := l.poller.Add(l.calls.FD(), poll.In, callsToken); err != nil {
		return err
	}
	for {
		events, err := l.poller.Wait(l.untilTimer())
		if err != nil {
			return err
		}
		l.now = time.Now()
		for _, e := range events {
			if e.Token != callsToken {
				l.event(e)
			} else if ended := l.serveCalls(); ended {
				return nil
			}
		}
		l.runTimers()
	}
}

func seeded() *rand.ChaCha8 {
	var seed [32]byte
	copy(seed[:], fmt.Sprint(os.Getpid(), time.Now().UnixNano()))
	return rand.NewChaCha8(seed)
}

func (l *load) serveCalls() (ended bool) {
	calls, ended := l.calls.Take()
	for _, c := range calls {
		if err := l.serveCall(c); err != nil {
			c.Fail(err)
		}
	}
	return ended
}

// Named says which group a call is about: the number that "open" was answered with.
type Named struct {
	Group int `json:"group"`
}

// serveCall answers a call, or keeps it until there is an answer. An error is the answer.
func (l *load) serveCall(c *remote.Call) error {
	if c.Name == "open" {
		return l.open(c)
	}
	var args struct {
		Named
		Move
	}
	if err := json.Unmarshal(c.Args, &args); err != nil {
		return err
	}
	if args.Group < 0 || args.Group >= len(l.groups) {
		return fmt.Errorf("no group %d", args.Group)
	}
	g := l.groups[args.Group]
	switch c.Name {
	case "run":
		l.runGroup(g)
		c.Reply(struct{}{})
	case "move":
		return l.moveGroup(g, args.Move, c)
	case "stats":
		c.Reply(g.stats)
	case "close":
		l.closeGroup(g)
		c.Reply(struct{}{})
	default:
		return fmt.Errorf("no such call")
	}
	return nil
}

// timer brings a connection back, or has a group begin another.
type timer struct {
	at    time.Time
	index int
	conn  *conn
	group *group
}

type timers []timer

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at.Before(t[j].at) }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *timers) Push(x any)        { *t = append(*t, x.(timer)) }
func (t *timers) Pop() any {
	old := *t
	last := old[len(old)-1]
	*t = old[:len(old)-1]
	return last
}

func (l *load) untilTimer() time.Duration {
	if len(l.timers) == 0 {
		return -1
	}
	return max(0, time.Until(l.timers[0].at))
}

func (l *load) runTimers() {
	for len(l.timers) > 0 && !l.timers[0].at.After(l.now) {
		t := heap.Pop(&l.timers).(timer)
		switch {
		case t.group != nil:
			l.begin(t.group)
		case l.conns[t.index] == t.conn:
			l.exchange(t.conn)
		}
	}
}

func (l *load) later(c *conn, after time.Duration) {
	heap.Push(&l.timers, timer{at: l.now.Add(after), index: c.index, conn: c})
}
