package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/netip"
	"slices"
	"time"

	"sluice/engine/config"
	"sluice/engine/front"
	"sluice/faketls/probe"
)

const builtInPage = "the front is the built-in page of a trial"

func checkFront(_ context.Context, x *exam) Finding { return x.eachFront(x.checkReach) }

func (x *exam) checkReach(w *web) Finding {
	if w.to.Builtin {
		return skip(builtInPage)
	}
	if w.to.Network == "tcp" {
		addrs, err := w.addrs()
		switch {
		case noSuchName(addrs, err):
			return fail("set SLUICE_FRONT to where the web site is", "%s has no address in DNS", w.to.Host)
		case err != nil:
			return unasked(err, w.to.String())
		case x.loops(w.to, addrs):
			return fail("set SLUICE_FRONT to the address where the web server really is", "%s leads back to this proxy (%s): strangers go round for ever", w.to, list(addrs))
		}
	}
	a, err := w.shown()
	switch {
	case errors.Is(err, errOffline):
		return skip("%v", errOffline)
	case err != nil:
		f := fail("start the web server, or correct SLUICE_FRONT", "%s cannot be asked: %v", w.to, err)
		f.far = !x.isHere(w)
		return f
	case a.leaf() == nil:
		return fail("serve the name over TLS there; if it expects a PROXY header, set SLUICE_FRONT_PROXY_PROTOCOL", "%s does not answer a TLS hello for %s: %s", w.to, w.ask, clean(a.word))
	case a.head == nil:
		return warn("look at the web server's log", "%s answers a TLS hello, and then no HTTP request", w.to)
	}
	return ok("%s answers: HTTP %s", w.to, clean(a.status))
}

// loops says whether all that a front's name leads to is this proxy.
func (x *exam) loops(to config.Front, addrs []netip.Addr) bool {
	f, err := front.New(front.Config{
		Host: to.Host, Port: to.Port, Self: func() []netip.AddrPort { return x.cfg.Listen },
		Local: func() []netip.Addr { return slices.Concat(x.world.Local, x.world.Own) },
	})
	if err != nil {
		return errors.Is(err, front.ErrLoop)
	}
	if _, _, known := f.Target(); known {
		return false
	}
	return !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return !x.isListener(a, to.Port) })
}

// isListener says whether a connection there would come to the proxy.
func (x *exam) isListener(a netip.Addr, port uint16) bool {
	return slices.ContainsFunc(x.cfg.Listen, func(l netip.AddrPort) bool {
		return l.Port() == port && (l.Addr() == a || l.Addr().IsUnspecified() && x.isOwn(a))
	})
}

// isHere says whether a front is on this host.
func (x *exam) isHere(w *web) bool {
	if w.to.Network == "unix" {
		return true
	}
	addrs, err := w.addrs()
	return err == nil && !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return !x.isLocal(a) })
}

// soon is when a certificate should have been renewed: Let's Encrypt's clients do at 30 days.
const soon = 14 * 24 * time.Hour

func checkFrontCertificate(ctx context.Context, x *exam) Finding {
	return x.eachFront(func(w *web) Finding { return x.checkCertificates(ctx, w) })
}

// checkCertificates looks at a front's certificate for each name that is known to lead there, and finds the worst.
func (x *exam) checkCertificates(ctx context.Context, w *web) Finding {
	if w.to.Builtin {
		return skip(builtInPage)
	}
	worst := skip("there is no name to ask %s for", w.to)
	for _, name := range w.names {
		a, err := w.shown()
		if name != w.ask {
			a, err = x.visit(ctx, w, name, false)
		}
		f := x.judgeCertificate(name, a, err)
		if weight(f.Status) > weight(worst.Status) || worst.Status == Skip {
			worst = f
		}
	}
	return worst
}

func (x *exam) judgeCertificate(host string, a answer, err error) Finding {
	if errors.Is(err, errOffline) {
		return skip("%v", errOffline)
	}
	c := a.leaf()
	if err != nil || c == nil {
		return skip("the front shows none for %s: see front-reachable", host)
	}
	const renew = "renew it, and see to it that the web server loads it"
	now := x.world.Now()
	switch {
	case c.VerifyHostname(host) != nil:
		return fail("give the front a certificate for the name in the secret, or make a secret for a name that it has", "is not for %s: %s", host, describe(c))
	case now.After(c.NotAfter):
		return fail(renew, "for %s has ended on %s", host, c.NotAfter.UTC().Format(time.DateOnly))
	case now.Before(c.NotBefore):
		return fail("look at this host's clock", "for %s begins only on %s", host, c.NotBefore.UTC().Format(time.DateOnly))
	}
	intermediates := x509.NewCertPool()
	for _, i := range a.chain[1:] {
		intermediates.AddCert(i)
	}
	if _, err := c.Verify(x509.VerifyOptions{Roots: x.world.Roots, Intermediates: intermediates, CurrentTime: now, DNSName: host}); err != nil {
		return warn("use a certificate of a public authority: Let's Encrypt gives them for nothing", "for %s is not believed by this host: %v", host, err)
	}
	if c.NotAfter.Sub(now) < soon {
		return warn(renew, "for %s ends on %s", host, c.NotAfter.UTC().Format(time.DateOnly))
	}
	return ok("is good for %s until %s: %s", host, c.NotAfter.UTC().Format(time.DateOnly), describe(c))
}

func checkFlight(ctx context.Context, x *exam) Finding {
	return x.eachFront(func(w *web) Finding { return x.checkFlightOf(ctx, w) })
}

func (x *exam) checkFlightOf(ctx context.Context, w *web) Finding {
	if w.to.Builtin {
		return skip(builtInPage)
	}
	conn, err := x.dialFront(ctx, w)
	if err != nil {
		if errors.Is(err, errOffline) {
			return skip("%v", errOffline)
		}
		return skip("the front was not reached: see front-reachable")
	}
	flight, err := probe.Learn(ctx, conn, w.ask, nil)
	if err != nil {
		return skip("the front does not answer a TLS hello: see front-reachable")
	}
	return judgeFlight(flight, x.cfg.HybridKeyShare)
}

func judgeFlight(flight probe.Flight, hybrid bool) Finding {
	shape, match, text := flight.Shape()
	switch {
	case match == probe.NotTLS13:
		return fail("turn TLS 1.3 on at the front", "%s", text)
	case match == probe.Over:
		return warn("use a certificate with a shorter chain, such as an ECDSA one", "%s", text)
	case shape.Hybrid && !hybrid:
		return warn("set SLUICE_HYBRID_KEY_SHARE=on, and see whether all clients still get in; or turn the group off at the front",
			"%s; it prefers X25519MLKEM768, which ours answers only with SLUICE_HYBRID_KEY_SHARE=on", text)
	case flight.Retry || flight.Group != tls.X25519 && !flight.Hybrid:
		return warn("let the front take X25519, which every browser offers", "%s", text)
	}
	return ok("%s", text)
}
