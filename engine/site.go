package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"sluice/engine/config"
	"sluice/engine/front"
	"sluice/faketls"
	"sluice/faketls/probe"
)

const (
	// lineTime is how long a stranger may wait for a place at the front.
	lineTime = 30 * time.Second
	// fewPlaces is the least number of places.
	fewPlaces = 4
)

// site is a front with what is known of its handshake. Any goroutine may use it.
type site struct {
	*front.Front
	to     config.Front
	host   string // the name it is looked at by
	number string // its place in the configuration, from 1 on: what metrics call it

	shape  atomic.Pointer[faketls.Shape]
	match  atomic.Pointer[probe.Match] // nil until it has been looked at
	looped atomic.Bool                 // the last look came back to one of our listeners
	look   chan struct{}               // asks for another look
	looked atomic.Int64                // when the last one began, by the engine's clock
}

// sites are the fronts of a configuration: the one for every other name is the first of all.
type sites struct {
	all    []*site
	choice *front.Choice[*site]
}

// newPlaces lets strangers have a quarter of all connections, so that they never take the places of clients, and half as many wait.
func newPlaces(connections int64) *front.Places {
	n := int(max(connections/4, fewPlaces))
	return front.NewPlaces(n, n/2)
}

// makeSites makes the configured fronts, or the built-in site of a trial. What had knows of the same front is taken over.
func (e *Engine) makeSites(cfg *config.Config, had *live) (s sites, err error) {
	fronts := append([]config.FrontFor{{Front: cfg.Front}}, cfg.FrontsFor...)
	for i, f := range fronts {
		made, err := e.makeSite(cfg, f.Front)
		if err != nil {
			return s, err
		}
		made.number = strconv.Itoa(i + 1)
		s.all = append(s.all, made)
		if i == 0 {
			s.choice = front.NewChoice(made)
		} else {
			s.choice.Add(f.Name, made)
		}
	}
	for i, made := range s.all {
		made.host = s.lookedAtBy(made, fronts[i].Name, cfg.Secrets)
		made.inherit(had, &e.unlearned)
	}
	return s, nil
}

// lookedAtBy is the name that a front is asked for: a secret's, if there is one that leads to it.
func (s *sites) lookedAtBy(made *site, name string, secrets []config.Secret) string {
	var hosts []string
	for _, secret := range secrets {
		hosts = append(hosts, secret.Host)
	}
	host := s.choice.AskedBy(made, name, hosts)
	switch {
	case host != "":
		return host
	case made.to.Named():
		return made.to.Host
	case len(hosts) > 0:
		return hosts[0]
	}
	return ""
}

func (e *Engine) makeSite(cfg *config.Config, to config.Front) (*site, error) {
	s := &site{to: to, look: make(chan struct{}, 1)}
	c := front.Config{
		Host: to.Host, Port: to.Port, Public: cfg.PublicHost, PublicPort: cfg.PublicPort,
		Resolve: func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		},
		Self:     func() []netip.AddrPort { return e.ownListeners(cfg) },
		Local:    localAddrs,
		Resolved: func(changed bool, err error) { e.frontResolved(s, changed, err) },
	}
	switch {
	case to.Builtin:
		if e.builtin == nil {
			b, err := front.NewSite(cfg.Secrets[0].Host)
			if err != nil {
				return nil, err
			}
			e.builtin = b
		}
		c.Host, c.Port = e.builtin.Addr().Addr().String(), e.builtin.Addr().Port()
	case to.Network == "unix":
		c.Host, c.Path = "", to.Host
	}
	var err error
	if s.Front, err = front.New(c); err != nil {
		return nil, fmt.Errorf("SLUICE_FRONT: %w", err)
	}
	return s, nil
}

// inherit takes over what is known of the same front, so that a reload does not change what a handshake looks like.
func (s *site) inherit(had *live, unlearned *faketls.Shape) {
	s.shape.Store(unlearned)
	if had == nil {
		return
	}
	for _, o := range had.sites.all {
		if o.to != s.to {
			continue
		}
		s.Inherit(o.Front)
		if o.host == s.host {
			s.shape.Store(o.shape.Load())
			s.match.Store(o.match.Load())
			s.looped.Store(o.looped.Load())
			return
		}
	}
}

func (e *Engine) ownListeners(cfg *config.Config) []netip.AddrPort {
	if e.listening != nil {
		return e.listening
	}
	return cfg.Listen
}

func localAddrs() []netip.Addr {
	var addrs []netip.Addr
	list, _ := net.InterfaceAddrs()
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			addrs = append(addrs, p.Addr().Unmap())
		}
	}
	return addrs
}

// startSites begins to keep l's fronts resolved, and to look at them.
func (e *Engine) startSites(l *live) {
	var ctx context.Context
	ctx, l.stop = context.WithCancel(e.run)
	for _, s := range l.sites.all {
		go s.Run(ctx)
		go e.learn(ctx, l.cfg, s)
	}
}

func (e *Engine) frontResolved(s *site, changed bool, err error) {
	if err == nil {
		if changed {
			s.lookAgain()
		}
		return
	}
	e.frontResolveFailures.Inc(e.offLoop())
	text := "the front's name cannot be resolved; its last addresses stay in use"
	if errors.Is(err, front.ErrLoop) {
		text = "the front's name leads back to this proxy: set SLUICE_FRONT to the address where the web site really is"
	}
	e.limited.line("resolve", slog.LevelWarn, text, slog.String("front", s.to.String()), slog.String("error", err.Error()))
}
