package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sluice/bench/load"
)

// variant is something that stands between the load and the far side.
type variant struct {
	name string
	kind string // how clients speak to it
	peer bool
	own  bool // the proxy under test
	// command makes its process; it is to listen at addr.
	command func(b *bench, addr netip.AddrPort, s setup) *exec.Cmd
}

// setup is what a scenario asks of the proxy beyond the defaults.
type setup struct {
	fronted bool // strangers come
	greeted bool // clients of a relay without protocol want to be greeted
	header  bool // clients bring a PROXY header
	env     []string
	place   *place // another one than the bench's
}

const (
	rawName   = "raw"
	plainName = "plain"
	host      = "bench.example.org" // the name in the secret
)

func (o options) allVariants() []variant {
	all := []variant{{name: rawName, kind: load.Direct, command: rawCommand}, {name: plainName, kind: load.FakeTLS, command: plainCommand}}
	for _, p := range o.proxies {
		all = append(all, variant{name: p.name, kind: load.FakeTLS, own: true, command: sluiceCommand(p.value)})
	}
	for _, p := range o.peers {
		all = append(all, variant{name: p.name, kind: load.FakeTLS, peer: true, command: peerCommand(p.value)})
	}
	return all
}

func rawCommand(b *bench, addr netip.AddrPort, s setup) *exec.Cmd {
	args := []string{"child-raw", addr.String()}
	targets := b.farAt.DC
	switch {
	case s.fronted:
		targets = []netip.AddrPort{b.farAt.Front}
	case s.greeted:
		targets = b.farAt.Greet
	}
	for _, t := range targets {
		args = append(args, t.String())
	}
	return exec.Command(b.self, args...)
}

func plainCommand(b *bench, addr netip.AddrPort, _ setup) *exec.Cmd {
	return exec.Command(b.self, "child-plain", addr.String(), b.farAt.DC[0].String(), b.farAt.Front.String(), b.secret.String())
}

func sluiceCommand(binary string) func(*bench, netip.AddrPort, setup) *exec.Cmd {
	return func(b *bench, addr netip.AddrPort, s setup) *exec.Cmd {
		cmd := exec.Command(binary, "run")
		cmd.Env = append(environment(),
			"SLUICE_LISTEN="+addr.String(), "SLUICE_SECRET="+b.secret.String(), "SLUICE_FRONT="+b.farAt.Front.String(),
			"SLUICE_ADMIN_LISTEN=off", "SLUICE_STATE_DIR="+b.dir)
		for i, dc := range b.farAt.DC {
			cmd.Env = append(cmd.Env, fmt.Sprintf("SLUICE_DC_%d=%v", i+1, dc))
		}
		if b.profile != nil {
			cmd.Env = append(cmd.Env, "PROFILE_DIR="+b.profile.dir)
		}
		if s.header {
			cmd.Env = append(cmd.Env, "SLUICE_PROXY_PROTOCOL=required")
		}
		return cmd
	}
}

// environment is the driver's own without settings of a proxy.
func environment() []string {
	var kept []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "SLUICE_") {
			kept = append(kept, e)
		}
	}
	return kept
}

// peerCommand fills a template in. The command is split at blanks; what needs quoting is better put in a script.
func peerCommand(template string) func(*bench, netip.AddrPort, setup) *exec.Cmd {
	return func(b *bench, addr netip.AddrPort, _ setup) *exec.Cmd {
		dc := b.farAt.DC[1]
		fill := strings.NewReplacer(
			"{addr}", addr.String(), "{host}", addr.Addr().String(), "{port}", fmt.Sprint(addr.Port()),
			"{secret}", b.secret.String(), "{front}", b.farAt.Front.String(),
			"{dc}", dc.String(), "{dchost}", dc.Addr().String(), "{dcport}", fmt.Sprint(dc.Port()))
		var args []string
		for _, f := range strings.Fields(template) {
			args = append(args, fill.Replace(f))
		}
		return exec.Command(args[0], args[1:]...)
	}
}

// proxy is a running variant.
type proxy struct {
	variant
	cmd    *exec.Cmd
	addr   netip.AddrPort
	exited chan error
}

const startLimit = 20 * time.Second

// start runs a variant and waits until it takes connections.
func (b *bench) start(v variant, s setup) (*proxy, error) {
	port, err := b.freePort()
	if err != nil {
		return nil, err
	}
	p := &proxy{variant: v, addr: netip.AddrPortFrom(b.proxyAddr, port), exited: make(chan error, 1)}
	p.cmd = v.command(b, p.addr, s)
	logs, err := os.Create(filepath.Join(b.dir, "proxy.log"))
	if err != nil {
		return nil, err
	}
	defer logs.Close()
	p.cmd.Stdout, p.cmd.Stderr = logs, logs
	arrange(p.cmd)
	if len(s.env) > 0 {
		if p.cmd.Env == nil {
			p.cmd.Env = environment()
		}
		p.cmd.Env = append(p.cmd.Env, s.env...)
	}
	at := b.proxyPlace
	if s.place != nil {
		at = s.place
	}
	if err := at.do(p.cmd.Start); err != nil {
		return nil, fmt.Errorf("%s: %w", v.name, err)
	}
	go func() { p.exited <- p.cmd.Wait() }()
	deadline := time.Now().Add(startLimit)
	for {
		err := b.proxyPlace.do(func() error { return connects(p.addr) })
		if err == nil {
			return p, nil
		}
		select {
		case got := <-p.exited:
			p.exited <- got
			return nil, fmt.Errorf("%s has ended: %v\n%s", v.name, got, b.proxyLog())
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			p.stop()
			return nil, fmt.Errorf("%s does not listen at %v: %w\n%s", v.name, p.addr, err, b.proxyLog())
		}
	}
}

// proxyLog is the last of what the variant that was started last has said.
func (b *bench) proxyLog() string {
	text, _ := os.ReadFile(filepath.Join(b.dir, "proxy.log"))
	return string(text[max(0, len(text)-2000):])
}

func connects(addr netip.AddrPort) error {
	c, err := net.DialTimeout("tcp", addr.String(), time.Second)
	if err == nil {
		err = c.Close()
	}
	return err
}

// stop ends the process; whatever it started ends with it.
func (p *proxy) stop() {
	for _, pid := range descendants(p.cmd.Process.Pid)[1:] {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	_ = p.cmd.Process.Kill()
	<-p.exited
}

func (p *proxy) pid() int { return p.cmd.Process.Pid }

// alive is an error when the process has ended by itself.
func (p *proxy) alive() error {
	select {
	case err := <-p.exited:
		p.exited <- err
		return fmt.Errorf("%s has ended by itself: %w", p.name, errors.Join(err, errEnded))
	default:
		return nil
	}
}

var errEnded = errors.New("the proxy's process is gone")

// freePort asks the kernel for a port where the proxy is to listen.
func (b *bench) freePort() (port uint16, err error) {
	err = b.proxyPlace.do(func() error {
		l, err := net.Listen("tcp", netip.AddrPortFrom(b.proxyAddr, 0).String())
		if err != nil {
			return err
		}
		port = l.Addr().(*net.TCPAddr).AddrPort().Port()
		return l.Close()
	})
	return port, err
}
