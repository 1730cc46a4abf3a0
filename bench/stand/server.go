package stand

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// server accepts TCP connections and runs a handler for each. Closing it closes every connection and waits for the handlers.
type server struct {
	listener *net.TCPListener
	handle   func(*net.TCPConn)
	handlers sync.WaitGroup
	accepted atomic.Int64

	mu     sync.Mutex
	conns  map[*net.TCPConn]struct{}
	closed bool
}

func listen(addr string, handle func(*net.TCPConn)) (*server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("stand-in: %w", err)
	}
	s := &server{listener: l.(*net.TCPListener), handle: handle, conns: map[*net.TCPConn]struct{}{}}
	s.handlers.Go(s.accept)
	return s, nil
}

func (s *server) accept() {
	for {
		c, err := s.listener.AcceptTCP()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		if !s.enter(c) {
			_ = c.Close()
			return
		}
		s.accepted.Add(1)
		s.handlers.Go(func() {
			defer s.leave(c)
			s.handle(c)
		})
	}
}

func (s *server) enter(c *net.TCPConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.conns[c] = struct{}{}
	}
	return !s.closed
}

func (s *server) leave(c *net.TCPConn) {
	_ = c.Close()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

// Addr is where the stand-in listens.
func (s *server) Addr() netip.AddrPort {
	p := s.listener.Addr().(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// Accepted is how many connections have come so far.
func (s *server) Accepted() int { return int(s.accepted.Load()) }

// Open is how many connections are open now.
func (s *server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Sever closes every connection and goes on listening.
func (s *server) Sever() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
}

// Close stops listening, closes every connection and waits until their handlers have ended. It may be called again.
func (s *server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	_ = s.listener.Close()
	s.Sever()
	s.handlers.Wait()
}
