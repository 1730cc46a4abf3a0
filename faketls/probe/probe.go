// Package probe learns what the flight of a real front looks like to somebody who only watches, so that ours can look the same
// (protocol.md 5). It talks to the front over a connection that the caller has made; the rest of it is pure.
package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
)

// Flight is what a front answers a ClientHello with, as far as it can be seen from outside.
type Flight struct {
	// Version, Cipher and Group are what the front chose of what a browser offers. Group is 0 before TLS 1.3 when there was none.
	Version, Cipher uint16
	Group           tls.CurveID
	// Hybrid says that the group is X25519MLKEM768.
	Hybrid bool
	// KeyShareFirst says that the ServerHello's key_share comes before its supported_versions.
	KeyShareFirst bool
	// Retry says that the front asked for another key share first (HelloRetryRequest).
	Retry bool
	// ECDSA says that the certificate's key is of that kind: the flight's length then varies by a few bytes.
	ECDSA bool
	// Records are the lengths of the encrypted records (0x17), without their headers, from the ServerHello to the front's Finished. Session
	// tickets are not among them, though many a front sends them in the same breath.
	Records []int
}

// Learn does a TLS handshake for name over conn, as a browser would, and returns what the front's flight was. It does not judge
// the certificate. It closes conn, whatever the outcome. It blocks until ctx is done at the longest; any goroutine may call it. sends, if not nil,
// is told the random of the hello before the hello leaves.
func Learn(ctx context.Context, conn net.Conn, name string, sends func(random [32]byte)) (Flight, error) {
	r := &recorder{Conn: conn, sends: sends}
	client := tls.Client(r, &tls.Config{
		ServerName:         name,
		InsecureSkipVerify: true, // we look at the front, we send it nothing
		MinVersion:         tls.VersionTLS10,
		NextProtos:         []string{"h2", "http/1.1"},
		ClientSessionCache: tls.NewLRUClientSessionCache(1), // no session is kept, but the hello speaks of sessions like a browser's
		// In the order of the clients' hellos, so that the front has the same choice (the hellos in faketls/testdata).
		CurvePreferences: []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384},
	})
	defer client.Close()
	if err := client.HandshakeContext(ctx); err != nil {
		return Flight{}, fmt.Errorf("probe: handshake with the front: %w", err)
	}
	state := client.ConnectionState()
	f := Flight{
		Version: state.Version, Cipher: state.CipherSuite, Group: state.CurveID,
		Hybrid: state.CurveID == tls.X25519MLKEM768, KeyShareFirst: keyShareFirst(r.clear),
		Retry: state.HelloRetryRequest, Records: r.sealed,
	}
	if certs := state.PeerCertificates; len(certs) > 0 {
		f.ECDSA = certs[0].PublicKeyAlgorithm == x509.ECDSA
	}
	return f, nil
}
