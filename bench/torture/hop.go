package main

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// manner is how a hop treats what goes through it.
type manner int32

const (
	pass     manner = iota
	hold            // nothing moves, and nothing is lost
	drip            // a few hundred bytes at a time
	cut             // a reset in the middle of what comes from the far side
	mute            // connections are taken and never heard of again
	bytewise        // every byte is a segment of its own
)

// hop stands between the proxy and a stand-in and does to their connections what networks and machines do.
type hop struct {
	addr   netip.AddrPort
	target func() netip.AddrPort
	manner atomic.Int32
	// cutAfter is how many bytes come through before a cut.
	cutAfter int

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]bool
	ended    sync.WaitGroup
}

// newHop starts one at addr, towards target.
func newHop(addr string, target func() netip.AddrPort) (*hop, error) {
	h := &hop{target: target, cutAfter: 20_000, conns: map[net.Conn]bool{}}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	h.addr = l.Addr().(*net.TCPAddr).AddrPort()
	h.serve(l)
	return h, nil
}

func (h *hop) serve(l net.Listener) {
	h.mu.Lock()
	h.listener = l
	h.mu.Unlock()
	h.ended.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			h.ended.Go(func() { h.carry(c.(*net.TCPConn)) })
		}
	})
}

func (h *hop) set(m manner) { h.manner.Store(int32(m)) }

// shut refuses connections from now on, and resets those there are if told so.
func (h *hop) shut(reset bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	_ = h.listener.Close()
	if reset {
		for c := range h.conns {
			abort(c)
		}
	}
}

// open takes connections again.
func (h *hop) open() error {
	l, err := net.Listen("tcp", h.addr.String())
	if err == nil {
		h.serve(l)
	}
	return err
}

func (h *hop) close() {
	h.set(pass)
	h.shut(true)
	h.ended.Wait()
}

func (h *hop) keep(c net.Conn, here bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if here {
		h.conns[c] = true
	} else {
		delete(h.conns, c)
		_ = c.Close()
	}
}

func (h *hop) carry(near *net.TCPConn) {
	h.keep(near, true)
	defer h.keep(near, false)
	if manner(h.manner.Load()) == mute {
		_, _ = io.Copy(io.Discard, near)
		return
	}
	c, err := net.Dial("tcp", h.target().String())
	if err != nil {
		abort(near)
		return
	}
	far := c.(*net.TCPConn)
	h.keep(far, true)
	defer h.keep(far, false)
	var both sync.WaitGroup
	both.Go(func() { h.pump(far, near, false) })
	both.Go(func() { h.pump(near, far, true) })
	both.Wait()
}

// pump moves one direction, piece by piece, in the manner of the moment.
func (h *hop) pump(to, from *net.TCPConn, down bool) {
	buffer, moved := make([]byte, 32<<10), 0
	for {
		n, err := from.Read(buffer)
		for b := buffer[:n]; len(b) > 0; {
			m, piece := manner(h.manner.Load()), len(b)
			switch m {
			case hold:
				time.Sleep(5 * time.Millisecond)
				continue
			case drip:
				piece = min(piece, 700)
				time.Sleep(5 * time.Millisecond)
			case bytewise:
				piece = 1
			case cut:
				if down && moved+piece > h.cutAfter {
					_, _ = to.Write(b[:max(h.cutAfter-moved, 0)])
					abort(to)
					abort(from)
					return
				}
				moved += piece
			}
			if _, err := to.Write(b[:piece]); err != nil {
				abort(from)
				return
			}
			b = b[piece:]
		}
		if err == io.EOF {
			_ = to.CloseWrite()
			return
		}
		if err != nil {
			abort(to)
			return
		}
	}
}

// abort resets a connection.
func abort(c net.Conn) {
	if t, ok := c.(interface{ SetLinger(int) error }); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}
