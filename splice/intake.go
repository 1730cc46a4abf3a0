package splice

import (
	"golang.org/x/sys/unix"
)

// ID names a relay that was added without a client.
type ID uint64

type verb uint8

const (
	add verb = iota
	feed
	adopt
	drop
	abort
	stop
)

// keptOrders bounds the memory that a burst of orders leaves behind.
const keptOrders = 128

// order is what another goroutine asks of the loop.
type order struct {
	verb   verb
	id     uint64
	relay  Relay
	client int
	early  []byte
}

// Add hands a relay to the loop. On error the caller still owns the client's descriptor; on success the loop closes it, and
// whatever it opens, exactly once. The ID is only of use for a relay added without a client.
func (l *Loop) Add(r Relay) (ID, error) {
	o := order{verb: add, relay: r}
	err := l.order(&o)
	return ID(o.id), err
}

// Feed gives more of what the client said to a relay without a client. The loop keeps b.
func (l *Loop) Feed(id ID, b []byte) {
	_ = l.order(&order{verb: feed, id: uint64(id), early: b})
}

// Adopt brings a relay the client it was added without. Ownership of the descriptor is as with Add. When the upstream could
// not be reached in the meantime the client is closed.
func (l *Loop) Adopt(id ID, client int, early []byte) error {
	return l.order(&order{verb: adopt, id: uint64(id), client: client, early: early})
}

// Drop ends a relay without a client: its upstream is closed as if the client had gone.
func (l *Loop) Drop(id ID) { _ = l.order(&order{verb: drop, id: uint64(id)}) }

// Abort does the same as if the client had been reset: its upstream hears of that.
func (l *Loop) Abort(id ID) { _ = l.order(&order{verb: abort, id: uint64(id)}) }

// Close ends the loop and every relay in it; Run returns soon after. Calling it again does nothing.
func (l *Loop) Close() { _ = l.order(&order{verb: stop}) }

// Poke has the loop turn once, though there be nothing to do: who watches its turns sees from it that it lives.
func (l *Loop) Poke() {
	l.intake.Lock()
	defer l.intake.Unlock()
	if !l.intake.closed {
		l.wake()
	}
}

// wake has the loop look at its intake. The caller holds the lock: once the loop has seen a stop, the descriptor is closed.
func (l *Loop) wake() {
	if q := &l.intake; !q.poked {
		q.poked = true
		one := [8]byte{1}
		_, _ = unix.Write(q.event, one[:])
	}
}

func (l *Loop) order(o *order) error {
	q := &l.intake
	q.Lock()
	if q.closed {
		q.Unlock()
		return ErrClosed
	}
	if o.verb == add && o.relay.Client < 0 {
		q.id++
		o.id = q.id
	}
	q.closed = o.verb == stop
	q.orders = append(q.orders, *o)
	l.wake()
	q.Unlock()
	return nil
}

func (l *Loop) drainWake() {
	var b [8]byte
	_, _ = sysRead(int32(l.intake.event), b[:])
}

// takeOrders carries out what has been asked since the last turn, in the order it was asked.
func (l *Loop) takeOrders() {
	l.intake.Lock()
	l.intake.poked = false
	l.taken, l.intake.orders = l.intake.orders, l.taken[:0]
	l.intake.Unlock()
	for i := range l.taken {
		l.carryOut(&l.taken[i])
		l.taken[i] = order{}
	}
	if cap(l.taken) > keptOrders {
		l.taken = nil
	}
}

func (l *Loop) carryOut(o *order) {
	switch o.verb {
	case add:
		l.begin(&o.relay, o.id)
	case feed:
		if r := l.shadows[o.id]; r != nil {
			l.feed(r, o.early)
		}
	case adopt:
		if r := l.shadows[o.id]; r != nil {
			l.adopt(r, o)
			return
		}
		sysClose(int32(o.client)) // its upstream is gone
	case drop:
		if r := l.shadows[o.id]; r != nil {
			l.drop(r)
		}
	case abort:
		if r := l.shadows[o.id]; r != nil {
			l.abort(r)
		}
	case stop:
		l.over = true
	}
}

// begin makes a relay of a request and dials its first address.
func (l *Loop) begin(q *Relay, id uint64) {
	r := l.slab.take()
	defer l.contain(r)
	r.state, r.mode, r.lane, r.owner, r.id = dialing, q.Mode, q.Lane, q.Owner, id
	r.started, r.active = l.now, l.now
	r.side[client].fd = int32(q.Client)
	r.dial = &dial{addrs: q.Addrs, path: q.Path, preface: q.Preface, early: q.Early}
	r.crypts(q)
	l.stats.Relays[r.mode.kind()].Add(1)
	if id != 0 {
		l.shadows[id] = r
		l.stats.Shadows.Add(1)
	} else if !l.welcome(r) {
		return
	}
	l.dialNext(r)
}

// welcome prepares the client's socket and registers it. A client that cannot be registered is gone.
func (l *Loop) welcome(r *relay) bool {
	fd := r.side[client].fd
	sysSetInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	sysSetInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSentLimit)
	if r.mode == Raw { // few web servers send any, and who waits long enough would see them
		sysSetInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0)
	}
	if l.register(r, client) != 0 {
		l.end(r, Exhausted)
		return false
	}
	return true
}

// feed queues client bytes for the upstream of a relay without a client.
func (l *Loop) feed(r *relay, b []byte) {
	defer l.contain(r)
	if r.dial != nil {
		r.dial.early = append(r.dial.early, b...)
		return
	}
	l.count(r, up, len(b), Copied)
	l.appendRest(r, up, b)
	l.enqueue(r)
}

// abort resets the upstream of a relay without a client, once what was fed has left.
func (l *Loop) abort(r *relay) {
	defer l.contain(r)
	if r.state != open {
		l.end(r, ClientReset)
		return
	}
	l.fail(r, client)
}

// adopt makes an ordinary relay of one without a client.
func (l *Loop) adopt(r *relay, o *order) {
	defer l.contain(r)
	delete(l.shadows, r.id)
	l.stats.Shadows.Add(-1)
	r.id = 0
	r.side[client].fd = int32(o.client)
	if r.state == dialing && r.deadline == 0 { // no address answered
		l.end(r, r.cause)
		return
	}
	l.feed(r, o.early)
	if l.welcome(r) {
		l.enqueue(r)
	}
}

// stepShadow sends what has been fed and reports the upstream's first sign of life, which stays unread in the kernel.
func (l *Loop) stepShadow(r *relay) {
	l.flush(r, up)
	if r.side[upstream].has(canRead) {
		l.announce(r, true)
	}
}

func (l *Loop) announce(r *relay, reached bool) {
	if !r.spoke {
		r.spoke = true
		r.owner.Spoke(reached)
	}
}
