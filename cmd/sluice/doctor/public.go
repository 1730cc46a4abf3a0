package doctor

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net"
	"strconv"
	"sync"
	"syscall"
)

// look is one question, to the public name and to the front itself.
type look struct {
	what          string
	public, front answer
	err, frontErr error
}

func checkPublicTLS(ctx context.Context, x *exam) Finding {
	if x.cfg.PublicHost == "" {
		return skip("no public name is set: SLUICE_PUBLIC_HOST")
	}
	if x.cfg.Front.Builtin {
		return skip("the front is the built-in page of a trial, whose certificate nobody else has")
	}
	if x.cfg.PublicPort == 0 {
		return skip("the public port is not known: SLUICE_PUBLIC_PORT")
	}
	looks := x.publicLooks(ctx)
	for _, l := range looks {
		if l.err != nil {
			return x.unreachedPublic(l.err)
		}
	}
	for _, l := range looks {
		if f, found := x.layer7(l); found {
			return f
		}
	}
	for _, l := range looks {
		if l.frontErr != nil {
			return warn("see front-reachable", "the front could not be asked directly, so the two cannot be compared: %v", l.frontErr)
		}
	}
	return x.compare(looks)
}

// unreachedPublic judges a connection to the public name that failed.
func (x *exam) unreachedPublic(err error) Finding {
	addrs, lookErr := x.publicAddrs()
	if lookErr != nil {
		return unasked(lookErr, x.cfg.PublicHost)
	}
	if _, pageErr := x.page(); pageErr == nil && errors.Is(err, syscall.ECONNREFUSED) {
		return fail("look at what the load balancer forwards, or what a firewall refuses; SLUICE_PUBLIC_PORT must be the port that it takes clients on",
			"the proxy runs, and %s port %d (%s) refuses connections", x.cfg.PublicHost, x.cfg.PublicPort, list(addrs))
	}
	f := unasked(err, x.cfg.PublicHost)
	if f.Status == Warn {
		f.Do = "start the proxy if it does not run; some networks do not let a host reach its own public name, so try from elsewhere as well: " +
			"openssl s_client -connect " + net.JoinHostPort(x.cfg.PublicHost, strconv.Itoa(int(x.cfg.PublicPort))) + " -servername random.test"
	}
	return f
}

// publicLooks asks three questions of both, all at a time: a hello for the front's name, a hello for a name nobody has, and a
// request in clear.
func (x *exam) publicLooks(ctx context.Context) []look {
	stranger := make([]byte, 5)
	_, _ = rand.Read(stranger)
	names := []string{x.frontName(), hex.EncodeToString(stranger) + ".test"}
	looks := make([]look, 3)
	var all sync.WaitGroup
	for i := range looks {
		l := &looks[i]
		plain, name := i == 2, names[min(i, 1)]
		to := x.frontFor(name)
		l.what = "asked for " + name
		if plain {
			l.what, name, to = "asked in clear", x.frontName(), x.fronts[0]
		}
		ask := func(conn net.Conn, err error) (answer, error) {
			switch {
			case err != nil:
				return answer{}, err
			case plain:
				return x.visitPlain(conn, name), nil
			}
			return x.visitTLS(ctx, conn, name, true)
		}
		all.Go(func() {
			addrs, err := x.publicAddrs()
			if err != nil {
				l.err = err
				return
			}
			l.public, l.err = ask(x.dialAny(ctx, addrs, x.cfg.PublicPort))
		})
		all.Go(func() { l.front, l.frontErr = ask(x.dialFront(ctx, to)) })
	}
	all.Wait()
	return looks
}

const useLayer4 = "use a product of layer 4 there (TCP passed through: Cloudflare Spectrum, an AWS NLB or Global Accelerator, a GCP proxy NLB), or none; no setting of a web proxy helps"

// layer7 says whether an answer through the public name comes from a web proxy that is not the front's own.
func (x *exam) layer7(l look) (Finding, bool) {
	name, said := ofHead(l.public.head), telling(l.public.head)
	if name == "" || name == ofHead(l.front.head) {
		if name = ofCertificate(l.public.leaf()); name == ofCertificate(l.front.leaf()) {
			name = ""
		}
	}
	if name == "" {
		return Finding{}, false
	}
	f := fail(useLayer4, "%s answers by itself at %s (%s): it ends TLS there, and no client gets through", name, x.cfg.PublicHost, l.what)
	if c := l.public.leaf(); c != nil {
		f.Details = append(f.Details, describe(c))
	}
	f.Details = append(f.Details, said...)
	return f, true
}

// compare judges answers that no known product has given.
func (x *exam) compare(looks []look) Finding {
	for _, l := range looks {
		if same(l.public, l.front) {
			continue
		}
		f := fail("something between ends TLS (layer 7), or the name leads to another server: it must lead to this proxy, through TCP alone",
			"%s at %s does not get what the front answers", l.what, x.cfg.PublicHost)
		f.Details = []string{"there: " + l.public.text(), "the front: " + l.front.text()}
		return f
	}
	for _, l := range looks {
		if (l.public.head == nil) != (l.front.head == nil) || l.public.head.Get("Server") != l.front.head.Get("Server") {
			f := warn("look at what stands between: only a product of layer 4 carries this", "%s, %s shows the front's certificate and another web server", l.what, x.cfg.PublicHost)
			f.Details = append(prefixed("there: ", telling(l.public.head)), prefixed("the front: ", telling(l.front.head))...)
			return f
		}
	}
	if c := looks[0].public.leaf(); c != nil {
		return ok("%s shows the front's own answers: %s", x.cfg.PublicHost, describe(c))
	}
	return warn("let the front serve the secret's name over TLS", "%s and the front both show no certificate for %s", x.cfg.PublicHost, x.frontName())
}

// text is an answer in a few words.
func (a answer) text() string {
	switch c := a.leaf(); {
	case c != nil:
		return describe(c)
	case a.head != nil:
		return "HTTP " + clean(a.status)
	case a.word != "":
		return "no certificate: " + clean(a.word)
	}
	return "nothing"
}

func prefixed(prefix string, lines []string) (all []string) {
	for _, l := range lines {
		all = append(all, prefix+l)
	}
	return all
}
