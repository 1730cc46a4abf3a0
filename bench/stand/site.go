package stand

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// Site is a web site behind TLS with a certificate of its own making.
type Site struct {
	Certificate *x509.Certificate

	addr  netip.AddrPort
	http  *http.Server
	ended chan struct{}
}

// SiteBody is what every page of a Site says.
const SiteBody = "<!doctype html><title>A web site</title><p>Nothing to see here.\n"

// ListenSite starts a web site named host at addr.
func ListenSite(addr, host string) (*Site, error) {
	cert, err := NewCertificate(host)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("stand-in: %w", err)
	}
	s := &Site{Certificate: cert.Leaf, addr: listener.Addr().(*net.TCPAddr).AddrPort(), ended: make(chan struct{})}
	s.http = &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       30 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0), // strangers' handshakes fail; that is what it is for
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, SiteBody)
		}),
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}
	go func() {
		defer close(s.ended)
		_ = s.http.Serve(tls.NewListener(listener, config))
	}()
	return s, nil
}

// Addr is where the site listens.
func (s *Site) Addr() netip.AddrPort { return s.addr }

// Close ends the site.
func (s *Site) Close() {
	_ = s.http.Close()
	<-s.ended
}
