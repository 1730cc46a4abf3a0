// Package far is the far side of a proxy under load: data centres that speak obfuscated2 in clear TCP (protocol.md 3.2), the
// web site that refused connections are sent to, and a greeter for relays without a protocol. One thread, made to cost far
// less than any proxy: blind sources are sendfile from memory, blind sinks never copy. It is a process of its own, driven
// over remote.
package far

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"runtime"

	"golang.org/x/sys/unix"

	"sluice/bench/poll"
	"sluice/bench/remote"
	"sluice/bench/task"
)

// Addresses are where the stand-ins listen; as the argument of "listen", where they shall: port 0 is the kernel's choice.
type Addresses struct {
	DC    []netip.AddrPort `json:"dc"`    // data centres
	Front netip.AddrPort   `json:"front"` // the web site: a hello, FlightLen bytes in answer, then tasks in the clear
	Greet []netip.AddrPort `json:"greet"` // say one byte to whoever connects
}

// FlightLen is the length of the site's answer to a hello: bytes of the pattern with seed 0.
const FlightLen = 2048

// Settings of the "set" call, for connections accepted from then on.
type Settings struct {
	SendBuffer int `json:"send_buffer"` // SO_SNDBUF in bytes; 0 leaves it to the kernel
}

// Stats is the answer to "stats". Counts since the start.
type Stats struct {
	Accepted uint64 `json:"accepted"`
	Open     int    `json:"open"`
	In       uint64 `json:"in"`  // bytes received in tasks
	Out      uint64 `json:"out"` // bytes sent
	Bad      uint64 `json:"bad"` // frames, tasks or bytes that were wrong
	LastBad  string `json:"last_bad,omitempty"`
}

type role uint8

const (
	roleDC role = iota
	roleFront
	roleGreet
)

type listener struct {
	fd   int
	role role
}

// far is the process. One goroutine.
type far struct {
	poller    *poll.Poller
	calls     *remote.Calls
	listeners []listener
	conns     []*conn
	free      []int
	memory    int // a file of memoryLen bytes
	buf       []byte
	stats     Stats
	settings  Settings
}

// Tokens above the connections' own.
const (
	callsToken    = 1 << 62
	listenerToken = 1 << 61

	memoryLen = 4 << 20
	bufLen    = 256 << 10
	turn      = 1 << 20 // bytes a connection may move before the others have their turn
)

// Serve runs the far side until in ends.
func Serve(in io.Reader, out io.Writer) error {
	runtime.LockOSThread()
	f := &far{buf: make([]byte, bufLen)}
	content := make([]byte, memoryLen)
	task.Fill(content, 0, 0)
	var err error
	if f.memory, err = poll.Memory("far", content); err != nil {
		return err
	}
	if f.poller, err = poll.New(); err != nil {
		return err
	}
	if f.calls, err = remote.Serve(in, out); err != nil {
		return err
	}
	if err := f.poller.Add(f.calls.FD(), poll.In, callsToken); err != nil {
		return err
	}
	for {
		events, err := f.poller.Wait(-1)
		if err != nil {
			return err
		}
		for _, e := range events {
			switch {
			case e.Token == callsToken:
				if ended := f.serveCalls(); ended {
					return nil
				}
			case e.Token >= listenerToken:
				f.accept(f.listeners[e.Token-listenerToken])
			default:
				f.event(e)
			}
		}
	}
}

func (f *far) serveCalls() (ended bool) {
	calls, ended := f.calls.Take()
	for _, c := range calls {
		switch c.Name {
		case "listen":
			var a Addresses
			err := json.Unmarshal(c.Args, &a)
			if err == nil {
				a, err = f.listen(a)
			}
			answer(c, a, err)
		case "set":
			answer(c, struct{}{}, json.Unmarshal(c.Args, &f.settings))
		case "stats":
			answer(c, f.stats, nil)
		case "close": // every connection
			for _, x := range f.conns {
				if x != nil {
					f.close(x)
				}
			}
			answer(c, struct{}{}, nil)
		default:
			c.Fail(fmt.Errorf("no such call"))
		}
	}
	return ended
}

func answer(c *remote.Call, value any, err error) {
	if err != nil {
		c.Fail(err)
		return
	}
	c.Reply(value)
}

func (f *far) listen(a Addresses) (Addresses, error) {
	for i := range a.DC {
		if err := f.listenAt(&a.DC[i], roleDC); err != nil {
			return a, err
		}
	}
	if err := f.listenAt(&a.Front, roleFront); err != nil {
		return a, err
	}
	for i := range a.Greet {
		if err := f.listenAt(&a.Greet[i], roleGreet); err != nil {
			return a, err
		}
	}
	return a, nil
}

func (f *far) listenAt(at *netip.AddrPort, r role) error {
	if !at.IsValid() {
		return nil
	}
	fd, got, err := poll.Listen(*at)
	if err != nil {
		return err
	}
	*at = got
	f.listeners = append(f.listeners, listener{fd, r})
	return f.poller.Add(fd, poll.In, listenerToken+uint64(len(f.listeners)-1))
}

func (f *far) accept(l listener) {
	for range 64 {
		fd, e := poll.Accept(l.fd)
		if e != 0 {
			return
		}
		f.stats.Accepted++
		f.stats.Open++
		poll.NoDelay(fd)
		if n := f.settings.SendBuffer; n > 0 {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, n)
		}
		c := &conn{fd: fd, role: l.role}
		c.begin()
		f.keep(c)
		if err := f.poller.Add(fd, poll.In, uint64(c.index)); err != nil {
			f.bad(c, err.Error())
			continue
		}
		if l.role == roleGreet {
			f.say(c, []byte{1})
		}
	}
}

func (f *far) keep(c *conn) {
	if n := len(f.free); n > 0 {
		c.index, f.free = f.free[n-1], f.free[:n-1]
		f.conns[c.index] = c
		return
	}
	c.index = len(f.conns)
	f.conns = append(f.conns, c)
}

func (f *far) close(c *conn) {
	if f.conns[c.index] != c {
		return
	}
	poll.Close(c.fd)
	f.conns[c.index] = nil
	f.free = append(f.free, c.index)
	f.stats.Open--
}

// bad counts what should not have come, and ends the connection.
func (f *far) bad(c *conn, why string) {
	f.stats.Bad++
	f.stats.LastBad = why
	f.close(c)
}
