package doctor

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/engine/config"
)

// The addresses of the tests, all of documentation: what is connected to is on loopback.
const (
	publicName = "proxy.example.org"
	publicAddr = "192.0.2.10"   // the load balancer's
	originAddr = "198.51.100.7" // this host's
	otherAddr  = "203.0.113.99" // somebody else's
	secretKey  = "ee00112233445566778899aabbccddeeff"
	secretHex  = secretKey + "70726f78792e6578616d706c652e6f7267" // proxy.example.org
)

// scene is a world in which everything is as it should be until a test changes it.
type scene struct {
	t     *testing.T
	env   map[string]string
	world World
	names map[string][]string // DNS
	ca    *authority

	shared tls.Certificate // the front's, for others who have it

	mu     sync.Mutex
	routes map[string]string // from an address to where a stand-in listens
	dialed []string
}

func newScene(t *testing.T) *scene {
	s := &scene{t: t, env: map[string]string{}, names: map[string][]string{}, routes: map[string]string{}, ca: newAuthority(t)}
	s.world = World{
		Now: time.Now, Dial: s.dial, Resolve: s.resolve, Root: t.TempDir(), Roots: s.ca.pool(), Needs: needs,
		Local:        []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr(originAddr)},
		Synchronised: func() (bool, error) { return true, nil },
		Descriptors:  func() (uint64, error) { return 65536, nil },
		Step:         20 * time.Second, Grace: 5 * time.Second,
	}
	s.set("SLUICE_SECRET", secretHex)
	s.set("SLUICE_LISTEN", "127.0.0.1:8443")
	s.set("SLUICE_FRONT", "127.0.0.1:1")
	s.set("SLUICE_STATE_DIR", t.TempDir())
	s.set("SLUICE_ADMIN_LISTEN", "unix:"+filepath.Join(t.TempDir(), "admin.sock"))
	return s
}

func (s *scene) set(name, value string) { s.env[name] = value }

// behindEdge puts a load balancer in front, whose machines have addresses of their own.
func (s *scene) behindEdge() {
	s.set("SLUICE_EDGE", "custom")
	s.set("SLUICE_EDGE_MODE", "opaque")
	s.set("SLUICE_EDGE_RANGES", "192.0.2.0/24")
	s.set("SLUICE_PUBLIC_HOST", publicName)
	s.set("SLUICE_PUBLIC_PORT", "443")
	s.names[publicName] = []string{publicAddr}
}

func (s *scene) config() *config.Config {
	s.t.Helper()
	var environ []string
	for k, v := range s.env {
		environ = append(environ, k+"="+v)
	}
	cfg, err := config.Load(environ)
	if err != nil {
		s.t.Fatal(err)
	}
	return cfg
}

func (s *scene) exam() *exam {
	s.t.Helper()
	return newExam(s.t.Context(), s.config(), s.world)
}

// look makes one look alone.
func (s *scene) look(f func(context.Context, *exam) Finding) Finding {
	s.t.Helper()
	return f(s.t.Context(), s.exam())
}

func (s *scene) resolve(_ context.Context, host string) (addrs []netip.Addr, err error) {
	for _, text := range s.names[host] {
		addrs = append(addrs, netip.MustParseAddr(text))
	}
	if addrs == nil {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return addrs, nil
}

// dial leads routed addresses to their stand-ins and loopback to itself. Nothing else can be reached.
func (s *scene) dial(ctx context.Context, network, address string) (net.Conn, error) {
	s.mu.Lock()
	s.dialed = append(s.dialed, address)
	to, routed := s.routes[address]
	s.mu.Unlock()
	if a, err := netip.ParseAddrPort(address); !routed && err == nil && !a.Addr().IsLoopback() {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ENETUNREACH}
	}
	if routed {
		address = to
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}

func (s *scene) route(from, to string) { s.routes[from] = to }

// proc writes a file below the scene's /proc.
func (s *scene) proc(path, text string) {
	s.t.Helper()
	path = filepath.Join(s.world.Root, "proc", path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// want checks a finding's status, and that what it says holds the words.
func (f Finding) want(t *testing.T, status Status, words ...string) {
	t.Helper()
	all := f.Seen + "\n" + f.Do + "\n" + strings.Join(f.Details, "\n")
	if f.Status != status {
		t.Errorf("%s, want %s: %s", f.Status, status, all)
	}
	if (status == Fail || status == Warn) && !f.far && f.Do == "" && !strings.Contains(f.Seen, "could not be asked") {
		t.Errorf("says nothing of what to do: %s", all)
	}
	for _, w := range words {
		if !strings.Contains(all, w) {
			t.Errorf("%q is not in:\n%s", w, all)
		}
	}
}

// authority signs the certificates of a scene.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.key = newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test Root", Organization: []string{"Test Authority"}}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// issue makes a certificate that is good for 90 days, as change may alter it.
func (a *authority) issue(change func(*x509.Certificate), names ...string) tls.Certificate {
	a.t.Helper()
	key := newKey(a.t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 0, 90),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key}
}

// site is a web server on loopback, over TLS, and in clear where clear is not nil: the head of its answers is as given.
type site struct {
	head http.Header
	date time.Time // of its answers; the zero time is now
	tls  *tls.Config
}

// serve starts the site until the test ends and returns its address.
func (w site) serve(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		Handler: http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
			for k, v := range w.head {
				out.Header()[k] = v
			}
			if !w.date.IsZero() {
				out.Header().Set("Date", w.date.UTC().Format(http.TimeFormat))
			}
			_, _ = io.WriteString(out, "hello")
		}),
		TLSConfig: w.tls, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: 30 * time.Second,
	}
	go func() {
		if w.tls == nil {
			_ = server.Serve(ln)
		} else {
			_ = server.ServeTLS(ln, "", "")
		}
	}()
	t.Cleanup(func() { _ = server.Close() })
	return ln.Addr().String()
}

// front starts a good front and sets it.
func (s *scene) front() (addr string) {
	s.t.Helper()
	addr = site{head: http.Header{"Server": {"nginx"}}, tls: onlyTLS(s.ca.issue(nil, publicName))}.serve(s.t)
	s.set("SLUICE_FRONT", addr)
	return addr
}

func onlyTLS(cert tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{cert}}
}

// server runs f for each connection until the test ends and returns its address.
func server(t *testing.T, f func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.Map
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			open.Store(c, nil)
			running.Go(func() {
				defer c.Close()
				f(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		open.Range(func(c, _ any) bool { return c.(net.Conn).Close() == nil || true })
		running.Wait()
	})
	return ln.Addr().String()
}

// admin starts a stand-in for the running proxy's admin address, with the lines given on its metrics page.
func (s *scene) admin(lines ...string) {
	s.adminWith(http.StatusOK, lines...)
}

func (s *scene) adminWith(health int, lines ...string) {
	s.t.Helper()
	ln, err := net.Listen("unix", strings.TrimPrefix(s.env["SLUICE_ADMIN_LISTEN"], "unix:"))
	if err != nil {
		s.t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: 30 * time.Second, Handler: http.HandlerFunc(func(out http.ResponseWriter, q *http.Request) {
		if want := s.env["SLUICE_ADMIN_TOKEN"]; want != "" && q.URL.Path == "/metrics" && q.Header.Get("Authorization") != "Bearer "+want {
			out.WriteHeader(http.StatusUnauthorized)
			return
		}
		if q.URL.Path == "/metrics" {
			_, _ = io.WriteString(out, strings.Join(lines, "\n")+"\n")
			return
		}
		out.WriteHeader(health)
		_, _ = io.WriteString(out, "a loop does not turn")
	})}
	go func() { _ = server.Serve(ln) }()
	s.t.Cleanup(func() { _ = server.Close() })
}
