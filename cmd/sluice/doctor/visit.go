package doctor

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// answer is what a server says to a visitor.
type answer struct {
	chain []*x509.Certificate // in the order sent; empty without a handshake
	// closed says that the server was reached, and ended the handshake: by an alert, or without a word.
	closed bool
	word   string      // how it ended it
	spoke  bool        // it has sent a byte
	head   http.Header // of an HTTP answer; nil without one
	status string
	at     time.Time // when the HTTP answer came
}

func (a answer) leaf() *x509.Certificate {
	if len(a.chain) == 0 {
		return nil
	}
	return a.chain[0]
}

// refused says that it was a TLS server that ended the handshake, by an alert.
func (a answer) refused() bool { return a.closed && strings.HasPrefix(a.word, "remote error: tls: ") }

// visitTLS asks over conn as a browser would that wants name: a handshake, and then, if wanted, a page. It closes conn.
func (x *exam) visitTLS(ctx context.Context, conn net.Conn, name string, page bool) (a answer, err error) {
	defer conn.Close()
	heard := &listener{Conn: conn}
	client := tls.Client(heard, &tls.Config{
		ServerName: name, InsecureSkipVerify: true, // judged by whom it concerns
		MinVersion: tls.VersionTLS10, NextProtos: []string{"http/1.1"},
	})
	if err := client.HandshakeContext(ctx); err != nil {
		var late net.Error
		if errors.As(err, &late) && late.Timeout() || ctx.Err() != nil {
			return a, fmt.Errorf("no answer to a TLS hello: %w", err)
		}
		return answer{closed: true, word: err.Error(), spoke: heard.any}, nil
	}
	a.spoke = true
	a.chain = client.ConnectionState().PeerCertificates
	if page {
		x.askHTTP(client, name, &a)
	}
	return a, nil
}

// listener notes whether anything was heard.
type listener struct {
	net.Conn
	any bool
}

func (l *listener) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	l.any = l.any || n > 0
	return n, err
}

// visitPlain asks over conn in clear. It closes conn.
func (x *exam) visitPlain(conn net.Conn, name string) (a answer) {
	defer conn.Close()
	x.askHTTP(conn, name, &a)
	a.closed = a.head == nil
	return a
}

const (
	browser   = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	maxAnswer = 64 << 10 // of an HTTP answer's head
)

// askHTTP asks for the home page and reads the head of what comes.
func (x *exam) askHTTP(conn io.ReadWriter, name string, a *answer) {
	request := "GET / HTTP/1.1\r\nHost: " + name + "\r\nUser-Agent: " + browser + "\r\nAccept: */*\r\nConnection: close\r\n\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		return
	}
	response, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, maxAnswer)), nil)
	if err != nil {
		return
	}
	_ = response.Body.Close()
	a.head, a.status, a.at = response.Header, response.Status, x.world.Now()
}

// describe is a certificate in a few words.
func describe(c *x509.Certificate) string {
	names := "no name"
	if len(c.DNSNames) > 0 {
		names = c.DNSNames[0]
		if len(c.DNSNames) > 1 {
			names += " and " + strconv.Itoa(len(c.DNSNames)-1) + " more"
		}
	}
	issuer := c.Issuer.CommonName
	if len(c.Issuer.Organization) > 0 {
		issuer = c.Issuer.Organization[0]
	}
	return fmt.Sprintf("a certificate for %s by %s", names, issuer)
}

// same says whether two answers show the same certificate, or both none.
func same(a, b answer) bool {
	if a.leaf() == nil || b.leaf() == nil {
		return a.leaf() == nil && b.leaf() == nil
	}
	return bytes.Equal(a.leaf().Raw, b.leaf().Raw)
}
