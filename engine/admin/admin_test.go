package admin

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// serve runs a server until the test ends and returns where it listens.
func serve(t *testing.T, addr string, h Handlers) net.Addr {
	t.Helper()
	s, err := New(addr, h)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s.Addr()
}

// ask sends bytes on one connection and reads one answer.
func ask(t *testing.T, a net.Addr, wire string) (status int, header http.Header, body string) {
	t.Helper()
	c, err := net.Dial(a.Network(), a.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, wire); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(wire[strings.LastIndex(wire[:strings.Index(wire, " HTTP/")], "\n")+1:], " ")
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

func get(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: sluice\r\n\r\n" }

func TestPages(t *testing.T) {
	sick := Handlers{
		Metrics: func(w io.Writer) { fmt.Fprintln(w, "sluice_draining 1") },
		Healthy: func() error { return errors.New("loop 1 has not turned for 12s") },
		Ready:   func() error { return errors.Join(errors.New("draining"), errors.New("no DC answers")) },
	}
	well := Handlers{
		Metrics: sick.Metrics,
		Healthy: func() error { return nil },
		Ready:   func() error { return nil },
	}
	for _, tc := range []struct {
		name   string
		h      Handlers
		wire   string
		status int
		body   string
	}{
		{"metrics", well, get("/metrics"), 200, "sluice_draining 1\n"},
		{"healthy", well, get("/healthz"), 200, "ok\n"},
		{"ready", well, get("/readyz"), 200, "ok\n"},
		{"not healthy", sick, get("/healthz"), 503, "loop 1 has not turned for 12s\n"},
		{"not ready, in one line", sick, get("/readyz"), 503, "draining; no DC answers\n"},
		{"metrics of a sick process", sick, get("/metrics"), 200, "sluice_draining 1\n"},
		{"no handlers", Handlers{}, get("/metrics"), 404, "404 page not found\n"},
		{"no handlers, healthy", Handlers{}, get("/healthz"), 200, "ok\n"},
		{"no handlers, ready", Handlers{}, get("/readyz"), 200, "ok\n"},
		{"HEAD, as some load balancers check", well, "HEAD /healthz HTTP/1.0\r\n\r\n", 200, ""},
		{"POST", well, "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 405, "Method Not Allowed\n"},
		{"elsewhere", well, get("/"), 404, "404 page not found\n"},
		{"profiles are not served", well, get("/debug/pprof/"), 404, "404 page not found\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, header, body := ask(t, serve(t, "127.0.0.1:0", tc.h), tc.wire)
			if status != tc.status || body != tc.body {
				t.Errorf("%d %q, want %d %q", status, body, tc.status, tc.body)
			}
			want := "text/plain; charset=utf-8"
			if strings.Contains(tc.wire, "/metrics") && tc.status == 200 {
				want = ContentType
			}
			if got := header.Get("Content-Type"); got != want {
				t.Errorf("content type %q, want %q", got, want)
			}
		})
	}
}

// TestProxyHeader: the HTTP health checks of load balancers begin with a PROXY header as their other connections do.
func TestProxyHeader(t *testing.T) {
	signature := "\r\n\r\n\x00\r\nQUIT\n"
	nlb, err := hex.DecodeString("20110054" + "030004bce5951f" + "04004a" + strings.Repeat("00", 74))
	if err != nil {
		t.Fatal(err)
	}
	a := serve(t, "127.0.0.1:0", Handlers{})
	for name, header := range map[string]string{
		"none":           "",
		"v1":             "PROXY TCP4 203.0.113.7 192.0.2.9 51234 443\r\n",
		"v1 UNKNOWN":     "PROXY UNKNOWN\r\n",
		"v2":             signature + "\x21\x11\x00\x0c\xcb\x00\x71\x07\xc0\x00\x02\x09\xc8\x22\x01\xbb",
		"v2 LOCAL":       signature + "\x20\x00\x00\x00",
		"v2 LOCAL, TCP4": signature + "\x20\x11\x00\x00",
		"aws nlb":        signature + string(nlb),
	} {
		t.Run(name, func(t *testing.T) {
			if status, _, body := ask(t, a, header+get("/healthz")); status != 200 || body != "ok\n" {
				t.Errorf("%d %q", status, body)
			}
		})
	}
}

// TestBadHeader: a header cut short or malformed ends its own connection only.
func TestBadHeader(t *testing.T) {
	a := serve(t, "127.0.0.1:0", Handlers{})
	for _, wire := range []string{"PROXY TCP4 x\r\n" + get("/healthz"), "\r\n\r\n\x00\r\nQUIT\n\x21\x12", "PROXY", ""} {
		c, err := net.Dial("tcp", a.String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, wire); err != nil {
			t.Fatal(err)
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if b, _ := io.ReadAll(c); strings.Contains(string(b), "200 OK") {
			t.Errorf("%q is answered %q", wire, b)
		}
		c.Close()
	}
	if status, _, _ := ask(t, a, get("/healthz")); status != 200 {
		t.Errorf("then %d", status)
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	t.Run("served and removed", func(t *testing.T) {
		a := serve(t, "unix:"+path, Handlers{})
		if status, _, body := ask(t, a, get("/readyz")); status != 200 || body != "ok\n" {
			t.Errorf("%d %q", status, body)
		}
		if _, err := New("unix:"+path, Handlers{}); err == nil || !strings.Contains(err.Error(), "served by another process") {
			t.Errorf("a second server: %v", err)
		}
		if status, _, _ := ask(t, a, get("/readyz")); status != 200 {
			t.Errorf("after the second server: %d", status)
		}
	})
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after the server: %v", err)
	}
	t.Run("left by a killed process", func(t *testing.T) {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if status, _, _ := ask(t, serve(t, "unix:"+path, Handlers{}), get("/readyz")); status != 200 {
			t.Errorf("%d", status)
		}
	})
	t.Run("a file is not removed", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "precious")
		if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := New("unix:"+file, Handlers{}); err == nil {
			t.Error("no error")
		}
		if b, err := os.ReadFile(file); err != nil || string(b) != "x" {
			t.Errorf("%q, %v", b, err)
		}
	})
}

func TestNewErrors(t *testing.T) {
	taken := serve(t, "127.0.0.1:0", Handlers{})
	for name, addr := range map[string]string{
		"taken":        taken.String(),
		"no port":      "127.0.0.1",
		"no directory": "unix:" + filepath.Join(t.TempDir(), "no", "where.sock"),
	} {
		if s, err := New(addr, Handlers{}); err == nil || s != nil || !strings.HasPrefix(err.Error(), "open admin listener: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestShutdown: a running request finishes, and new connections are refused.
func TestShutdown(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	s, err := New("127.0.0.1:0", Handlers{Metrics: func(w io.Writer) {
		close(entered)
		<-leave
		_, _ = io.WriteString(w, "the end\n")
	}})
	if err != nil {
		t.Fatal(err)
	}
	served, shut, answer := make(chan error, 1), make(chan error, 1), make(chan string, 1)
	go func() { served <- s.Serve() }()
	go func() {
		resp, err := http.Get("http://" + s.Addr().String() + "/metrics")
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		answer <- string(b)
	}()
	<-entered
	go func() { shut <- s.Shutdown(context.Background()) }()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", s.Addr().String()); err == nil {
		t.Error("connected after the shutdown began")
	}
	close(leave)
	if err := <-shut; err != nil {
		t.Error(err)
	}
	if got := <-answer; got != "the end\n" {
		t.Errorf("the request got %q", got)
	}
}

// TestShutdownInTime: a request that does not end is cut off with the context.
func TestShutdownInTime(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	defer close(leave)
	s, err := New("127.0.0.1:0", Handlers{Ready: func() error { close(entered); <-leave; return nil }})
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve() }()
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, get("/readyz")); err != nil {
		t.Fatal(err)
	}
	<-entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("shutdown: %v", err)
	}
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes read from a connection that was cut off", n)
	}
}

// TestShutdownUnserved: a listener that was never served is closed as well.
func TestShutdownUnserved(t *testing.T) {
	s, err := New("127.0.0.1:0", Handlers{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", s.Addr().String()); err == nil {
		t.Error("still listening")
	}
	if err := s.Serve(); err != nil {
		t.Errorf("serve after shutdown: %v", err)
	}
}
