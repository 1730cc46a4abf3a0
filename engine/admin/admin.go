// Package admin is the door for those who run the process: the HTTP pages /metrics, /healthz and /readyz, and the word to systemd.
package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	proxyproto "github.com/pires/go-proxyproto"
)

const (
	// headerTimeout bounds the wait for a PROXY header, requestTimeout for a request, answerTimeout for taking the answer.
	headerTimeout  = 2 * time.Second
	requestTimeout = 5 * time.Second
	answerTimeout  = 10 * time.Second
	idleTimeout    = time.Minute
	maxHeaderBytes = 8 << 10

	// ContentType is that of the Prometheus text format.
	ContentType = "text/plain; version=0.0.4; charset=utf-8"

	unixPrefix = "unix:"
)

// Handlers are what the pages show. Each is called by the goroutine of a request, several at a time.
type Handlers struct {
	// Metrics writes the exposition. Nil makes /metrics a 404.
	Metrics func(io.Writer)
	// Token is what a request for the metrics must bring (see [authorized]); "" lets everybody read them, as does a nil func. It is
	// asked for each request, so it may change.
	Token func() string
	// Healthy says what is wrong with the process: a loop that does not turn. Nil is always healthy.
	Healthy func() error
	// Ready says why no traffic should come: not listening yet, draining, no data centre to be reached. Nil is always ready.
	Ready func() error
}

// Server serves the pages. Its methods may be called by any goroutine.
type Server struct {
	listener net.Listener
	http     http.Server
}

// New opens the listener: on "host:port", a loopback address unless the operator wants otherwise, or on "unix:/path", where a
// socket that nobody listens on any more is replaced. Nothing is answered before [Server.Serve]. The server owns the listener.
//
// A request may be preceded by a PROXY header, since load balancers put one before their HTTP health checks as well; it is read and
// forgotten. A v1 header must come in one piece.
//
// There are at most 32 connections at a time; one more takes the place of the oldest that is not being answered.
func New(addr string, h Handlers) (*Server, error) {
	l, err := listen(addr)
	if err != nil {
		return nil, fmt.Errorf("open admin listener: %w", err)
	}
	s := &Server{listener: &crowd{limit: maxVisitors, Listener: &proxyproto.Listener{
		Listener:          l,
		ReadHeaderTimeout: headerTimeout,
		ConnPolicy: func(proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
			return proxyproto.USE, nil
		},
	}}}
	s.http = http.Server{
		Handler:        attended(h.mux()),
		ConnContext:    withVisitor,
		ReadTimeout:    requestTimeout,
		WriteTimeout:   answerTimeout,
		IdleTimeout:    idleTimeout,
		MaxHeaderBytes: maxHeaderBytes,
		// A broken request is the requester's affair, and what deserves a line in the log is the engine's.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	return s, nil
}

func listen(addr string) (net.Listener, error) {
	path, ok := strings.CutPrefix(addr, unixPrefix)
	if !ok {
		return net.Listen("tcp", addr)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	return listenUnix(path)
}

// listenUnix opens a socket that its owner and group alone may use, whatever the umask. The kernel gives the file the mode
// that the socket has when it is bound, so there is no moment in which others can connect.
func listenUnix(path string) (net.Listener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		if err := c.Control(func(fd uintptr) { failed = syscall.Fchmod(int(fd), 0o600) }); err != nil {
			return err
		}
		return failed
	}}
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o660); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// removeStale removes a socket left behind by a process that was killed. Anything else at that path stays.
func removeStale(path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s exists and is not a socket", path)
	}
	c, err := net.Dial("unix", path)
	if err == nil {
		_ = c.Close()
		return fmt.Errorf("%s is served by another process", path)
	}
	return os.Remove(path)
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Serve answers requests until [Server.Shutdown] and then returns nil; any other end is an error. It is called once.
func (s *Server) Serve() error {
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve admin pages: %w", err)
	}
	return nil
}

// Shutdown closes the listener, lets running requests finish until ctx ends, and then cuts them off. It may be called without Serve.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	// Shutdown only knows the listener once Serve was called; closing it twice does no harm.
	_ = s.listener.Close()
	if err != nil {
		return fmt.Errorf("shut admin listener down: %w", err)
	}
	return nil
}

func (h Handlers) mux() *http.ServeMux {
	m := http.NewServeMux()
	if h.Metrics != nil {
		m.HandleFunc("GET /metrics", h.guarded(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", ContentType)
			h.Metrics(w)
		}))
	}
	m.HandleFunc("GET /healthz", page(h.Healthy))
	m.HandleFunc("GET /readyz", page(h.Ready))
	return m
}

// page answers 200 and "ok", or 503 and the error, in one line.
func page(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if check != nil {
			if err := check(); err != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
				_, _ = fmt.Fprintln(w, oneLine(err.Error()))
				return
			}
		}
		_, _ = fmt.Fprintln(w, "ok")
	}
}

var newlines = strings.NewReplacer("\r\n", "; ", "\n", "; ", "\r", "; ")

func oneLine(s string) string { return newlines.Replace(s) }
