package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
)

var rangesFaults = []fault{
	{
		name: "ranges-hostile", about: "the publisher of the load balancer's ranges sends everything but a list",
		prepare: publishing, strike: hostilePublisher,
	},
	{
		name: "ranges-hang", about: "the publisher takes the request and never answers", long: true,
		prepare: publishing, strike: func(t *trial) (func() error, error) {
			t.publisher.set("hang")
			return func() error { t.publisher.set("good"); return t.refreshed("ok") }, t.refreshed("failed")
		},
	},
}

// publisher serves a list of ranges, or what it is told to.
type publisher struct {
	server *httptest.Server
	mode   atomic.Pointer[string]
	more   atomic.Int32 // ranges beside the loopback's
	done   chan struct{}
}

func (p *publisher) set(mode string) { p.mode.Store(&mode) }

// add makes the list n ranges long.
func (p *publisher) add(n int) { p.more.Store(int32(n)) }

func (p *publisher) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	lines := func(all ...string) { _, _ = io.WriteString(w, strings.Join(all, "\n")+"\n") }
	switch mode := *p.mode.Load(); mode {
	case "good":
		lines("127.0.0.0/8")
		for i := 2; i <= int(p.more.Load()); i++ {
			lines(fmt.Sprintf("10.0.%d.0/24", i))
		}
	case "error":
		w.WriteHeader(http.StatusInternalServerError)
	case "empty":
	case "page":
		lines("<!doctype html><title>Just a moment</title>")
	case "world":
		lines("127.0.0.0/8", "0.0.0.0/0")
	case "shrunk":
		lines("10.0.2.0/24")
	case "binary":
		_, _ = w.Write([]byte(strings.Repeat("\x00\xff127.0.0.0/8\r\x1b", 1000)))
	case "long line":
		lines(strings.Repeat("1", 3<<20))
	case "endless":
		for {
			if _, err := io.WriteString(w, strings.Repeat("10.1.1.0/24\n", 1000)); err != nil {
				return
			}
		}
	case "cut":
		w.Header().Set("Content-Length", "1000")
		lines("127.0.0.0/8", "10.0.2.0/24")
	case "circle":
		http.Redirect(w, q, q.URL.String(), http.StatusFound)
	case "hang":
		select {
		case <-q.Context().Done():
		case <-p.done:
		}
	}
}

var hostileModes = []string{"error", "empty", "page", "world", "shrunk", "binary", "long line", "endless", "cut", "circle"}

// publishing has connections taken only from a published list, which is refreshed at every reload.
func publishing(t *trial) (env, error) {
	t.publisher = &publisher{done: make(chan struct{})}
	t.publisher.set("good")
	t.publisher.add(4)
	t.publisher.server = httptest.NewServer(t.publisher)
	t.atEnd(func() {
		close(t.publisher.done)
		t.publisher.server.Close()
	})
	return env{"SLUICE_EDGE": "custom", "SLUICE_EDGE_MODE": "opaque", "SLUICE_EDGE_RANGES": t.publisher.server.URL + "/list", "SLUICE_EDGE_REFRESH": "10m"}, nil
}

// hostilePublisher tries every way to be wrong. The list in force stays what it was.
func hostilePublisher(t *trial) (func() error, error) {
	for _, mode := range hostileModes {
		t.publisher.set(mode)
		if err := t.refreshed("failed"); err != nil {
			return nil, fmt.Errorf("%s: %w", mode, err)
		}
		if n, err := t.proxy.SumMetric("sluice_ranges_prefixes"); err != nil || n != 4 {
			return nil, fmt.Errorf("after %s %v ranges are in force, not 4: %w", mode, n, err)
		}
	}
	return func() error { t.publisher.set("good"); return t.refreshed("ok") }, nil
}

// refreshed has the proxy look at its lists and waits for the outcome.
func (t *trial) refreshed(result string) error {
	series := fmt.Sprintf("sluice_ranges_refreshes_total{result=%q}", result)
	before, err := t.proxy.Metric(series)
	if err != nil {
		return err
	}
	if err := t.proxy.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	return t.awaitMetric(series, before+1)
}
