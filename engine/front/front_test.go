package front

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func ap(text string) netip.AddrPort { return netip.MustParseAddrPort(text) }

func TestLiteralAndPath(t *testing.T) {
	f, err := New(Config{Host: "::1", Port: 443})
	if err != nil {
		t.Fatal(err)
	}
	if addrs, path, ok := f.Target(); !ok || path != "" || !slices.Equal(addrs, []netip.AddrPort{ap("[::1]:443")}) {
		t.Errorf("target %v %q %v", addrs, path, ok)
	}
	f, _ = New(Config{Path: "/run/front.sock"})
	if _, path, ok := f.Target(); !ok || path != "/run/front.sock" {
		t.Errorf("target %q %v", path, ok)
	}
}

func TestOwnListenersAreRefused(t *testing.T) {
	local := func() []netip.Addr { return []netip.Addr{netip.MustParseAddr("192.0.2.7")} }
	for _, c := range []struct {
		front, listener string
		loop            bool
	}{
		{"127.0.0.1:443", "127.0.0.1:443", true},
		{"127.0.0.1:443", "127.0.0.2:443", false},
		{"127.0.0.1:443", "127.0.0.1:8443", false},
		{"127.0.0.1:443", "[::]:443", true},
		{"192.0.2.7:443", "0.0.0.0:443", true},
		{"192.0.2.8:443", "0.0.0.0:443", false},
	} {
		a := ap(c.front)
		_, err := New(Config{
			Host: a.Addr().String(), Port: a.Port(), Local: local,
			Self: func() []netip.AddrPort { return []netip.AddrPort{ap(c.listener)} },
		})
		if errors.Is(err, ErrLoop) != c.loop {
			t.Errorf("front %s behind listener %s: %v", c.front, c.listener, err)
		}
	}
}

// A name is resolved ahead and again, failures keep what was good, and what leads back to us is left out.
func TestResolving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var answer, public []netip.Addr
		var changes []bool
		var fails error
		var heard []error
		f, err := New(Config{
			Host: "front.example", Port: 443,
			Resolve: func(_ context.Context, host string) ([]netip.Addr, error) {
				mu.Lock()
				defer mu.Unlock()
				if host == "proxy.example" {
					return public, nil
				}
				return answer, fails
			},
			Self:   func() []netip.AddrPort { return []netip.AddrPort{ap("203.0.113.9:443")} },
			Public: "proxy.example", PublicPort: 443,
			Resolved: func(changed bool, err error) {
				mu.Lock()
				defer mu.Unlock()
				changes = append(changes, changed)
				heard = append(heard, err)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, ok := f.Target(); ok {
			t.Error("there is a target before the first lookup")
		}
		fails = errors.New("no such host")
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { f.Run(ctx) })
		say := func(err error, addrs ...string) {
			mu.Lock()
			defer mu.Unlock()
			fails, answer = err, nil
			for _, a := range addrs {
				answer = append(answer, netip.MustParseAddr(a))
			}
		}
		want := func(n int, addrs ...string) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			got, _, _ := f.Target()
			if len(got) != len(addrs) || len(heard) != n {
				t.Fatalf("target %v after %d lookups, want %v after %d", got, len(heard), addrs, n)
			}
			for i := range got {
				if got[i] != ap(addrs[i]) {
					t.Fatalf("target %v, want %v", got, addrs)
				}
			}
		}
		want(1)
		say(nil, "203.0.113.9", "198.51.100.1")
		time.Sleep(retryFirst)
		want(2, "198.51.100.1:443")
		say(nil, "203.0.113.9")
		time.Sleep(refreshEvery)
		want(3, "198.51.100.1:443")
		say(nil)
		time.Sleep(retryFirst)
		want(4, "198.51.100.1:443")
		say(nil, "198.51.100.1")
		time.Sleep(2 * retryFirst)
		want(5, "198.51.100.1:443")
		mu.Lock()
		public = []netip.Addr{netip.MustParseAddr("::ffff:198.51.100.1")}
		mu.Unlock()
		say(nil, "198.51.100.1", "198.51.100.2")
		time.Sleep(refreshEvery)
		want(6, "198.51.100.2:443") // clients are told the other one
		say(nil, "198.51.100.2", "198.51.100.3")
		time.Sleep(refreshEvery)
		want(7, "198.51.100.2:443", "198.51.100.3:443")
		say(nil, "198.51.100.3", "198.51.100.2")
		time.Sleep(refreshEvery)
		want(8, "198.51.100.3:443", "198.51.100.2:443") // in turn, which is no change
		mu.Lock()
		if want := []bool{false, true, false, false, false, true, true, false}; !slices.Equal(changes, want) {
			t.Errorf("changes %v, want %v", changes, want)
		}
		if !errors.Is(heard[2], ErrLoop) {
			t.Errorf("only our own address left: %v", heard[2])
		}
		if !errors.Is(heard[3], ErrNoAddress) {
			t.Errorf("no address: %v", heard[3])
		}
		mu.Unlock()
		cancel()
		running.Wait()
	})
}

func TestSite(t *testing.T) {
	s, err := NewSite("localhost")
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"},
		DisableKeepAlives: true,
	}}
	answer, err := client.Get("https://" + s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	if !strings.Contains(string(body), "It works") || answer.TLS.PeerCertificates[0].Subject.CommonName != "localhost" {
		t.Errorf("%q by %v", body, answer.TLS.PeerCertificates[0].Subject)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// A front that follows one of the same name begins with what that one knew; of another name or port it knows nothing.
func TestInherit(t *testing.T) {
	made := func(host string, port uint16) *Front {
		f, err := New(Config{Host: host, Port: port, Resolve: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("198.51.100.1")}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	old := made("front.example", 443)
	unresolved := made("front.example", 443)
	unresolved.Inherit(old)
	if _, _, ok := unresolved.Target(); ok {
		t.Error("an address is inherited from a front that has none")
	}
	if _, err := old.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		host string
		port uint16
		want []netip.AddrPort
	}{
		{"front.example", 443, []netip.AddrPort{ap("198.51.100.1:443")}},
		{"front.example", 444, nil},
		{"other.example", 443, nil},
		{"192.0.2.1", 443, []netip.AddrPort{ap("192.0.2.1:443")}},
	} {
		f := made(c.host, c.port)
		f.Inherit(old)
		if addrs, _, _ := f.Target(); !slices.Equal(addrs, c.want) {
			t.Errorf("%s, port %d: %v, want %v", c.host, c.port, addrs, c.want)
		}
	}
}
