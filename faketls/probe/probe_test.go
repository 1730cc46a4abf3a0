package probe

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// certificate is self-signed, and has size bytes of ballast.
func certificate(t testing.TB, key crypto.Signer, size int) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"front.exam.test"}, NotAfter: time.Unix(1<<33, 0),
		OCSPServer: []string{string(bytes.Repeat([]byte{'x'}, size))},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func ecdsaKey(t testing.TB) crypto.Signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// tap is the front's end of a connection. It notes what the front writes until the client's second flight.
type tap struct {
	net.Conn
	mu    sync.Mutex
	wrote []byte
}

func (p *tap) Write(b []byte) (int, error) {
	p.mu.Lock()
	p.wrote = append(p.wrote, b...)
	p.mu.Unlock()
	return p.Conn.Write(b)
}

// records returns the lengths of the application records that the front wrote.
func (p *tap) records() (sizes []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for b := p.wrote; len(b) >= headerLen; {
		n := int(b[3])<<8 | int(b[4])
		if b[0] == typeApplication {
			sizes = append(sizes, n)
		}
		b = b[headerLen+n:]
	}
	return sizes
}

// learnFrom runs a front of crypto/tls for one connection, learns its flight and returns what the front wrote beside it. Slow has the
// client read a byte at a time.
func learnFrom(t *testing.T, c *tls.Config, slow bool) (Flight, []int, error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan *tap, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			done <- &tap{}
			return
		}
		p := &tap{Conn: conn}
		server := tls.Server(p, c)
		if server.Handshake() == nil {
			_, _ = io.Copy(io.Discard, server)
		}
		conn.Close()
		done <- p
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if slow {
		conn = &slowConn{conn}
	}
	f, err := Learn(ctx, conn, "front.exam.test", nil)
	if _, closed := conn.Write([]byte{0}); !errors.Is(closed, net.ErrClosed) {
		t.Errorf("the connection is still open: %v", closed)
	}
	return f, (<-done).records(), err
}

type slowConn struct{ net.Conn }

func (c *slowConn) Read(b []byte) (int, error) { return c.Conn.Read(b[:1]) }

func TestLearn(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	small, large, plain := certificate(t, ecdsaKey(t), 10), certificate(t, ecdsaKey(t), 12000), certificate(t, rsaKey, 2000)
	classic := []tls.CurveID{tls.X25519}
	cases := []struct {
		name    string
		config  *tls.Config
		tickets int
		group   tls.CurveID
		retry   bool
		ecdsa   bool
		match   Match
	}{
		{"usual, with a ticket in the flight", &tls.Config{Certificates: []tls.Certificate{small}}, 1, tls.X25519MLKEM768, false, true, Sum},
		{"no tickets", &tls.Config{Certificates: []tls.Certificate{small}, SessionTicketsDisabled: true}, 0, tls.X25519MLKEM768, false, true, Sum},
		{"RSA, x25519", &tls.Config{Certificates: []tls.Certificate{plain}, CurvePreferences: classic}, 1, tls.X25519, false, false, Sum},
		{"long chain", &tls.Config{Certificates: []tls.Certificate{large}}, 1, tls.X25519MLKEM768, false, true, Over},
		{"another key share", &tls.Config{Certificates: []tls.Certificate{small}, CurvePreferences: []tls.CurveID{tls.CurveP384}}, 1, tls.CurveP384, true, true, Sum},
		{"asks for a certificate", &tls.Config{Certificates: []tls.Certificate{small}, ClientAuth: tls.RequestClientCert}, 1, tls.X25519MLKEM768, false, true, Sum},
	}
	for _, tc := range cases {
		for name, slow := range map[string]bool{tc.name: false, tc.name + ", byte by byte": true} {
			t.Run(name, func(t *testing.T) {
				f, wrote, err := learnFrom(t, tc.config.Clone(), slow)
				if err != nil {
					t.Fatal(err)
				}
				if want := wrote[:len(wrote)-tc.tickets]; !slices.Equal(f.Records, want) {
					t.Errorf("learned records %v, the front wrote %v, %d of them tickets", f.Records, wrote, tc.tickets)
				}
				if f.Version != tls.VersionTLS13 || f.Cipher < 0x1301 || f.Cipher > 0x1303 || f.KeyShareFirst {
					t.Errorf("version %04x, cipher %04x, key share first %v", f.Version, f.Cipher, f.KeyShareFirst)
				}
				if f.Group != tc.group || f.Hybrid != (tc.group == tls.X25519MLKEM768) || f.Retry != tc.retry || f.ECDSA != tc.ecdsa {
					t.Errorf("group %v, hybrid %v, retry %v, ECDSA %v", f.Group, f.Hybrid, f.Retry, f.ECDSA)
				}
				if _, match, text := f.Shape(); match != tc.match {
					t.Errorf("match %v (%s), want %v", match, text, tc.match)
				}
			})
		}
	}
}

func TestLearnOlderTLS(t *testing.T) {
	cert := certificate(t, ecdsaKey(t), 10)
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS12} {
		f, _, err := learnFrom(t, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS10, MaxVersion: version}, false)
		if err != nil {
			t.Fatal(err)
		}
		if shape, match, _ := f.Shape(); f.Version != version || match != NotTLS13 || shape.Record != 0 {
			t.Errorf("version %04x, match %v, shape %+v", f.Version, match, shape)
		}
	}
}

// TestLearnFails: what is no TLS server at all.
func TestLearnFails(t *testing.T) {
	for name, answer := range map[string]string{
		"http":           "HTTP/1.1 400 Bad Request\r\n\r\n",
		"alert":          "\x15\x03\x03\x00\x02\x02\x28",
		"nothing":        "",
		"half a header":  "\x16\x03",
		"bad handshake":  "\x16\x03\x03\x00\x05\x02\x00\x00\x01\x00",
		"empty record":   "\x16\x03\x03\x00\x00",
		"out of the end": "\x17\x03\x03\xff\xff\x00",
	} {
		t.Run(name, func(t *testing.T) {
			near, far := net.Pipe()
			go func() {
				_, _ = far.Read(make([]byte, 4096))
				_, _ = io.WriteString(far, answer)
				far.Close()
			}()
			if f, err := Learn(t.Context(), near, "front.exam.test", nil); err == nil {
				t.Errorf("learned %+v", f)
			}
		})
	}
}

// TestLearnIsCancelled: a front that does not answer holds nobody longer than the context says.
func TestLearnIsCancelled(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _ = far.Read(make([]byte, 4096))
		cancel()
	}()
	if _, err := Learn(ctx, near, "front.exam.test", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// The hello's random is told before the hello leaves, whole as it leaves.
func TestLearnTellsTheRandom(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	told := make(chan [32]byte, 2)
	go func() { _, _ = Learn(t.Context(), near, "front.exam.test", func(random [32]byte) { told <- random }) }()
	hello := make([]byte, 11+32)
	if _, err := io.ReadFull(far, hello); err != nil {
		t.Fatal(err)
	}
	select {
	case random := <-told:
		if !bytes.Equal(random[:], hello[11:]) {
			t.Errorf("told %x, sent %x", random, hello[11:])
		}
	default:
		t.Error("the hello left and nothing was told")
	}
}
