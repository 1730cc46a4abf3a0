package admin

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// maxVisitors is how many connections there may be at a time: the descriptors of the process are for its clients. Who monitors needs a
// few, for a moment each.
const maxVisitors = 32

// crowd is a listener that holds a bounded number of connections. When one more comes, the oldest that is not being answered
// is closed: so nobody who holds places keeps others out. Its methods may be called by any goroutine.
type crowd struct {
	net.Listener
	limit int

	mu  sync.Mutex
	all []*visitor // oldest first
}

// visitor is a connection in a crowd.
type visitor struct {
	net.Conn
	crowd *crowd
	busy  atomic.Bool // its request is being answered
}

// Accept takes a connection and makes room for it; one for which there is none is closed.
func (c *crowd) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		v := &visitor{Conn: conn, crowd: c}
		leaving, entered := c.enter(v)
		if leaving != nil {
			_ = leaving.Close()
		}
		if entered {
			return v, nil
		}
		_ = conn.Close()
	}
}

// enter adds v and says who has to leave for it.
func (c *crowd) enter(v *visitor) (leaving *visitor, entered bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.all) >= c.limit {
		for _, o := range c.all {
			if !o.busy.Load() {
				leaving = o
				break
			}
		}
		if leaving == nil {
			return nil, false
		}
		c.remove(leaving)
	}
	c.all = append(c.all, v)
	return leaving, true
}

// remove forgets v, if it is still known. The caller holds the lock.
func (c *crowd) remove(v *visitor) {
	for i, o := range c.all {
		if o == v {
			c.all = append(c.all[:i], c.all[i+1:]...)
			return
		}
	}
}

// Close leaves the crowd.
func (v *visitor) Close() error {
	v.crowd.mu.Lock()
	v.crowd.remove(v)
	v.crowd.mu.Unlock()
	return v.Conn.Close()
}

// visitorKey is under which a request's context has its visitor.
type visitorKey struct{}

func withVisitor(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, visitorKey{}, c)
}

// attended marks a request's visitor as one that is being answered.
func attended(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if v, ok := q.Context().Value(visitorKey{}).(*visitor); ok {
			v.busy.Store(true)
			defer v.busy.Store(false)
		}
		h.ServeHTTP(w, q)
	})
}
