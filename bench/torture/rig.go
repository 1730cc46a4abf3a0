package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"sluice/bench/client"
	"sluice/bench/stand"
)

var secret = client.Secret{Key: [16]byte{9, 7, 5, 3, 1, 8, 6, 4, 2, 9, 7, 5, 3, 1, 8, 6}, Host: "front.example"}

// The numbers of the data centres: the load's, and the one that faults are aimed at.
const (
	goodDC = 2
	badDC  = 4
)

// visitTime is what a newcomer's patience lasts: long, on a machine that does nothing but torture.
const visitTime = 10 * time.Second

// env is settings of the proxy.
type env map[string]string

// rig is a proxy between a data centre and a front, with a directory that all of them may use.
type rig struct {
	options
	dir   string
	dc    *stand.DC
	front *stand.Plain
	proxy *stand.Proxy
	box   *box // the proxy's surroundings

	addr     netip.AddrPort // of the proxy, also when it is started again
	settings env
}

// newRig makes everything but the proxy.
func newRig(o options) (r *rig, err error) {
	r = &rig{options: o}
	if r.dir, err = os.MkdirTemp("", "torture"); err != nil {
		return nil, err
	}
	if err = os.Chmod(r.dir, 0o711); err != nil { // a proxy of another user must get to its socket
		return nil, err
	}
	if r.dc, err = stand.ListenDC("127.0.0.1:0"); err != nil {
		return nil, err
	}
	r.front, err = stand.ListenPlain("127.0.0.1:0")
	return r, err
}

// start runs the proxy with settings beside the rig's own.
func (r *rig) start(settings env) (err error) {
	r.settings = env{
		"SLUICE_SECRET": secret.String(), fmt.Sprintf("SLUICE_DC_%d", goodDC): r.dc.Addr().String(), "SLUICE_FRONT": r.front.Addr().String(),
		"SLUICE_DRAIN_TIMEOUT": "1s", "SLUICE_LOG_LEVEL": "info", "SLUICE_HANDSHAKE_TIMEOUT": "5s",
	}
	for k, v := range settings {
		r.settings[k] = v
	}
	for k, v := range r.settings {
		if v == "" {
			delete(r.settings, k)
		}
	}
	return r.restart()
}

// restart runs the proxy, with the settings it had, where it listened before.
func (r *rig) restart() (err error) {
	if r.addr.IsValid() {
		r.settings["SLUICE_LISTEN"] = r.addr.String()
	}
	state := r.dir + "/state"
	if r.box != nil && r.box.state != "" {
		state = r.box.state
	} else if err := os.MkdirAll(state, 0o777); err == nil {
		_ = os.Chmod(state, 0o777)
	}
	command, err := r.box.command(r)
	if err != nil {
		return err
	}
	if r.proxy, err = stand.StartProxy(state, r.settings, command...); err != nil {
		return err
	}
	r.addr = r.proxy.Addr()
	return r.box.opened()
}

// close ends everything.
func (r *rig) close() (err error) {
	if r.proxy != nil {
		err = r.proxy.Stop(15 * time.Second)
	}
	r.box.close()
	if r.front != nil {
		r.front.Close()
	}
	if r.dc != nil {
		r.dc.Close()
	}
	_ = os.RemoveAll(r.dir)
	return err
}

// client opens a session to a data centre.
func (r *rig) client(dc int16) (*client.Conn, error) {
	return r.clientAs(client.Config{DC: dc})
}

// clientAs is client with a will of its own.
func (r *rig) clientAs(cfg client.Config) (*client.Conn, error) {
	from := r.local()
	cfg.Secret, cfg.Timeout, cfg.Local, cfg.Port = secret, visitTime, from.Addr(), from.Port()
	if !cfg.Addr.IsValid() {
		cfg.Addr = r.addr
	}
	if cfg.DC == 0 {
		cfg.DC = goodDC
	}
	return client.Dial(context.Background(), cfg)
}

// stranger opens a connection that shows no secret.
func (r *rig) stranger() (*net.TCPConn, error) {
	return dialFrom(r.local(), r.addr)
}

// local is where the next connection to the proxy comes from: an address and a port that nobody else dials from, so that what becomes
// of the ports that the kernel chooses is the proxy's affair alone.
func (r *rig) local() netip.AddrPort {
	n := places.Add(1)
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 1, byte(1 + n/20_000%200)}), uint16(10_000+n%20_000))
}

var places atomic.Uint32 // that were given out, in all trials

// proxyAddr is where the proxy listens.
func (r *rig) proxyAddr() netip.AddrPort { return r.addr }

// visitClient is a client that comes, takes something and goes.
func (r *rig) visitClient() error {
	c, err := r.client(goodDC)
	if err != nil {
		return err
	}
	return visit(c)
}

// visitFront is the same of a stranger.
func (r *rig) visitFront() error {
	c, err := r.stranger()
	if err != nil {
		return err
	}
	return visit(c)
}

func visit(c stream) error {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(visitTime))
	return exchange(c)
}

// dialFrom connects from a port of one's own choice.
func dialFrom(from, to netip.AddrPort) (*net.TCPConn, error) {
	d := net.Dialer{Timeout: visitTime, LocalAddr: net.TCPAddrFromAddrPort(from)}
	c, err := d.Dial("tcp", to.String())
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// isTimeout says whether somebody has waited in vain.
func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
