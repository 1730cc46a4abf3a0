package stand

import (
	"net"
	"sync"
)

// Plain is a front without TLS that serves requests in the clear: for tests of the way to the front itself.
type Plain struct {
	*server
	closing chan struct{}
	once    sync.Once
}

// ListenPlain starts a plain front at addr.
func ListenPlain(addr string) (*Plain, error) {
	p := &Plain{closing: make(chan struct{})}
	s, err := listen(addr, func(c *net.TCPConn) {
		w := worker{conn: c, rw: c, closing: p.closing}
		w.serve()
	})
	if err != nil {
		return nil, err
	}
	p.server = s
	return p, nil
}

// Close ends the front and every connection to it.
func (p *Plain) Close() {
	p.once.Do(func() { close(p.closing) })
	p.server.Close()
}
