package splice

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// dial is what a relay needs only until its upstream has answered.
type dial struct {
	addrs   []netip.AddrPort
	path    string // of a unix socket, instead of addrs
	next    int    // the address to try next; next-1 is the one being tried
	started int64
	preface []byte
	early   []byte
}

// dialNext starts to connect to the next address. A relay whose addresses are used up ends.
func (l *Loop) dialNext(r *relay) {
	d := r.dial
	for d.next < d.count() {
		i := d.next
		d.next++
		d.started = l.clock()
		err := l.try(r)
		if err == 0 {
			return
		}
		l.dialFailed(r, i, err)
		if err == unix.EMFILE || err == unix.ENFILE || err == unix.ENOMEM {
			l.giveUp(r, Exhausted)
			return
		}
	}
	l.giveUp(r, DialFailed)
}

// busyPause is how long a relay waits before it asks again at a unix socket that has no room in its backlog.
const busyPause = 100 * time.Millisecond

// try connects to the address whose turn it is; 0 means that this is under way or done. A unix socket whose backlog is full is asked again
// until the time to dial is over: a TCP connect waits there, too.
func (l *Loop) try(r *relay) unix.Errno {
	d := r.dial
	err, deadline := l.connect(r, d.at(d.next-1)), d.started+int64(l.cfg.Dial)
	if err == unix.EAGAIN && d.path != "" {
		if l.now >= deadline {
			return unix.ETIMEDOUT
		}
		l.closeUpstream(r)
		err, deadline = 0, min(deadline, l.now+int64(busyPause))
	}
	if err == 0 {
		r.deadline = deadline
		l.watch(r)
	}
	return err
}

// dialLate acts when the time to dial, or to wait for room, is over.
func (l *Loop) dialLate(r *relay) {
	err := unix.ETIMEDOUT
	if r.side[upstream].fd < 0 {
		if err = l.try(r); err == 0 {
			return
		}
	}
	l.dialFailed(r, r.dial.next-1, err)
	l.dialNext(r)
}

// giveUp ends a relay that has no upstream. One without a client stays for its owner to hear of it and to drop or adopt it.
func (l *Loop) giveUp(r *relay, c Cause) {
	if r.id == 0 {
		l.end(r, c)
		return
	}
	r.deadline, r.cause = 0, c
	l.announce(r, false)
}

func (l *Loop) dialFailed(r *relay, i int, err unix.Errno) {
	l.closeUpstream(r)
	r.owner.Dialed(r.dial.addr(i), err, time.Duration(l.clock()-r.dial.started))
}

func (l *Loop) closeUpstream(r *relay) {
	if s := &r.side[upstream]; s.fd >= 0 {
		sysClose(s.fd)
		*s = side{fd: -1}
	}
}

// connect opens a non-blocking socket and starts its connect; 0 means that it is under way or done.
func (l *Loop) connect(r *relay, sa unix.Sockaddr) unix.Errno {
	family := familyOf(sa)
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err.(unix.Errno)
	}
	r.side[upstream] = side{fd: int32(fd)}
	if family != unix.AF_UNIX {
		l.tuneUpstream(int32(fd))
	}
	if err = unix.Connect(fd, sa); err != nil && err != unix.EINPROGRESS {
		return err.(unix.Errno)
	}
	return l.register(r, upstream)
}

// tuneUpstream: no delay, and dead peers are noticed before a load balancer or a NAT forgets the connection.
func (l *Loop) tuneUpstream(fd int32) {
	sysSetInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if l.cfg.NoKeepAlive {
		return
	}
	sysSetInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	sysSetInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int32(l.cfg.KeepAlive/time.Second))
	sysSetInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int32(KeepAliveAgain(l.cfg.KeepAlive)/time.Second))
	sysSetInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, KeepAliveCount)
}

// KeepAliveCount is how many keep-alives in a row go without an answer before a connection is given up.
const KeepAliveCount = 4

// KeepAliveAgain is the time from one keep-alive without an answer to the next, where the first is sent after idle.
func KeepAliveAgain(idle time.Duration) time.Duration { return min(20*time.Second, idle) }

// count is the number of addresses there are to try.
func (d *dial) count() int {
	if d.path != "" {
		return 1
	}
	return len(d.addrs)
}

// addr is the i-th address as the owner knows it.
func (d *dial) addr(i int) netip.AddrPort {
	if d.path != "" {
		return netip.AddrPort{}
	}
	return d.addrs[i]
}

// at is the same as the kernel knows it.
func (d *dial) at(i int) unix.Sockaddr {
	if d.path != "" {
		return &unix.SockaddrUnix{Name: d.path}
	}
	ip, port := d.addrs[i].Addr().Unmap(), int(d.addrs[i].Port())
	if ip.Is4() {
		return &unix.SockaddrInet4{Port: port, Addr: ip.As4()}
	}
	return &unix.SockaddrInet6{Port: port, Addr: ip.As16()}
}

func familyOf(sa unix.Sockaddr) int {
	switch sa.(type) {
	case *unix.SockaddrUnix:
		return unix.AF_UNIX
	case *unix.SockaddrInet4:
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// stepDial looks how the connect under way has ended, if it has. A client that was reset meanwhile takes the dial with it.
func (l *Loop) stepDial(r *relay) {
	if r.side[client].has(broken) {
		l.end(r, ClientReset)
		return
	}
	s := &r.side[upstream]
	if !s.has(canWrite) || s.fd < 0 {
		return
	}
	d := r.dial
	err := sysSocketError(s.fd)
	if err == unix.ECONNRESET || err == unix.EPIPE {
		// A reset before the connection stood is ECONNREFUSED. This one came after, faster than we looked: no failed dial,
		// for what was sent before it is still to be read. Asking has cleared the error, so it must be remembered.
		s.set(broken | hung | canRead)
	} else if err != 0 {
		l.dialFailed(r, d.next-1, err)
		l.dialNext(r)
		return
	}
	r.owner.Dialed(d.addr(d.next-1), nil, time.Duration(l.clock()-d.started))
	l.opened(r)
}

// opened begins the relay proper: what goes first to the upstream is put together, so that it leaves in one segment.
func (l *Loop) opened(r *relay) {
	d := r.dial
	r.dial = nil
	r.state, r.deadline, r.active = open, 0, l.now
	l.watch(r)
	early, ok := d.early, true
	if r.mode == Raw {
		l.count(r, up, len(early), Copied)
	} else {
		early, ok = l.decode(r, early)
	}
	if !ok {
		l.end(r, ClientProtocol)
		return
	}
	l.appendRest(r, up, append(d.preface, early...))
	l.step(r)
}
