package e2e

import (
	"context"
	"encoding/hex"
	"errors"
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

// A visit is one kind of connection, brought to the state it is left in. It is closed by one of the endings.
type visit struct {
	name string
	open func(r *rig) (net.Conn, error)
}

// say opens a connection that sends b and nothing more.
func say(b func() []byte) func(r *rig) (net.Conn, error) {
	return func(r *rig) (net.Conn, error) {
		c, err := approach(r.proxy.Addr())
		if err != nil {
			return nil, err
		}
		_, err = c.Write(b())
		return c, err
	}
}

// ask opens a session, sends a request, and reads the first of what comes.
func ask(q stand.Request, read int, cfg client.Config) func(r *rig) (net.Conn, error) {
	return func(r *rig) (net.Conn, error) {
		c, err := r.open(cfg)
		if err != nil {
			return nil, err
		}
		if _, err = c.Write(q.Bytes()); err == nil {
			_, err = io.CopyN(io.Discard, c, int64(read))
		}
		return c, err
	}
}

// askFront does the same with the front.
func askFront(q stand.Request, read int) func(r *rig) (net.Conn, error) {
	return func(r *rig) (net.Conn, error) {
		c, err := approach(r.proxy.Addr())
		if err != nil {
			return nil, err
		}
		if _, err = c.Write(q.Bytes()); err == nil {
			_, err = io.CopyN(io.Discard, c, int64(read))
		}
		return c, err
	}
}

var visits = []visit{
	{"silent", say(func() []byte { return nil })},
	{"garbage", say(func() []byte { return []byte("GET / HTTP/1.1\r\n\r\n") })},
	{"one byte", say(func() []byte { return []byte{0x16} })},
	{"half hello", say(func() []byte { return client.Hello{Host: secret.Host}.Sign(secret.Key)[:200] })},
	{"half hybrid hello", say(func() []byte { return client.Hello{Host: secret.Host, Hybrid: true}.Sign(secret.Key)[:1500] })},
	{"foreign hello", say(func() []byte { return client.Hello{Host: secret.Host}.Foreign() })},
	{"hello and no frame", say(func() []byte { return client.Hello{Host: secret.Host}.Sign(secret.Key) })},
	{"hello too long", say(func() []byte { return append([]byte{0x16, 3, 1, 0xff, 0xff}, make([]byte, 3000)...) })},
	{"bad record after the hello", func(r *rig) (net.Conn, error) {
		c, err := r.open(client.Config{})
		if err == nil {
			_, err = c.TCPConn.Write([]byte{0x15, 3, 3, 0, 2, 2, 40})
		}
		return c, err
	}},
	{"half frame", func(r *rig) (net.Conn, error) {
		c, err := r.open(client.Config{})
		if err == nil {
			_, err = c.TCPConn.Write([]byte{0x14, 3, 3, 0, 1, 1, 0x17, 3, 3, 0, 64, 1, 2, 3})
		}
		return c, err
	}},
	{"replay", func(r *rig) (net.Conn, error) {
		first, err := r.open(client.Config{})
		if err != nil {
			return nil, err
		}
		_ = first.Close()
		return say(func() []byte { return first.HelloSent })(r)
	}},
	{"unknown data centre", func(r *rig) (net.Conn, error) {
		c, err := r.open(client.Config{DC: 66})
		if err == nil {
			err = c.Flush()
		}
		return c, err
	}},
	{"dead data centre", func(r *rig) (net.Conn, error) {
		c, err := r.open(client.Config{DC: 4})
		if err == nil {
			err = c.Flush()
		}
		return c, err
	}},
	{"session", ask(stand.Request{Op: stand.Down, Size: 1000}, 1000, client.Config{})},
	{"session just begun", ask(stand.Request{Op: stand.Hold}, 0, client.Config{})},
	{"download", ask(stand.Request{Op: stand.Down, Size: 3 << 20}, 1<<20, client.Config{})},
	{"stalled download", ask(stand.Request{Op: stand.Down, Size: offer}, 0, client.Config{ReceiveBuffer: 8 << 10})},
	{"download that ends", ask(stand.Request{Op: stand.DownClose, Size: 300_000}, 0, client.Config{})},
	{"hung up by the data centre", ask(stand.Request{Op: stand.Hangup}, 0, client.Config{})},
	{"reset by the data centre", ask(stand.Request{Op: stand.Reset}, 0, client.Config{})},
	{"half closed by the data centre", ask(stand.Request{Op: stand.Finish}, 0, client.Config{})},
	{"upload that stalls", func(r *rig) (net.Conn, error) {
		c, err := r.open(client.Config{})
		if err != nil {
			return nil, err
		}
		_, err = c.Write(stand.Request{Op: stand.Hold}.Bytes())
		_ = c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		for err == nil {
			_, err = c.Write(make([]byte, 256<<10))
		}
		if isTimeout(err) {
			err = nil
		}
		return c, err
	}},
	{"fronted", askFront(stand.Request{Op: stand.Down, Size: 1000}, 1000)},
	{"fronted and stalled", askFront(stand.Request{Op: stand.Down, Size: 64 << 20}, 0)},
	{"fronted and reset", askFront(stand.Request{Op: stand.Reset}, 0)},
	{"fronted and hung up", askFront(stand.Request{Op: stand.Hangup}, 0)},
}

// endings are the ways a visit can end. after is how many visits are opened before this one is closed.
var endings = []struct {
	name string
	end  func(c net.Conn)
}{
	{"close", func(c net.Conn) { _ = c.Close() }},
	{"reset", func(c net.Conn) {
		_ = c.(interface{ SetLinger(int) error }).SetLinger(0)
		_ = c.Close()
	}},
	{"half close, then close", func(c net.Conn) {
		_ = c.(interface{ CloseWrite() error }).CloseWrite()
		_ = c.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
		_, _ = io.Copy(io.Discard, c)
		_ = c.Close()
	}},
}

// After thousands of connections of every kind, closed in every order, the proxy has the descriptors it had before. (An upload
// whose client has gone while the data centre takes nothing is kept until the idle time is over: the tail may yet be wanted.)
func TestNoDescriptorIsLost(t *testing.T) {
	eachMode(t, func(t *testing.T, mode env) {
		settings := env{"SLUICE_DC_4": "127.0.0.1:9", "SLUICE_HANDSHAKE_TIMEOUT": "3s", "SLUICE_IDLE_TIMEOUT": "10s"}
		r := startRig(t, settings.with(mode))
		warm(t, r)
		before := holdsDescriptors(t, r.proxy)
		const rounds = 12 // of every visit with every ending
		var workers sync.WaitGroup
		for worker := range 6 {
			workers.Go(func() { visitAll(t, r, uint64(worker), rounds/6) })
		}
		workers.Wait()
		sameDescriptors(t, r.proxy, before)
		for _, state := range []string{"handshake", "relay", "front"} {
			wantMetric(t, r.proxy, fmt.Sprintf("sluice_connections{state=%q}", state), 0)
		}
		wantMetric(t, r.proxy, `sluice_pipes{state="busy"}`, 0)
		eventually(t, "connections at the data centre", func() error { return wantNone(r.dc.Open()) })
		eventually(t, "connections at the front", func() error { return wantNone(r.front.Open()) })
		if err := down(r.dial(t, client.Config{}), 1<<20); err != nil {
			t.Errorf("a session after it all: %v", err)
		}
	})
}

// visitAll makes every visit with every ending in a random order, and keeps some dozens open at a time.
func visitAll(t *testing.T, r *rig, seed uint64, rounds int) {
	random := rand.New(rand.NewPCG(seed, 1))
	type open struct {
		net.Conn
		end func(net.Conn)
	}
	var kept []open
	closeOne := func(i int) {
		kept[i].end(kept[i].Conn)
		kept[i] = kept[len(kept)-1]
		kept = kept[:len(kept)-1]
	}
	for range rounds {
		for _, i := range random.Perm(len(visits) * len(endings)) {
			v, e := visits[i/len(endings)], endings[i%len(endings)]
			c, err := v.open(r)
			if err != nil && !isEnd(err) {
				t.Errorf("%s, %s: %v", v.name, e.name, err)
			}
			if c != nil {
				kept = append(kept, open{c, e.end})
			}
			if len(kept) > 12 {
				closeOne(random.IntN(len(kept)))
			}
		}
	}
	for len(kept) > 0 {
		closeOne(random.IntN(len(kept)))
	}
}

// isEnd says whether err is what a visitor hears whom the other side has left.
func isEnd(err error) bool {
	var op *net.OpError
	return errors.Is(err, io.EOF) || errors.As(err, &op) && !op.Timeout()
}

// What the kernel drops while a hello is on its way, and a flood that nobody finishes, must not cost descriptors either.
func TestNoDescriptorIsLostInAFlood(t *testing.T) {
	r := startRig(t, nil)
	before := holdsDescriptors(t, r.proxy)
	hello := client.Hello{Host: secret.Host}.Sign(secret.Key)
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for i := range 500 {
				c, err := approach(r.proxy.Addr())
				if err != nil {
					t.Errorf("connect: %v", err)
					return
				}
				_, _ = c.Write(hello[:i%len(hello)])
				if i%2 == 0 {
					_ = c.SetLinger(0)
				}
				_ = c.Close()
			}
		})
	}
	workers.Wait()
	sameDescriptors(t, r.proxy, before)
	quiet(t, r.proxy)
}

// The load balancers' header, cut at every byte, is closed in time and leaves nothing behind.
func TestNoDescriptorIsLostInHeaders(t *testing.T) {
	r := startRig(t, env{"SLUICE_PROXY_PROTOCOL": "required"})
	before := holdsDescriptors(t, r.proxy)
	v2, err := hex.DecodeString("0d0a0d0a000d0a515549540a2111000c7f0000057f0000011f9001bb")
	if err != nil {
		t.Fatal(err)
	}
	for _, header := range [][]byte{[]byte("PROXY TCP4 192.0.2.1 192.0.2.2 5555 443\r\n"), v2} {
		for n := range len(header) + 1 {
			for _, e := range endings {
				c, err := approach(r.proxy.Addr())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := c.Write(header[:n]); err != nil {
					t.Fatal(err)
				}
				e.end(c)
			}
			c, err := client.Dial(context.Background(), client.Config{Addr: r.proxy.Addr(), Secret: secret, DC: 2, Prefix: header})
			if err != nil {
				t.Fatal(err)
			}
			if err := down(c, 10); err != nil {
				t.Fatal(err)
			}
			_ = c.Close()
		}
	}
	sameDescriptors(t, r.proxy, before)
}
