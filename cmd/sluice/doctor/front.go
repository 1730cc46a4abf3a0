package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"time"

	"sluice/faketls/probe"
)

const builtInPage = "the front is the built-in page of a trial"

func checkFront(ctx context.Context, x *exam) Finding {
	return x.eachFront(ctx, "%d fronts answer", x.judgeFront)
}

func (x *exam) judgeFront(_ context.Context, f *front) Finding {
	if f.to.Network == "tcp" {
		addrs, err := f.addrs()
		switch {
		case noSuchName(addrs, err):
			return fail("set SLUICE_FRONT to where the web site is", "%s has no address in DNS", f.to.Host)
		case err != nil:
			return unasked(err, f.label)
		case len(x.onward(f, addrs)) == 0:
			return fail(whereItIs, "%s leads back to this proxy (%s): strangers go round for ever", f.label, list(addrs))
		}
	}
	a, err := f.answer()
	switch {
	case errors.Is(err, errOffline):
		return skip("%v", errOffline)
	case errors.Is(err, errLate):
		return outOfTime()
	case (err != nil || a.leaf() == nil) && x.cameBack(f):
		return fail(whereItIs, "%s leads back to this proxy, by its own word: it closes strangers who are sent there", f.label)
	case err != nil:
		found := fail("start the web server, or correct SLUICE_FRONT", "%s cannot be asked: %v", f.label, err)
		found.far = !x.isHere(f)
		return found
	case a.leaf() == nil && len(f.names) == 0 && a.refused():
		return ok("%s answers, and has nothing for %s: which names lead to it is not known", f.label, f.name)
	case a.leaf() == nil:
		return fail("serve the name over TLS there; if it expects a PROXY header, set SLUICE_FRONT_PROXY_PROTOCOL", "%s does not answer a TLS hello for %s: %s", f.label, f.name, clean(a.word))
	case a.head == nil:
		return warn("look at the web server's log", "%s answers a TLS hello, and then no HTTP request", f.label)
	}
	return ok("%s answers: HTTP %s", f.label, clean(a.status))
}

const whereItIs = "set SLUICE_FRONT to the address where the web server really is"

// soon is when a certificate should have been renewed: Let's Encrypt's clients do at 30 days.
const soon = 14 * 24 * time.Hour

func checkFrontCertificate(ctx context.Context, x *exam) Finding {
	return x.eachFront(ctx, "%d fronts have good certificates", x.judgeCertificates)
}

// judgeCertificates is the worst of what a front shows for each of its names.
func (x *exam) judgeCertificates(ctx context.Context, f *front) Finding {
	worst := skip("there is no secret to ask for")
	if x.several() {
		worst = skip("no name is known that leads there, so there is none that a certificate must be good for")
	}
	all := make([]Finding, len(f.names))
	each(len(all), func(i int) { all[i] = x.certificateFor(ctx, f, f.names[i]) })
	for _, found := range all {
		if weight(found.Status) > weight(worst.Status) || worst.Status == Skip {
			worst = found
		}
	}
	return worst
}

func (x *exam) certificateFor(ctx context.Context, f *front, host string) Finding {
	if host == f.name {
		a, err := f.answer()
		return x.judgeCertificate(host, a, err)
	}
	a, err := x.visitFront(ctx, f, host, false)
	return x.judgeCertificate(host, a, err)
}

func (x *exam) judgeCertificate(host string, a answer, err error) Finding {
	if errors.Is(err, errOffline) {
		return skip("%v", errOffline)
	}
	if errors.Is(err, errLate) {
		return outOfTime()
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
	return x.eachFront(ctx, "our handshake resembles those of %d fronts", x.lookAtFlight)
}

func (x *exam) lookAtFlight(ctx context.Context, f *front) Finding {
	if x.several() && !f.client {
		return skip("no secret's name leads there, so no handshake of ours is like its own")
	}
	var flight probe.Flight
	met := false
	err := x.inTurn(ctx, func(ctx context.Context) error {
		conn, err := x.dialFront(ctx, f)
		if err != nil {
			return err
		}
		met = true
		flight, err = probe.Learn(ctx, conn, f.name, nil)
		return err
	})
	switch {
	case errors.Is(err, errOffline):
		return skip("%v", errOffline)
	case errors.Is(err, errLate):
		return outOfTime()
	case err != nil && met:
		return skip("the front does not answer a TLS hello: see front-reachable")
	case err != nil:
		return skip("the front was not reached: see front-reachable")
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
