package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/bench/client"
)

// stageFront is a front whose connections are in the test's hands: whoever has said a known greeting is handed over, everybody else
// is turned away.
type stageFront struct {
	net.Listener
	served  sync.WaitGroup
	mu      sync.Mutex
	awaited map[string]chan *net.TCPConn // by the first bytes
}

const greetingKey = 64 // of a hello, enough to hold its random part

func startStage(t testing.TB) *stageFront {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stageFront{Listener: l, awaited: map[string]chan *net.TCPConn{}}
	s.served.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.served.Go(func() { s.receive(c.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		s.served.Wait()
	})
	return s
}

func (s *stageFront) receive(c *net.TCPConn) {
	_ = c.SetDeadline(time.Now().Add(2 * patience))
	key := make([]byte, greetingKey)
	_, err := io.ReadFull(c, key)
	s.mu.Lock()
	to := s.awaited[string(key)]
	delete(s.awaited, string(key))
	s.mu.Unlock()
	if err != nil || to == nil {
		_ = c.Close()
		return
	}
	to <- c
}

// meet connects to addr, says the greeting, and returns both ends when the front has heard the whole of it.
func (s *stageFront) meet(addr netip.AddrPort, greeting []byte) (c, f *net.TCPConn, err error) {
	came := make(chan *net.TCPConn, 1)
	s.mu.Lock()
	s.awaited[string(greeting[:greetingKey])] = came
	s.mu.Unlock()
	if c, err = approach(addr); err != nil {
		return nil, nil, err
	}
	if _, err = c.Write(greeting); err != nil {
		return nil, nil, err
	}
	select {
	case f = <-came:
	case <-time.After(patience):
		return nil, nil, errors.New("the front hears nothing")
	}
	_, err = io.CopyN(io.Discard, f, int64(len(greeting)-greetingKey))
	return c, f, err
}

// hears reads to the end of the stream and says how it ended.
func hears(c *net.TCPConn) string {
	n, err := io.Copy(io.Discard, struct{ io.Reader }{c})
	return fmt.Sprintf("%d bytes, %s", n, ending(err))
}

func ending(err error) string {
	var code syscall.Errno
	switch {
	case err == nil:
		return "end"
	case errors.As(err, &code):
		return code.Error()
	}
	return err.Error()
}

// says writes in small pieces, a while apart.
func says(c *net.TCPConn, pieces int) string {
	for range pieces {
		if _, err := c.Write(make([]byte, 1000)); err != nil {
			return ending(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return "taken"
}

// saysUntilRefused writes until it is told that nobody listens.
func saysUntilRefused(c *net.TCPConn) string {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if _, err := c.Write([]byte{1}); err != nil {
			return ending(err)
		}
	}
	return "never refused"
}

func resets(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// quietly is longer than sessions may be idle in these tests, and than the wheel takes to come round.
const quietly = 14 * time.Second

// scenes are what two ends of a TCP connection can do to each other at its end; c is the client's, f the front's. Each returns what
// the ends hear of it.
var scenes = []struct {
	name string
	play func(c, f *net.TCPConn) []string
}{
	{"the client ends its half, the front goes on for long", func(c, f *net.TCPConn) []string {
		_ = c.CloseWrite()
		heard := hears(f)
		said := says(f, 40)
		_ = f.Close()
		return []string{heard, said, hears(c)}
	}},
	{"the front ends its half, the client goes on for long", func(c, f *net.TCPConn) []string {
		_ = f.CloseWrite()
		heard := hears(c)
		said := says(c, 40)
		_ = c.Close()
		return []string{heard, said, hears(f)}
	}},
	{"both end their halves", func(c, f *net.TCPConn) []string {
		_, _ = c.Write([]byte("last"))
		_ = c.CloseWrite()
		_, _ = f.Write([]byte("words"))
		_ = f.CloseWrite()
		return []string{hears(c), hears(f)}
	}},
	{"the client ends its half, and the front is quiet for long", func(c, f *net.TCPConn) []string {
		_ = c.CloseWrite()
		heard := hears(f)
		time.Sleep(quietly)
		said := says(f, 2)
		_ = f.Close()
		return []string{heard, said, hears(c)}
	}},
	{"the front ends its half, and the client is quiet for long", func(c, f *net.TCPConn) []string {
		_ = f.CloseWrite()
		heard := hears(c)
		time.Sleep(quietly)
		said := says(c, 2)
		_ = c.Close()
		return []string{heard, said, hears(f)}
	}},
	{"both are quiet for long, then talk", func(c, f *net.TCPConn) []string {
		time.Sleep(quietly)
		heard := []string{says(c, 2), says(f, 2)}
		_ = c.CloseWrite()
		_ = f.CloseWrite()
		return append(heard, hears(c), hears(f))
	}},
	{"the client resets", func(c, f *net.TCPConn) []string {
		resets(c)
		return []string{hears(f)}
	}},
	{"the front resets", func(c, f *net.TCPConn) []string {
		resets(f)
		return []string{hears(c)}
	}},
	{"the client resets after its half has ended", func(c, f *net.TCPConn) []string {
		_ = c.CloseWrite()
		heard := hears(f)
		resets(c)
		return []string{heard, saysUntilRefused(f)}
	}},
	{"the front resets after its half has ended", func(c, f *net.TCPConn) []string {
		_ = f.CloseWrite()
		heard := hears(c)
		resets(f)
		return []string{heard, saysUntilRefused(c)}
	}},
	{"the front resets after the client's half has ended", func(c, f *net.TCPConn) []string {
		_ = c.CloseWrite()
		heard := hears(f)
		resets(f)
		return []string{heard, hears(c)}
	}},
	{"the client resets after the front's half has ended", func(c, f *net.TCPConn) []string {
		_ = f.CloseWrite()
		heard := hears(c)
		resets(c)
		return []string{heard, hears(f)}
	}},
	{"the client closes, and the front goes on", func(c, f *net.TCPConn) []string {
		_ = c.Close()
		return []string{hears(f), saysUntilRefused(f)}
	}},
	{"the front closes, and the client goes on", func(c, f *net.TCPConn) []string {
		_ = f.Close()
		return []string{hears(c), saysUntilRefused(c)}
	}},
	{"the client closes with bytes unread", func(c, f *net.TCPConn) []string {
		_, _ = f.Write(make([]byte, 1000))
		_, err := io.ReadFull(c, make([]byte, 1))
		_ = c.Close()
		return []string{ending(err), hears(f)}
	}},
	{"the front closes with bytes unread", func(c, f *net.TCPConn) []string {
		_, _ = c.Write(make([]byte, 1000))
		_, err := io.ReadFull(f, make([]byte, 1))
		_ = f.Close()
		return []string{ending(err), hears(c)}
	}},
}

// greetings are ways to become a stranger: at the first byte, by a whole hello, and while a hello is still waited for.
var greetings = map[string]func() []byte{
	"garbage": func() []byte {
		return []byte(fmt.Sprintf("GET /%-80x", client.Hello{Host: secret.Host}.Foreign()[11:43]))
	},
	"a hello":    func() []byte { return client.Hello{Host: secret.Host}.Foreign() },
	"half of it": func() []byte { return client.Hello{Host: secret.Host}.Foreign()[:300] },
}

// A connection that ends at the front ends as one that was made to it directly: what either end hears of the other's FIN and RST,
// and of long silence, is the same, in whatever way the client has become a stranger. Sessions' idle time is not for it.
func TestFrontedEndsAsDirect(t *testing.T) {
	s := startStage(t)
	r := startRig(t, env{"SLUICE_FRONT": s.Addr().String(), "SLUICE_IDLE_TIMEOUT": "10s", "SLUICE_HANDSHAKE_TIMEOUT": "30s"})
	direct := netip.MustParseAddrPort(s.Addr().String())
	before := holdsDescriptors(t, r.proxy)
	var playing sync.WaitGroup
	for _, scene := range scenes {
		for by, greeting := range greetings {
			playing.Go(func() {
				view := func(addr netip.AddrPort) string {
					c, f, err := s.meet(addr, greeting())
					if err != nil {
						return err.Error()
					}
					defer c.Close()
					defer f.Close()
					return strings.Join(scene.play(c, f), "; ")
				}
				other := make(chan string)
				go func() { other <- view(direct) }()
				through := view(r.proxy.Addr())
				if plain := <-other; plain != through {
					t.Errorf("%s, by %s:\n\tdirect:  %s\n\tthrough: %s", scene.name, by, plain, through)
				}
			})
		}
	}
	playing.Wait()
	sameDescriptors(t, r.proxy, before)
	quiet(t, r.proxy)
}
