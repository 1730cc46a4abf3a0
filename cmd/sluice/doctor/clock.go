package doctor

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/engine/dc"
)

// noticeable is how far a clock that is kept is never off; an HTTP date has a resolution of a second, and may be cached for another.
const noticeable = 5 * time.Second

// reading is what one source says of our clock.
type reading struct {
	source string
	offset time.Duration // above zero: ours is ahead
}

// checkClock compares our clock with those of whoever the configuration calls anyway: the data centres, the front, the publishers
// of lists. No other server is asked.
func checkClock(ctx context.Context, x *exam) Finding {
	readings := x.readings(ctx)
	if len(readings) == 0 {
		if x.world.Offline {
			return skip("%v", errOffline)
		}
		return warn("", "could not be asked: nobody who could tell the time was reached")
	}
	return x.judgeClock(readings)
}

func (x *exam) readings(ctx context.Context) (all []reading) {
	var mu sync.Mutex
	var asking sync.WaitGroup
	for _, u := range x.listURLs() {
		asking.Go(func() {
			if r, err := x.askDate(ctx, u); err == nil {
				mu.Lock()
				all = append(all, r)
				mu.Unlock()
			}
		})
	}
	asking.Wait()
	for _, c := range x.centres() {
		for _, s := range c.said {
			if s.err == nil && c.number < dc.Test { // one word for each data centre
				all = append(all, reading{fmt.Sprintf("data centre %d", c.number), s.offset})
				break
			}
		}
	}
	if a, err := x.fronts[0].answer(); err == nil {
		if r, found := dated("the front", a); found {
			all = append(all, r)
		}
	}
	return all
}

// listURLs are one URL of each host that publishes lists which the configuration fetches.
func (x *exam) listURLs() (urls []*url.URL) {
	seen := map[string]bool{}
	for _, e := range x.cfg.Edges {
		for _, s := range e.Ranges {
			for _, text := range s.URLs {
				if u, err := url.Parse(text); err == nil && u.Scheme == "https" && !seen[u.Host] {
					seen[u.Host] = true
					urls = append(urls, u)
				}
			}
		}
	}
	return urls
}

// askDate asks a publisher for the head of a page. The certificate is not judged: with a wrong clock none is good.
func (x *exam) askDate(ctx context.Context, u *url.URL) (reading, error) {
	if x.world.Offline { // said here, for a way out by HTTPS_PROXY may begin on this host
		return reading{}, errOffline
	}
	transport := &http.Transport{
		Proxy: x.world.Proxy, DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, TLSHandshakeTimeout: x.world.Step,
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			addrs, err := x.lookUp(ctx, host)
			if err != nil {
				return nil, err
			}
			p, err := netip.ParseAddrPort("0.0.0.0:" + port)
			if err != nil {
				return nil, err
			}
			return x.dialAny(ctx, addrs, p.Port())
		},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, u.String(), nil)
	if err != nil {
		return reading{}, err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return reading{}, err
	}
	_ = response.Body.Close()
	r, found := dated(u.Host, answer{head: response.Header, at: x.world.Now()})
	if !found {
		return r, fmt.Errorf("%s sends no date", u.Host)
	}
	return r, nil
}

// dated reads the date of an HTTP answer, which was true within the second that followed it.
func dated(source string, a answer) (reading, bool) {
	t, err := http.ParseTime(a.head.Get("Date"))
	if err != nil {
		return reading{}, false
	}
	return reading{source, a.at.Sub(t.Add(500 * time.Millisecond))}, true
}

// judgeClock takes the middle reading, which no single wrong source can move far.
func (x *exam) judgeClock(readings []reading) Finding {
	slices.SortFunc(readings, func(a, b reading) int { return int(a.offset.Milliseconds() - b.offset.Milliseconds()) })
	off := readings[len(readings)/2].offset
	if len(readings)%2 == 0 && off.Abs() > readings[len(readings)/2-1].offset.Abs() {
		off = readings[len(readings)/2-1].offset
	}
	var details, odd []string
	for _, r := range readings {
		details = append(details, r.source+": "+direction(r.offset))
		if (r.offset - off).Abs() > noticeable {
			odd = append(odd, r.source)
		}
	}
	const keep = "let chrony, systemd-timesyncd or the host's hypervisor keep the clock"
	var f Finding
	switch {
	case off > x.cfg.ClockBehind, -off > x.cfg.ClockAhead:
		f = fail(keep, "is %s by %s: clients with a right clock are refused (SLUICE_CLOCK_SKEW)", direction(off), plural(len(readings), "source", "sources"))
	case off.Abs() > noticeable:
		f = warn(keep, "is %s by %s: SLUICE_CLOCK_SKEW still allows it", direction(off), plural(len(readings), "source", "sources"))
	case len(odd) > 0:
		f = warn("look at whether somebody answers in their place", "is right by most sources, and not by %s", strings.Join(odd, ", "))
	default:
		f = ok("is right by %s", plural(len(readings), "source", "sources"))
	}
	f.Details = details
	return f
}

func direction(off time.Duration) string {
	if off < 0 {
		return (-off).Round(100*time.Millisecond).String() + " behind"
	}
	return off.Round(100*time.Millisecond).String() + " ahead"
}

func checkClockSync(_ context.Context, x *exam) Finding {
	kept, err := x.world.Synchronised()
	switch {
	case err != nil:
		return skip("the kernel does not say: %v", err)
	case !kept:
		return warn("install chrony, or switch systemd-timesyncd on: timedatectl set-ntp true; in a container, see to the host", "the kernel says that nothing keeps the clock")
	}
	return ok("the kernel says that its clock is kept")
}
