package e2e

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"sluice/bench/client"
	"sluice/bench/stand"
)

// Both directions full at once, through one connection: neither waits for the other.
func TestBothWaysAtOnce(t *testing.T) {
	eachMode(t, func(t *testing.T, mode env) {
		r := startRig(t, mode)
		for name, c := range map[string]interface {
			net.Conn
			CloseWrite() error
		}{
			"client":   r.dial(t, client.Config{}),
			"stranger": stranger(t, r.proxy.Addr()),
		} {
			const size, seed = 64 << 20, 21
			request(t, c, stand.Request{Op: stand.Echo})
			sent := make(chan error, 1)
			go func() {
				source := io.LimitReader(stand.NewPattern(seed), size)
				_, err := io.CopyBuffer(struct{ io.Writer }{c}, source, make([]byte, 100_000))
				if err == nil {
					err = c.CloseWrite()
				}
				sent <- err
			}()
			if err := stand.CheckRest(c, seed, size); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if err := <-sent; err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// Hundreds of sessions that do different things at the same time do not get in each other's way.
func TestManySessions(t *testing.T) {
	eachMode(t, func(t *testing.T, mode env) {
		r := startRig(t, mode)
		var sessions sync.WaitGroup
		for i := range 300 {
			sessions.Go(func() {
				if err := mixed(r, uint64(i)); err != nil {
					t.Errorf("session %d: %v", i, err)
				}
			})
		}
		sessions.Wait()
		wantMetric(t, r.proxy, `sluice_connections{state="relay"}`, 0)
		quiet(t, r.proxy)
	})
}

func mixed(r *rig, seed uint64) error {
	random := rand.New(rand.NewPCG(seed, 2))
	tags := []uint32{client.Padded, client.Intermediate, client.Abridged}
	c, err := r.open(client.Config{
		Hello: client.Hello{Hybrid: seed%2 == 0}, Tag: tags[seed%3], AloneFrame: seed%5 == 0,
		MaxRecord: []int{2878, 16384, 65535, 4, 1000}[seed%5],
	})
	if err != nil {
		return err
	}
	defer c.Close()
	for range 6 {
		size := int64(1) << random.IntN(20)
		size += random.Int64N(size)
		if seed%5 == 3 { // records of four bytes
			size = min(size, 20_000)
		}
		if random.IntN(3) == 0 {
			err = up(c, size)
		} else {
			err = down(c, uint64(size))
		}
		if err != nil {
			return fmt.Errorf("%d bytes: %w", size, err)
		}
	}
	return nil
}

// All that a client sends in its first write arrives, however much it is.
func TestFirstWriteIsLarge(t *testing.T) {
	r := startRig(t, nil)
	for _, size := range []int{1, 1000, 16 << 10, 20 << 10, 32 << 10, 100_000, 1 << 20, 6 << 20} {
		c := r.dial(t, client.Config{})
		body := make([]byte, size)
		_, _ = stand.NewPattern(31).Read(body)
		if _, err := c.Write(append(stand.Request{Op: stand.Up, Size: uint64(size)}.Bytes(), body...)); err != nil {
			t.Fatal(err)
		}
		if got, err := stand.ReadReceipt(c); err != nil || got != stand.PatternReceipt(31, int64(size)) {
			t.Errorf("%d bytes: %d taken, %v", size, got.Size, err)
		}
	}
}

// Records that carry nothing, and ChangeCipherSpec anywhere, are passed over. An alert or a handshake record is the end.
func TestOddRecords(t *testing.T) {
	r := startRig(t, nil)
	c := r.dial(t, client.Config{})
	request(t, c, stand.Request{Op: stand.Echo})
	for _, odd := range [][]byte{{0x17, 3, 3, 0, 0}, {0x14, 3, 3, 0, 1, 1}, {0x14, 3, 3, 0, 1, 1, 0x17, 3, 3, 0, 0, 0x17, 3, 3, 0, 0}} {
		for _, b := range odd { // a byte at a time
			if _, err := c.TCPConn.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		if err := echo(c, 5000); err != nil {
			t.Fatalf("after %x: %v", odd, err)
		}
	}
	for _, kind := range []byte{0x15, 0x16, 0x18, 0x00, 'G'} {
		c := r.dial(t, client.Config{})
		request(t, c, stand.Request{Op: stand.Echo})
		if err := echo(c, 10); err != nil {
			t.Fatal(err)
		}
		if _, err := c.TCPConn.Write([]byte{kind, 3, 3, 0, 2, 1, 0}); err != nil {
			t.Fatal(err)
		}
		if n, err := c.TCPConn.Read(make([]byte, 100)); n != 0 || isTimeout(err) {
			t.Errorf("after a record of type %#x: %d bytes, %v", kind, n, err)
		}
	}
	wantMetric(t, r.proxy, `sluice_connections{state="relay"}`, 1)
}

// Whoever has shown the secret and then says nothing sensible is closed without a word, and in time.
func TestBadFrames(t *testing.T) {
	r := startRig(t, env{"SLUICE_HANDSHAKE_TIMEOUT": "1s"})
	app := func(payload []byte) []byte {
		b := []byte{0x14, 3, 3, 0, 1, 1, 0x17, 3, 3, byte(len(payload) >> 8), byte(len(payload))}
		return append(b, payload...)
	}
	for name, said := range map[string][]byte{
		"nothing":       nil,
		"half a record": app(make([]byte, 64))[:30],
		"half a frame":  app(make([]byte, 32)),
		"zeros":         app(make([]byte, 64)),
		"in clear":      []byte("GET / HTTP/1.0\r\n\r\n"),
		"another hello": client.Hello{Host: secret.Host}.Foreign(),
		"records of no use": func() (b []byte) {
			for range 10_000 {
				b = append(b, 0x17, 3, 3, 0, 0)
			}
			return b
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			c := r.dial(t, client.Config{})
			began := time.Now()
			_, _ = c.TCPConn.Write(said)
			n, err := c.TCPConn.Read(make([]byte, 100))
			if n != 0 || isTimeout(err) {
				t.Errorf("%d bytes, %v", n, err)
			}
			if took := time.Since(began); took > 4*time.Second {
				t.Errorf("closed after %v", took)
			}
		})
	}
	if n := len(r.dc.Sessions()); n != 0 {
		t.Errorf("%d of them reached the data centre", n)
	}
}

// A session without traffic is closed when its idle time is over, one with a little is not.
func TestIdleTimeout(t *testing.T) {
	r := startRig(t, env{"SLUICE_IDLE_TIMEOUT": "10s"})
	idle, busy := r.dial(t, client.Config{}), r.dial(t, client.Config{})
	for _, c := range []*client.Conn{idle, busy} {
		request(t, c, stand.Request{Op: stand.Echo})
		if err := echo(c, 10); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	for time.Since(began) < 14*time.Second {
		if err := echo(busy, 1); err != nil {
			t.Fatalf("a session in use, after %v: %v", time.Since(began), err)
		}
		time.Sleep(500 * time.Millisecond) // its rhythm
	}
	_ = idle.SetReadDeadline(time.Now().Add(time.Second))
	if n, err := idle.Read(make([]byte, 1)); n != 0 || isTimeout(err) {
		t.Errorf("an idle session after %v: %d bytes, %v", time.Since(began), n, err)
	}
	wantMetric(t, r.proxy, `sluice_relays_closed_total{cause="idle"}`, 1)
}

// Connections that wait in any state, half closed and stalled ones among them, cost no processor time.
func TestNothingSpins(t *testing.T) {
	eachMode(t, func(t *testing.T, mode env) {
		r := startRig(t, mode)
		halfClose := func(c net.Conn) { _ = c.(interface{ CloseWrite() error }).CloseWrite() }
		for name, wait := range map[string]struct {
			open  func(r *rig) (net.Conn, error)
			after func(net.Conn)
		}{
			"idle":                            {ask(stand.Request{Op: stand.Down, Size: 100}, 100, client.Config{}), nil},
			"stalled download":                {ask(stand.Request{Op: stand.Down, Size: offer}, 0, client.Config{}), nil},
			"stalled download, half closed":   {ask(stand.Request{Op: stand.Down, Size: offer}, 0, client.Config{}), halfClose},
			"stalled download, small buffer":  {ask(stand.Request{Op: stand.Down, Size: offer}, 0, client.Config{ReceiveBuffer: 4096}), nil},
			"half closed by the data centre":  {ask(stand.Request{Op: stand.Finish}, 0, client.Config{}), nil},
			"tail for one who does not read":  {ask(stand.Request{Op: stand.DownClose, Size: 16 << 20}, 0, client.Config{}), nil},
			"fronted":                         {askFront(stand.Request{Op: stand.Down, Size: 100}, 100), nil},
			"fronted, stalled":                {askFront(stand.Request{Op: stand.Down, Size: offer}, 0), nil},
			"fronted, stalled, half closed":   {askFront(stand.Request{Op: stand.Down, Size: offer}, 0), halfClose},
			"fronted, half closed by it":      {askFront(stand.Request{Op: stand.Finish}, 0), nil},
			"fronted, its tail is not wanted": {askFront(stand.Request{Op: stand.DownClose, Size: 16 << 20}, 0), nil},
		} {
			for range 3 {
				c, err := wait.open(r)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				t.Cleanup(func() { _ = c.Close() })
				if wait.after != nil {
					wait.after(c)
				}
			}
		}
		for _, upload := range []func(net.Conn){nil, halfClose} {
			c := r.dial(t, client.Config{})
			request(t, c, stand.Request{Op: stand.Hold})
			_ = c.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
			for err := error(nil); err == nil; {
				_, err = c.Write(make([]byte, 1<<20))
			}
			if upload != nil {
				upload(c)
			}
		}
		time.Sleep(2 * time.Second) // for the kernel's buffers to fill
		before := cpuTime(t, r.proxy)
		const span = 3 * time.Second
		time.Sleep(span) // what is measured
		if spent := cpuTime(t, r.proxy) - before; spent > span/20 {
			t.Errorf("%v of processor time in %v", spent, span)
		}
	})
}

// A front that is given by name is resolved before it is needed.
func TestFrontByName(t *testing.T) {
	front := startPlain(t)
	p := startProxy(t, env{"SLUICE_FRONT": fmt.Sprintf("localhost:%d", front.Addr().Port()), "SLUICE_DC_2": "127.0.0.1:9"})
	eventually(t, "the front's address", func() error {
		_, err := p.Page("/readyz")
		return err
	})
	if err := down(stranger(t, p.Addr()), 1000); err != nil {
		t.Error(err)
	}
}
