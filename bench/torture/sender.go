package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"sluice/bench/poll"
	"sluice/bench/remote"
)

// senderWord is the first argument of the program when it is to send floods.
const senderWord = "sender"

// salvo is an order for a flood: so many connections a second, for a span or up to a number.
type salvo struct {
	To    netip.AddrPort `json:"to"`
	Kind  kind           `json:"kind"`
	Seed  uint64         `json:"seed,omitempty"`
	Rate  int            `json:"rate"`
	Span  time.Duration  `json:"span"`
	Count int            `json:"count,omitempty"` // 0: as many as the span has room for
}

// over says whether it has been carried out.
func (o salvo) over(sent int, since time.Duration) bool {
	return since >= o.Span || o.Count > 0 && sent >= o.Count
}

// hits is what has become of it.
type hits struct {
	Sent     int           `json:"sent"`
	Answered int           `json:"answered"`
	Took     time.Duration `json:"took"`
}

const (
	beat       = time.Millisecond
	lateAtMost = 10 * time.Millisecond // what the sender comes later with than that is not sent: it would be a burst of its own making
	openAtMost = 4096
	answerTime = 2 * time.Second
)

// shot is a connection on its way.
type shot struct {
	fd      int    // -1: a free place
	say     []byte // not sent yet
	parting parting
	since   time.Time
}

// sender sends floods from one thread, as cheaply as it can be done by system calls: on a machine that it shares with the proxy, whatever it
// costs is missing there. One goroutine.
type sender struct {
	poller *poll.Poller
	source source
	shots  []shot
	free   []int
	places uint32 // that it has dialled from
	hits   hits
	buf    [4096]byte
}

// serveSender sends floods as it is told until in ends.
func serveSender(in io.Reader, out io.Writer) error {
	runtime.LockOSThread()
	calls, err := remote.Serve(in, out)
	if err != nil {
		return err
	}
	p, err := poll.New()
	if err != nil {
		return err
	}
	s := &sender{poller: p}
	for {
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(calls.FD()), Events: unix.POLLIN}}, -1); err != nil && err != unix.EINTR {
			return err
		}
		list, ended := calls.Take()
		for _, c := range list {
			s.obey(c)
		}
		if ended {
			return nil
		}
	}
}

// obey carries out an order that was sent, and answers it.
func (s *sender) obey(c *remote.Call) {
	var o salvo
	err := json.Unmarshal(c.Args, &o)
	if err == nil {
		err = s.send(o)
	}
	if err != nil {
		c.Fail(err)
		return
	}
	c.Reply(s.hits)
}

// send carries out an order.
func (s *sender) send(o salvo) (err error) {
	if s.source, err = newSource(o.Kind, o.Seed); err != nil {
		return err
	}
	s.hits = hits{}
	defer s.recall()
	began, look := time.Now(), time.Now()
	gap, next := time.Second/time.Duration(o.Rate), began
	for now := began; !o.over(s.hits.Sent, now.Sub(began)); now = time.Now() {
		if now.Sub(next) > lateAtMost {
			next = now.Add(-lateAtMost)
		}
		for ; !next.After(now) && s.open() < openAtMost && !o.over(s.hits.Sent, 0); next = next.Add(gap) {
			if err := s.shoot(o.To, now); err != nil {
				return err
			}
		}
		if now.Sub(look) > answerTime/10 {
			s.forget(now)
			look = now
		}
		if err := s.listen(); err != nil {
			return err
		}
	}
	s.hits.Took = time.Since(began)
	for end := time.Now().Add(answerTime); s.open() > 0 && time.Now().Before(end); { // the last ones
		if err := s.listen(); err != nil {
			return err
		}
	}
	return nil
}

// open is how many are on their way.
func (s *sender) open() int { return len(s.shots) - len(s.free) }

// shoot connects and speaks. On loopback the connection stands when connect returns, unless the backlog is full.
func (s *sender) shoot(to netip.AddrPort, now time.Time) error {
	fd, err := s.dial(to)
	if err != nil {
		return err
	}
	s.hits.Sent++
	i := s.place()
	say, p := s.source(now)
	s.shots[i] = shot{fd: fd, parting: p, since: now}
	if s.say(i, say) {
		return nil
	}
	s.shots[i].say = append([]byte(nil), say...)
	return s.poller.Add(fd, poll.Out, uint64(i))
}

// dial begins to connect, from an address and a port that it has not used for long.
func (s *sender) dial(to netip.AddrPort) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	err = unix.EADDRINUSE // outside of a namespace of its own somebody else may have it
	for tries := 0; err == unix.EADDRINUSE && tries < 10; tries++ {
		s.places++
		n := s.places
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: int(10_000 + (n+n/200)%20_000), Addr: [4]byte{127, 0, 2, byte(1 + n%200)}})
	}
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	}
	if err != nil && err != unix.EINPROGRESS {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("connect to %v: %w", to, err)
	}
	return fd, nil
}

func (s *sender) place() int {
	if n := len(s.free); n > 0 {
		i := s.free[n-1]
		s.free = s.free[:n-1]
		return i
	}
	s.shots = append(s.shots, shot{})
	return len(s.shots) - 1
}

// say speaks for a shot if the kernel takes it, and leaves or waits as its manner is.
func (s *sender) say(i int, b []byte) bool {
	x := &s.shots[i]
	if n, e := poll.Send(x.fd, b); e != 0 || n < len(b) {
		return false
	}
	queued := x.say != nil
	x.say = nil
	switch x.parting {
	case hasty:
		s.reset(i)
		return true
	case halfClosed:
		_ = unix.Shutdown(x.fd, unix.SHUT_WR)
	}
	if queued {
		return s.poller.Change(x.fd, poll.In, uint64(i)) == nil
	}
	return s.poller.Add(x.fd, poll.In, uint64(i)) == nil
}

// listen takes what has happened within a beat.
func (s *sender) listen() error {
	events, err := s.poller.Wait(beat)
	for _, e := range events {
		s.event(int(e.Token), e.Mask)
	}
	return err
}

// event sends what could not be sent at once, or hears the answer.
func (s *sender) event(i int, mask uint32) {
	x := &s.shots[i]
	if x.say != nil && mask&(poll.Err|poll.Hup) == 0 {
		s.say(i, x.say)
		return
	}
	n, e := poll.Recv(x.fd, s.buf[:])
	if e == unix.EAGAIN {
		return
	}
	if e == 0 && n > 0 {
		s.hits.Answered++
	}
	s.reset(i)
}

// reset ends a shot at once, and leaves nothing of it in the kernel.
func (s *sender) reset(i int) {
	fd := s.shots[i].fd
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	poll.Close(fd)
	s.shots[i] = shot{fd: -1}
	s.free = append(s.free, i)
}

// forget gives up those that have heard nothing for long.
func (s *sender) forget(now time.Time) {
	for i := range s.shots {
		if x := &s.shots[i]; x.fd >= 0 && now.Sub(x.since) > answerTime {
			s.reset(i)
		}
	}
}

// recall resets all that are on their way.
func (s *sender) recall() {
	for i := range s.shots {
		if s.shots[i].fd >= 0 {
			s.reset(i)
		}
	}
}
