package mtproto

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/gotd/log"
	"github.com/gotd/td/crypto"
	"github.com/gotd/td/exchange"
	"github.com/gotd/td/mtproxy/obfuscated2"
	"github.com/gotd/td/proto/codec"
	"github.com/gotd/td/tgtest"
	"github.com/gotd/td/transport"
)

// datacentre is a Telegram data centre as an MTProxy reaches it: obfuscated2 on plain TCP, and one of gotd's servers behind it.
type datacentre struct {
	id  int
	key exchange.PrivateKey

	listener net.Listener
	clear    *inbound // to the server
	stop     context.CancelFunc
	running  sync.WaitGroup

	mu     sync.Mutex
	conns  []net.Conn
	counts frames
	faults []error
	closed bool
}

// frames is how many good frames have come for each of a data centre's two numbers: n, and -n for media. A proxy that loses the
// sign is found out by them.
type frames struct{ home, media int }

// startDatacentre runs data centre id at addr until the test ends. It must not have met anything wrong until then.
func startDatacentre(t *testing.T, id int, addr string, f *files, logger log.Logger) *datacentre {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, crypto.RSAKeyBits)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	d := &datacentre{
		id: id, key: tgtest.NewPrivateKey(key), listener: listener, clear: newInbound(listener.Addr()), stop: stop,
	}
	t.Cleanup(func() {
		d.close()
		for _, err := range d.faults {
			t.Errorf("data centre %d: %v", d.id, err)
		}
	})
	server := tgtest.NewServer(d.key, tgtest.UnpackInvoke(f.dispatcher(id)), tgtest.ServerOptions{DC: id, Logger: logger})
	d.running.Go(func() { d.fault(server.Serve(ctx, transport.Listen(d.clear))) })
	d.running.Go(d.accept)
	return d
}

// addr is where the data centre listens.
func (d *datacentre) addr() netip.AddrPort { return d.listener.Addr().(*net.TCPAddr).AddrPort() }

func (d *datacentre) accept() {
	for {
		c, err := d.listener.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				d.fault(err)
			}
			return
		}
		if !d.keep(c) {
			_ = c.Close()
			return
		}
		d.running.Go(func() {
			if err := d.greet(c); err != nil {
				d.fault(fmt.Errorf("connection from %v: %w", c.RemoteAddr(), err))
				_ = c.Close()
			}
		})
	}
}

// greet reads the frame and hands the clear side of the connection to the server.
func (d *datacentre) greet(c net.Conn) error {
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	clear, frame, err := obfuscated2.Accept(c, nil)
	if err != nil {
		return fmt.Errorf("frame: %w", err)
	}
	if frame.Protocol != codec.PaddedIntermediateClientStart {
		return fmt.Errorf("the frame's tag is %x", frame.Protocol)
	}
	if err := d.count(int(int16(frame.DC))); err != nil {
		return err
	}
	// gotd's listener learns the codec from the tag, as from a client that does without obfuscated2.
	d.clear.deliver(&clearConn{Conn: c, r: io.MultiReader(bytes.NewReader(frame.Protocol[:]), clear), w: clear})
	return nil
}

func (d *datacentre) count(number int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch number {
	case d.id:
		d.counts.home++
	case -d.id:
		d.counts.media++
	default:
		return fmt.Errorf("the frame is for %d", number)
	}
	return nil
}

// seen is how many frames have come so far.
func (d *datacentre) seen() frames {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts
}

func (d *datacentre) keep(c net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.conns = append(d.conns, c)
	}
	return !d.closed
}

// fault notes what went wrong before the data centre was closed.
func (d *datacentre) fault(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil && !d.closed {
		d.faults = append(d.faults, err)
	}
}

func (d *datacentre) close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	_ = d.listener.Close()
	for _, c := range d.conns {
		_ = c.Close()
	}
	d.stop()
	d.running.Wait()
}

// clearConn is a connection with both of its directions deciphered.
type clearConn struct {
	net.Conn
	r io.Reader
	w io.Writer
}

func (c *clearConn) Read(b []byte) (int, error)  { return c.r.Read(b) }
func (c *clearConn) Write(b []byte) (int, error) { return c.w.Write(b) }

// inbound is a net.Listener whose connections come from deliver.
type inbound struct {
	address net.Addr
	conns   chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func newInbound(a net.Addr) *inbound {
	return &inbound{address: a, conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (in *inbound) deliver(c net.Conn) {
	select {
	case in.conns <- c:
	case <-in.closed:
		_ = c.Close()
	}
}

func (in *inbound) Accept() (net.Conn, error) {
	select {
	case c := <-in.conns:
		return c, nil
	case <-in.closed:
		return nil, net.ErrClosed
	}
}

func (in *inbound) Close() error {
	in.once.Do(func() { close(in.closed) })
	return nil
}

func (in *inbound) Addr() net.Addr { return in.address }
