package admin

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// dialAdmin connects and says something that is no whole request.
func dialAdmin(t *testing.T, a net.Addr, say string) net.Conn {
	t.Helper()
	c, err := net.Dial(a.Network(), a.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, say); err != nil {
		t.Fatal(err)
	}
	return c
}

// As many silent connections as there are places stay; each one more costs the oldest its place, and whoever asks is answered.
func TestCrowd(t *testing.T) {
	a := serve(t, "127.0.0.1:0", Handlers{})
	var silent []net.Conn
	for i := range 3 * maxVisitors {
		silent = append(silent, dialAdmin(t, a, []string{"", "GET /heal", "PROXY TC"}[i%3]))
	}
	if status, _, body := ask(t, a, get("/healthz")); status != 200 || body != "ok\n" {
		t.Errorf("among the silent: %d %q", status, body)
	}
	// The request above took the place of one more.
	for i, c := range silent[:2*maxVisitors+1] {
		if _, err := io.ReadAll(c); isTimeout(err) {
			t.Fatalf("connection %d of %d, with places for %d, is still there", i, len(silent), maxVisitors)
		}
	}
}

// A request that is being answered keeps its place, and when all places are such ones the next connection is closed.
func TestCrowdOfRequests(t *testing.T) {
	leave := make(chan struct{})
	var entered sync.WaitGroup
	entered.Add(maxVisitors)
	a := serve(t, "127.0.0.1:0", Handlers{Metrics: func(w io.Writer) {
		entered.Done()
		<-leave
		fmt.Fprintln(w, "done")
	}})
	var asking []net.Conn
	for range maxVisitors {
		asking = append(asking, dialAdmin(t, a, get("/metrics")))
	}
	entered.Wait()
	if b, err := io.ReadAll(dialAdmin(t, a, "")); len(b) > 0 || isTimeout(err) {
		t.Errorf("one too many: %q, %v", b, err)
	}
	close(leave)
	for i, c := range asking {
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		if b, err := io.ReadAll(r.Body); string(b) != "done\n" {
			t.Errorf("request %d: %q, %v", i, b, err)
		}
		_ = r.Body.Close()
	}
	if status, _, _ := ask(t, a, strings.Replace(get("/healthz"), "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1)); status != 200 {
		t.Errorf("afterwards %d", status)
	}
}

func isTimeout(err error) bool {
	t, ok := err.(net.Error)
	return ok && t.Timeout()
}
