package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"sluice/bench/client"
	"sluice/bench/stand"
)

// visit is a connection of somebody without the secret, or with something that must not open the door. One goroutine.
type visit struct {
	ctx   context.Context
	rig   *rig
	rnd   *rand.Rand
	hurry bool // nobody stays for long: a burst
	letIn bool
}

// visit makes one and enters how it ended.
func (s *soak) visit(ctx context.Context, name string, rnd *rand.Rand, do func(*visit) error) {
	s.makeVisit(name, &visit{ctx: ctx, rig: s.rig, rnd: rnd}, do)
}

func (s *soak) makeVisit(name string, v *visit, do func(*visit) error) {
	e := end{Kind: name, From: s.ledger.now()}
	s.ledger.begin()
	err := do(v)
	e.LetIn = v.letIn
	var wrong *wrongPage
	e.Wrong = errors.As(err, &wrong)
	s.ledger.close(v.ctx, e, 0, err)
}

func (v *visit) approach() (*net.TCPConn, error) {
	d := net.Dialer{Timeout: patience}
	c, err := d.DialContext(v.ctx, "tcp", v.rig.proxy.Addr().String())
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn), nil
}

// wrongPage says that a visitor saw something else than the site.
type wrongPage struct{ what string }

func (w *wrongPage) Error() string { return "not the site: " + w.what }

// browse looks at the site as a browser does: its page, and its certificate.
func (v *visit) browse() error {
	web := http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{ServerName: host, InsecureSkipVerify: true}, // looked at below
	}}
	request, err := http.NewRequestWithContext(v.ctx, http.MethodGet, "https://"+v.rig.proxy.Addr().String()+"/", nil)
	if err != nil {
		return err
	}
	answer, err := web.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if c := answer.TLS.PeerCertificates[0]; !v.rig.knows(c.Raw) {
		return &wrongPage{fmt.Sprintf("a certificate of %v", c.Subject)}
	}
	if string(body) != stand.SiteBody {
		return &wrongPage{fmt.Sprintf("a page of %d bytes", len(body))}
	}
	return nil
}

// stay keeps a connection for a while.
func (v *visit) stay(longest time.Duration) {
	if v.hurry {
		longest /= 5
	}
	sleep(v.ctx, time.Duration(v.rnd.Int64N(int64(longest))))
}

// silent says nothing, longer than a handshake may take or not.
func (v *visit) silent() error {
	c, err := v.approach()
	if err != nil {
		return err
	}
	defer c.Close()
	v.stay(15 * time.Second)
	return nil
}

// garbage is answered as the site answers it.
func (v *visit) garbage() error {
	c, err := v.approach()
	if err != nil {
		return err
	}
	defer c.Close()
	if v.rnd.IntN(2) == 0 {
		noise := make([]byte, 50+v.rnd.IntN(3000))
		_, _ = stand.NewPattern(v.rnd.Uint64()).Read(noise)
		noise[0] = 0xff // no TLS record, no HTTP
		if _, err := c.Write(noise); err != nil {
			return err
		}
		if v.rnd.IntN(2) == 0 {
			_, _ = io.Copy(io.Discard, io.LimitReader(c, 1<<16))
		}
		return nil
	}
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n"); err != nil {
		return err
	}
	heard, err := io.ReadAll(io.LimitReader(c, 1<<16))
	if err != nil {
		return err
	}
	if want := "HTTP/1.0 400 Bad Request"; !bytes.HasPrefix(heard, []byte(want)) {
		if len(heard) == 0 {
			return io.ErrUnexpectedEOF
		}
		return &wrongPage{fmt.Sprintf("%.60q", heard)}
	}
	return nil
}

// halfHello sends a part of a hello, good or foreign, and then nothing.
func (v *visit) halfHello() error {
	c, err := v.approach()
	if err != nil {
		return err
	}
	defer c.Close()
	h := client.Hello{Host: host, Hybrid: v.rnd.IntN(2) == 0}
	b := h.Foreign()
	if v.rnd.IntN(2) == 0 {
		b = h.Sign(v.rig.keys.lasting.Key)
	}
	if _, err := c.Write(b[:1+v.rnd.IntN(len(b)-1)]); err != nil {
		return err
	}
	v.stay(12 * time.Second)
	if v.rnd.IntN(2) == 0 {
		_ = c.SetLinger(0)
	}
	return nil
}

// reset connects, sends a little or nothing, and resets.
func (v *visit) reset() error {
	c, err := v.approach()
	if err != nil {
		return err
	}
	b := client.Hello{Host: host}.Foreign()
	if n := v.rnd.IntN(2 * len(b)); n < len(b) {
		_, _ = c.Write(b[:n])
	}
	_ = c.SetLinger(0)
	return c.Close()
}

var errLetIn = errors.New("let in, and must not be")

// unwelcome shows a hello that must be taken to the front.
func (v *visit) unwelcome(cfg client.Config) error {
	c, err := v.rig.dial(v.ctx, cfg)
	if err == nil {
		_ = c.Close()
		v.letIn = true
		return errLetIn
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return err // nobody was there to refuse it
	}
	return nil
}

// replay shows a hello that somebody has just been let in with.
func (v *visit) replay() error {
	c, err := v.rig.dial(v.ctx, client.Config{})
	if err != nil {
		return err
	}
	_ = c.Close()
	v.stay(5 * time.Second)
	return v.unwelcome(client.Config{Raw: c.HelloSent})
}

// wrongClock shows a hello from outside the clock window.
func (v *visit) wrongClock() error {
	at := time.Now().Add(time.Hour)
	if v.rnd.IntN(2) == 0 {
		at = time.Now().Add(-time.Hour)
	}
	return v.unwelcome(client.Config{Hello: client.Hello{Time: at}})
}

// wrongKey shows a hello that no secret has signed.
func (v *visit) wrongKey() error { return v.unwelcome(client.Config{Secret: newSecret()}) }
