package e2e

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/bench/client"
	"sluice/bench/stand"
)

// muteFront takes what strangers say and never answers, so that they stay as long as they like.
func muteFront(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(func() {
				_, _ = io.Copy(io.Discard, c)
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() { // after the proxy, whose connections would keep it
		_ = l.Close()
		served.Wait()
	})
	return l.Addr().String()
}

// longHeader is a header of version 2 with n bytes behind its fixed part, padding for the most.
func longHeader(t testing.TB, n int) []byte {
	t.Helper()
	padding := n - 12 - 3
	h := append(unhex(t, signature+"21 11"), byte(n>>8), byte(n))
	h = append(h, unhex(t, "c0000207 c0000201 15b3 01bb 04")...)
	return append(append(h, byte(padding>>8), byte(padding)), make([]byte, padding)...)
}

// troubles are what a broken or hostile load balancer may begin with, and how each is counted. All fall silent then.
func troubles(t testing.TB) []struct {
	name, result string
	said         []byte
} {
	crc := unhex(t, signature+"21 11 0013 c0000207 c0000201 15b3 01bb 03 0004 00000001")
	return []struct {
		name, result string
		said         []byte
	}{
		{"a header and silence", "v1", []byte("PROXY TCP4 192.0.2.9 192.0.2.1 5555 443\r\n")},
		{"a header of 4 KiB", "v2", longHeader(t, 4096)},
		{"a header of one byte more", "too_long", longHeader(t, 4097)},
		{"half a header of 4 KiB", "timeout", longHeader(t, 4096)[:2000]},
		{"half a line", "timeout", []byte("PROXY TCP4 192.0.2.9 ")},
		{"a UDP family", "bad_family", unhex(t, signature+"21 12 000c c0000207 c0000201 15b3 01bb")},
		{"a bad CRC", "bad_crc", crc},
	}
}

// each of the troubles comes so often
const crowdOfEach = 50

// crowd opens the connections of every trouble and leaves them open.
func crowd(t testing.TB, r *rig) (all []net.Conn, counted map[string]float64) {
	t.Helper()
	counted = map[string]float64{}
	for _, trouble := range troubles(t) {
		for range crowdOfEach {
			c := stranger(t, r.proxy.Addr())
			if _, err := c.Write(trouble.said); err != nil {
				t.Fatalf("%s: %v", trouble.name, err)
			}
			all = append(all, c)
			counted[trouble.result]++
		}
	}
	return all, counted
}

// visitors opens sessions one after the other, moves bytes in each, and returns how long the slowest and the usual one took.
func visitors(t testing.TB, r *rig, n int) (usual, worst time.Duration) {
	t.Helper()
	var took []time.Duration
	for i := range n {
		begun := time.Now()
		c, err := r.open(client.Config{Prefix: fmt.Appendf(nil, "PROXY TCP4 192.0.2.7 192.0.2.1 %d 443\r\n", 1000+i)})
		if err != nil {
			t.Fatalf("session %d: %v", i, err)
		}
		if err := down(c, 256<<10); err != nil {
			t.Fatalf("session %d: %v", i, err)
		}
		_ = c.Close()
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	return took[n/2], took[n-1]
}

// talk keeps a session talking until it is stopped, and returns how often it was answered.
func talk(t testing.TB, c *client.Conn) (stop func() int) {
	t.Helper()
	request(t, c, stand.Request{Op: stand.Echo})
	done, answers := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		defer func() { answers <- n }()
		for {
			select {
			case <-done:
				return
			default:
			}
			if err := echo(c, 1000); err != nil {
				t.Errorf("a session from before: %v", err)
				return
			}
			n++
			time.Sleep(time.Millisecond)
		}
	}()
	return func() int {
		close(done)
		return <-answers
	}
}

// Hundreds of connections whose headers are broken, endless or all they have to say stand at a listener: each is counted for what
// it is and costs two descriptors at most, sessions from before go on, new ones come through the same listener, one line a cause is
// logged, and when they go nothing is left.
func TestBadHeadersDelayNobody(t *testing.T) {
	r := startRig(t, env{"SLUICE_PROXY_PROTOCOL": "required", "SLUICE_EDGE_RANGES": "127.0.0.0/8", "SLUICE_FRONT": muteFront(t)})
	old := r.dial(t, client.Config{Prefix: []byte("PROXY TCP4 192.0.2.8 192.0.2.1 999 443\r\n")})
	stop := talk(t, old)
	const sessions = 40
	usual, worst := visitors(t, r, sessions)
	t.Logf("before: a session takes %v, at most %v", usual, worst)
	before := holdsDescriptors(t, r.proxy)

	all, counted := crowd(t, r)
	usual, worst = visitors(t, r, sessions)
	t.Logf("beside %d that have come just now: %v, at most %v", len(all), usual, worst)
	counted["v1"] += 2*sessions + 1
	for result, want := range counted {
		wantMetric(t, r.proxy, fmt.Sprintf(`sluice_proxy_headers_total{result=%q}`, result), want)
	}
	usual, worst = visitors(t, r, sessions)
	t.Logf("beside the same when the patience with their headers is over: %v, at most %v", usual, worst)
	held := holdsDescriptors(t, r.proxy)
	if most := before["socket"] + 2*len(all); held["socket"] > most {
		t.Errorf("%d sockets, at most %d were expected", held["socket"], most)
	}
	wantMetric(t, r.proxy, `sluice_handshakes_total{result="ok"}`, 3*sessions+1)
	if n, err := r.proxy.SumMetric("sluice_refused_total"); err != nil || n != 0 {
		t.Errorf("refused: %v, %v", n, err)
	}
	for _, c := range all {
		_ = c.Close()
	}
	for _, state := range []string{"handshake", "front"} {
		wantMetric(t, r.proxy, fmt.Sprintf("sluice_connections{state=%q}", state), 0)
	}
	sameDescriptors(t, r.proxy, before)
	if n := stop(); n < 3*sessions {
		t.Errorf("the session from before was answered %d times", n)
	}
	saidOnce(t, r.proxy)
}

// saidOnce fails the test if the log has the same complaint twice.
func saidOnce(t testing.TB, p *stand.Proxy) {
	t.Helper()
	said := map[string]int{}
	for _, l := range p.Lines() {
		if level := l.Get("level"); (level == "WARN" || level == "ERROR") && !strings.Contains(l.Get("msg"), "could not be learned") {
			said[l.Get("msg")]++
		}
	}
	if len(said) == 0 {
		t.Error("nothing is said of headers that cannot be used")
	}
	for text, n := range said {
		if n > 1 {
			t.Errorf("said %d times: %s", n, text)
		}
	}
}
