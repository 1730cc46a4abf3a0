package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
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

	listens  string // the address of a proxy that is started again
	settings env
	locals   int
}

// newRig makes everything but the proxy.
func newRig(o options) (r *rig, err error) {
	r = &rig{options: o, listens: "127.0.0.1:0"}
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

// start runs the proxy with settings beside the rig's own, in a box.
func (r *rig) start(settings env, b *box) (err error) {
	r.settings = env{
		"SLUICE_SECRET": secret.String(), fmt.Sprintf("SLUICE_DC_%d", goodDC): r.dc.Addr().String(), "SLUICE_FRONT": r.front.Addr().String(),
		"SLUICE_DRAIN_TIMEOUT": "1s", "SLUICE_LOG_LEVEL": "info", "SLUICE_HANDSHAKE_TIMEOUT": "5s", "SLUICE_LISTEN": r.listens,
	}
	for k, v := range settings {
		r.settings[k] = v
	}
	for k, v := range r.settings {
		if v == "" {
			delete(r.settings, k)
		}
	}
	r.box = b
	return r.restart()
}

// restart runs the proxy, with the settings it had, where it listened before.
func (r *rig) restart() (err error) {
	if r.proxy != nil {
		r.settings["SLUICE_LISTEN"] = r.proxy.Addr().String()
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
	return r.box.opened(r.proxy.PID())
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
	c, err := client.Dial(context.Background(), client.Config{
		Addr: r.proxy.Addr(), Secret: secret, DC: dc, Timeout: 5 * time.Second, Local: r.local(),
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// stranger opens a connection that shows no secret.
func (r *rig) stranger() (*net.TCPConn, error) {
	d := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: r.local().AsSlice()}}
	c, err := d.Dial("tcp", r.proxy.Addr().String())
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// local is the address that connections to the proxy come from: never one that the proxy itself would dial from, so that faults
// of its ports are its own.
func (r *rig) local() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 1, 1}) }

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
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	return exchange(c)
}
