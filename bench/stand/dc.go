package stand

import (
	"io"
	"net"
	"net/netip"
	"sync"
)

// Session is what the data centre learns of a connection from its frame.
type Session struct {
	Tag  uint32 // as the client chose it (protocol.md 3.1)
	DC   int16  // signed, as it was sent
	Peer netip.AddrPort
	Wire [FrameLen]byte // the frame as it came over the wire
}

// DC is a data centre's stand-in: a TCP server that takes an obfuscated2 frame and then serves requests. Its methods may be
// called from any goroutine.
type DC struct {
	*server
	closing chan struct{}
	once    sync.Once

	mu       sync.Mutex
	sessions []Session
	receipts []Receipt
	bad      int
	changed  chan struct{}
}

// keptEvents bounds what a DC remembers of sessions and receipts.
const keptEvents = 1 << 16

// ListenDC starts a data centre at addr ("127.0.0.1:0").
func ListenDC(addr string) (*DC, error) {
	d := &DC{closing: make(chan struct{}), changed: make(chan struct{})}
	s, err := listen(addr, d.serve)
	if err != nil {
		return nil, err
	}
	d.server = s
	return d, nil
}

// Close ends the data centre and every connection to it.
func (d *DC) Close() {
	d.once.Do(func() { close(d.closing) })
	d.server.Close()
}

func (d *DC) serve(c *net.TCPConn) {
	var wire [FrameLen]byte
	if _, err := io.ReadFull(c, wire[:]); err != nil {
		return
	}
	f, err := parseServerFrame(wire)
	if err != nil {
		d.note(func() { d.bad++ })
		return
	}
	peer := c.RemoteAddr().(*net.TCPAddr).AddrPort()
	d.note(func() {
		if len(d.sessions) < keptEvents {
			d.sessions = append(d.sessions, Session{Tag: f.tag, DC: f.dc, Peer: peer, Wire: wire})
		}
	})
	w := worker{conn: c, rw: &streams{conn: c, in: f.in, out: f.out}, closing: d.closing, receipt: func(r Receipt) {
		d.note(func() {
			if len(d.receipts) < keptEvents {
				d.receipts = append(d.receipts, r)
			}
		})
	}}
	w.serve()
}

// note changes the record and wakes who waits for it.
func (d *DC) note(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
	close(d.changed)
	d.changed = make(chan struct{})
}

// Sessions are those that have come so far, oldest first.
func (d *DC) Sessions() []Session {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]Session(nil), d.sessions...)
}

// BadFrames is how many connections began with something that no data centre would take.
func (d *DC) BadFrames() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.bad
}

// Receipts are those of all Up, UpToEnd and Finish so far, with a channel that is closed when there may be more.
func (d *DC) Receipts() ([]Receipt, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]Receipt(nil), d.receipts...), d.changed
}
