package interop

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/bench/client"
)

// tolerance is how much a connection through the proxy may differ in time: the moment that the proxy gives a hello to become
// whole, the way through it, and the load of a test machine.
const tolerance = 1200 * time.Millisecond

// watchFor is how long a prober watches at most: longer than nginx's timers.
const watchFor = 3*timer + 2*time.Second

func foreign(host string) []byte { return client.Hello{Host: host}.Foreign() }

// cases are what probers do. Each hello is made once and said to both.
func cases() map[string][]step {
	hello := foreign(secret.Host)
	hybrid := client.Hello{Host: secret.Host, Hybrid: true}.Foreign()
	stale := client.Hello{Host: secret.Host, Time: time.Now().Add(-3 * time.Hour)}.Sign(secret.Key)
	early := client.Hello{Host: secret.Host, Time: time.Now().Add(3 * time.Hour)}.Sign(secret.Key)
	wrong := client.Hello{Host: otherHost}.Sign(secret.Key)
	unnamed := client.Hello{}.Foreign()
	old := client.Hello{Host: secret.Host, TLS12: true}.Foreign()
	garbage := make([]byte, 300)
	_, _ = rand.Read(garbage)
	garbage[0] = 0xf0
	long := append(bytes.Clone(hello[:5]), hello[5:]...)
	long[3], long[4] = 0xff, 0xff
	broken := bytes.Clone(hello)
	broken[76] ^= 0x40 // the length of the cipher suites
	http := []byte("GET / HTTP/1.1\r\nHost: front.example\r\n\r\n")
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	return map[string][]step{
		"nothing":                      nil,
		"nothing, then FIN":            {{fin: true}},
		"nothing for long, then FIN":   {{after: time.Second, fin: true}},
		"garbage":                      says(garbage),
		"garbage, then FIN":            saysThenEnds(garbage),
		"one byte":                     says([]byte{0x16}),
		"one byte of garbage":          says([]byte{0x00}),
		"zeros":                        says(make([]byte, 1000)),
		"HTTP":                         says(http),
		"HTTP, then FIN":               saysThenEnds(http),
		"HTTP, slowly":                 drip(http, 4, 2*time.Second),
		"HTTP/2 in clear":              says([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")),
		"SSH":                          says([]byte("SSH-2.0-OpenSSH_9.2\r\n")),
		"SSLv2 hello":                  says([]byte{0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10, 1, 0, 0x80}),
		"PROXY header":                 says([]byte("PROXY TCP4 192.0.2.1 192.0.2.2 5555 443\r\n")),
		"half a record header":         says(hello[:3]),
		"record header":                says(hello[:5]),
		"half a hello":                 says(hello[:200]),
		"half a hello, then FIN":       saysThenEnds(hello[:200]),
		"half a hello, later FIN":      {{say: hello[:200]}, {after: time.Second, fin: true}},
		"half a hello, later the rest": {{say: hello[:200]}, {after: 2 * time.Second, say: hello[200:]}},
		"half a hello, later garbage":  {{say: hello[:200]}, {after: time.Second, say: garbage}},
		"half a hybrid hello":          says(hybrid[:1400]),
		"a hello":                      says(hello),
		"a hybrid hello":               says(hybrid),
		"a hello, then FIN":            saysThenEnds(hello),
		"a hello, later FIN":           {{say: hello}, {after: time.Second, fin: true}},
		"a hello and garbage":          says(join(hello, garbage)),
		"a hello, later garbage":       {{say: hello}, {after: time.Second, say: garbage}},
		"a hello in 30 records":        says(client.Records(hello, 30)),
		"a hybrid hello in 30 records": says(client.Records(hybrid, 30)),
		"a hello in 30 writes":         drip(hello, 30, time.Second),
		"a hello over 12 seconds":      drip(hello, 24, 12*time.Second),
		"a hello of TLS 1.2":           says(old),
		"a hello without a name":       says(unnamed),
		"a hello with another name":    says(foreign(otherHost)),
		"a hello with a foreign name":  says(foreign("nobody.example")),
		"a broken hello":               says(broken),
		"record of 65,535":             says(long),
		"record of 65,535, whole":      says(join(long, make([]byte, 65535-len(hello)+5))),
		"record of 65,535, then FIN":   saysThenEnds(long),
		"record of 65,535, header":     says(long[:5]),
		"empty record":                 says([]byte{0x16, 3, 1, 0, 0}),
		"record of version 2":          says(join([]byte{0x16, 2, 0}, hello[3:])),
		"alert first":                  says([]byte{0x15, 3, 1, 0, 2, 1, 0}),
		"data first":                   says([]byte{0x17, 3, 3, 0, 5, 1, 2, 3, 4, 5}),
		"other message first":          says([]byte{0x16, 3, 1, 0, 4, 0x10, 0, 0, 0}),
		"a clock three hours behind":   says(stale),
		"a clock three hours ahead":    says(early),
		"our key, another name":        says(wrong),
		"a huge hello":                 drip(client.Records(huge(), 3), 6, time.Second),
	}
}

// huge is a hello longer than the proxy reads, and well formed.
func huge() []byte {
	const extra = 20_000
	b := client.Hello{Host: secret.Host}.Foreign()
	extensions := 76 + 2 + 32 + 2 // behind the cipher suites and the compression
	grow := func(at, n int) {
		v := 0
		for i := range n {
			v = v<<8 | int(b[at+i])
		}
		v += extra + 4
		for i := range n {
			b[at+n-1-i] = byte(v >> (8 * i))
		}
	}
	grow(6, 3)
	grow(extensions, 2)
	b = append(b, 0xfa, 0xfa, extra>>8, extra&0xff)
	return append(b, make([]byte, extra)...)
}

// Whatever a prober does, it sees the front: the same bytes, the same end, at the same time.
func TestProbers(t *testing.T) {
	f := startFront(t, nil)
	all := cases()
	// A hello that was good once.
	c, err := client.Dial(context.Background(), client.Config{Addr: f.proxy.Addr(), Secret: secret, DC: 2})
	if err != nil {
		t.Fatal(err)
	}
	if err := down(c, 1000); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	all["a replay"] = says(c.HelloSent)
	all["a replay in 30 records"] = says(client.Records(c.HelloSent, 30))
	all["a replay, half, later the rest"] = []step{{say: c.HelloSent[:300]}, {after: time.Second, say: c.HelloSent[300:]}}

	var running sync.WaitGroup
	defer running.Wait()
	for name, steps := range all {
		running.Go(func() {
			a, _, err := lookTwice(f.addr, f.proxy.Addr(), steps, watchFor, tolerance)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else {
				t.Logf("%-32s %s after %v: %.100s", name, a.end, a.after.Round(10*time.Millisecond), a.shape())
			}
		})
	}
}

// With a front that is patient, the proxy's own time for a handshake is not what a prober sees.
func TestProbersAndAPatientFront(t *testing.T) {
	s := startSite(t)
	p := startProxy(t, env{"SLUICE_FRONT": s.slow.String(), "SLUICE_DC_2": "127.0.0.1:9"})
	hello := foreign(secret.Host)
	signed := client.Hello{Host: secret.Host}.Sign(secret.Key)
	const limit = 18 * time.Second
	var running sync.WaitGroup
	for name, steps := range map[string][]step{
		"a hello over 12 seconds":         drip(hello, 24, 12*time.Second),
		"a hello over 12 seconds in 30":   drip(client.Records(hello, 30), 24, 12*time.Second),
		"our hello over 12 seconds":       drip(signed, 24, 12*time.Second),
		"half a hello, 13 s later more":   {{say: hello[:200]}, {after: 13 * time.Second, say: hello[200:]}},
		"half a hello":                    says(hello[:200]),
		"nothing":                         nil,
		"nothing, 13 s later a hello":     {{after: 13 * time.Second, say: hello}},
		"half a hello, then FIN":          saysThenEnds(hello[:200]),
		"HTTP over 12 seconds":            drip([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), 12, 12*time.Second),
		"a hello, then FIN":               saysThenEnds(hello),
		"a hello, 13 s later FIN":         {{say: hello}, {after: 13 * time.Second, fin: true}},
		"a hello, 13 s later garbage":     {{say: hello}, {after: 13 * time.Second, say: make([]byte, 100)}},
		"half a hello, 12 s later no end": {{say: hello[:200]}, {after: 12 * time.Second, say: hello[200:300]}},
	} {
		running.Go(func() {
			a, _, err := lookTwice(s.slow, p.Addr(), steps, limit, tolerance)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else {
				t.Logf("%-32s %s after %v: %.100s", name, a.end, a.after.Round(10*time.Millisecond), a.shape())
			}
		})
	}
	running.Wait()
}

// Half a hello and the end of the stream, cut at every byte, and a hello in two pieces, cut at every byte.
func TestHelloCutAtEveryByte(t *testing.T) {
	f := startFront(t, nil)
	hello := foreign(secret.Host)
	jobs := make(chan int)
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for cut := range jobs {
				ends := saysThenEnds(hello[:cut])
				if _, _, err := lookTwice(f.addr, f.proxy.Addr(), ends, watchFor, tolerance); err != nil {
					t.Errorf("cut at %d, then FIN: %v", cut, err)
				}
				pieces := []step{{say: hello[:cut]}, {after: 2 * time.Millisecond, say: hello[cut:]}, {after: 30 * time.Millisecond, fin: true}}
				if _, _, err := lookTwice(f.addr, f.proxy.Addr(), pieces, watchFor, tolerance); err != nil {
					t.Errorf("in two, cut at %d: %v", cut, err)
				}
			}
		})
	}
	for cut := 1; cut < len(hello); cut++ {
		jobs <- cut
	}
	close(jobs)
	workers.Wait()
}

// Of twenty copies of a good hello at once, one is a client, and nineteen see nginx.
func TestCopiesAtOnce(t *testing.T) {
	f := startFront(t, nil)
	for range 5 {
		hello := client.Hello{Host: secret.Host}.Sign(secret.Key)
		direct, err := look(f.addr, says(hello), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		const copies = 20
		verdicts, start := make(chan error, copies), make(chan struct{})
		for range copies {
			go func() {
				<-start
				c, err := client.Dial(context.Background(), client.Config{Addr: f.proxy.Addr(), Secret: secret, Raw: hello})
				if err == nil {
					_ = c.Close()
				}
				verdicts <- err
			}()
		}
		close(start)
		served := 0
		for range copies {
			if <-verdicts == nil {
				served++
			}
		}
		if served != 1 {
			t.Errorf("%d of %d copies were served", served, copies)
		}
		through, err := look(f.proxy.Addr(), says(hello), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if err := compare(direct, through, tolerance); err != nil {
			t.Errorf("one more copy: %v", err)
		}
	}
}

// The records of a good handshake have the lengths of the front's own first flight, as far as clients bear it: the same
// ServerHello, and one record as long as all that the front sends after it.
func TestFlightLooksLikeTheFront(t *testing.T) {
	f := startFront(t, nil)
	hello := client.Hello{Host: secret.Host}.Sign(secret.Key)
	direct, err := look(f.addr, says(hello), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	through, err := look(f.proxy.Addr(), says(hello), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if len(direct.got) == 0 || len(through.got) == 0 {
		t.Fatal(errors.New("no flight"))
	}
	a, b := strings.Fields(direct.shape()), strings.Fields(through.shape())
	t.Logf("front: %s", direct.shape())
	t.Logf("proxy: %s", through.shape())
	for i := range 4 { // ServerHello's record, its choices in two words, ChangeCipherSpec
		if a[i] != b[i] {
			t.Errorf("the front's flight begins with %v, ours with %v", a[:4], b[:4])
			break
		}
	}
	if len(b) != 5 || len(a) < 5 {
		t.Fatalf("records %v and %v", a, b)
	}
	sum := 0
	for _, r := range a[4:] {
		var kind, n int
		if _, err := fmt.Sscanf(r, "%d:%d", &kind, &n); err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	if want := fmt.Sprintf("23:%d", sum); b[4] != want {
		t.Errorf("our record is %s, the front's come to %s", b[4], want)
	}
}
