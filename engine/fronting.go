package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"sluice/engine/config"
	"sluice/engine/edge"
	"sluice/engine/front"
	"sluice/faketls"
	"sluice/faketls/probe"
)

const (
	learnEvery = time.Hour
	learnRetry = 15 * time.Second
	learnTime  = 10 * time.Second
)

// makeFront makes the configured front, or the built-in site of a trial. Fronted connections may take a quarter of all, so
// that strangers never take the places of clients.
func (e *Engine) makeFront(cfg *config.Config) (*front.Front, error) {
	c := front.Config{
		Host: cfg.Front.Host, Port: cfg.Front.Port, Cap: int(max(e.budget.connections/4, 4)), Used: &e.fronts,
		Resolve: func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		},
		Self:     func() []netip.AddrPort { return e.ownListeners(cfg) },
		Local:    localAddrs,
		Resolved: e.frontResolved,
	}
	switch {
	case cfg.Front.Builtin:
		if e.site == nil {
			site, err := front.NewSite(cfg.Secrets[0].Host)
			if err != nil {
				return nil, err
			}
			e.site = site
		}
		c.Host, c.Port = e.site.Addr().Addr().String(), e.site.Addr().Port()
	case cfg.Front.Network == "unix":
		c.Host, c.Path = "", cfg.Front.Host
	}
	f, err := front.New(c)
	if err != nil {
		return nil, fmt.Errorf("SLUICE_FRONT: %w", err)
	}
	return f, nil
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

// startFront begins to keep l's front resolved.
func (e *Engine) startFront(l *live) {
	var ctx context.Context
	ctx, l.stop = context.WithCancel(e.run)
	go l.front.Run(ctx)
}

func (e *Engine) frontResolved(_ int, err error) {
	if err == nil {
		return
	}
	e.frontResolveFailures.Inc(e.offLoop())
	text := "the front's name cannot be resolved; its last addresses stay in use"
	if errors.Is(err, front.ErrLoop) {
		text = "the front's name leads back to this proxy: set SLUICE_FRONT to the address where the web site really is"
	}
	e.limited.line("resolve", slog.LevelWarn, text, slog.String("error", err.Error()))
}

// flightInfo is what was last learned of the front's handshake.
type flightInfo struct{ match probe.Match }

// unlearned is how the flight looks until the front's is known: the size of a usual certificate chain, one for the process.
func unlearned() faketls.Shape { return faketls.Shape{Record: 2600 + rand.IntN(1600)} }

// learn looks at the front's own handshake, now and again, so that ours resembles it.
func (e *Engine) learn(ctx context.Context) {
	var last string
	for {
		wait := learnEvery
		l := e.live.Load()
		flight, err := e.lookAtFront(ctx, l)
		switch {
		case err != nil:
			wait = learnRetry
			e.limited.line("learn", slog.LevelWarn, "the front's handshake could not be learned; ours keeps its last shape",
				slog.String("front", l.cfg.Front.String()), slog.String("error", err.Error()))
		default:
			shape, match, text := flight.Shape()
			if match != probe.NotTLS13 {
				e.shape.Store(&shape)
			}
			if shape.Hybrid && !l.cfg.HybridKeyShare {
				text += "; it prefers X25519MLKEM768, which ours answers only with SLUICE_HYBRID_KEY_SHARE=on"
			}
			e.flight.Store(&flightInfo{match: match})
			if text != last {
				last = text
				e.log.Info("learned the front's handshake", slog.String("front", l.cfg.Front.String()), slog.String("match", text))
			}
		}
		if !e.pauseLearning(ctx, wait, l) {
			return
		}
	}
}

// pauseLearning waits, but not beyond a reload: another front is looked at soon.
func (e *Engine) pauseLearning(ctx context.Context, wait time.Duration, l *live) bool {
	until := time.Now().Add(wait)
	for time.Now().Before(until) && e.live.Load() == l {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(min(wait, time.Second)):
		}
	}
	return true
}

var errNoTarget = errors.New("the front has no address yet")

// lookAtFront connects to the front as a browser would and records its answer.
func (e *Engine) lookAtFront(ctx context.Context, l *live) (probe.Flight, error) {
	ctx, cancel := context.WithTimeout(ctx, learnTime)
	defer cancel()
	addrs, path, ok := l.front.Target()
	if !ok {
		return probe.Flight{}, errNoTarget
	}
	network, addr := "unix", path
	if path == "" {
		network, addr = "tcp", addrs[0].String()
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return probe.Flight{}, err
	}
	defer conn.Close()
	if v := l.cfg.FrontProxyProtocol; v != 0 {
		if _, err := conn.Write(edge.AppendHeader(nil, v, addrPort(conn.LocalAddr()), addrPort(conn.RemoteAddr()))); err != nil {
			return probe.Flight{}, err
		}
	}
	return probe.Learn(ctx, conn, l.cfg.Secrets[0].Host)
}
