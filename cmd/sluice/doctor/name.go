package doctor

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sluice/engine/config"
	"sluice/engine/edge/ranges"
)

// publicInRanges are the products whose public addresses are in the list of those they connect from.
var publicInRanges = []string{"cloudflare-spectrum"}

func checkConfiguration(_ context.Context, x *exam) Finding {
	var details []string
	for _, w := range x.cfg.Warnings {
		text := w.Error()
		if w.Hint != "" {
			text += " (" + w.Hint + ")"
		}
		details = append(details, text)
	}
	if x.cfg.Trial {
		details = append(details, "SLUICE_SECRET: none is set: the proxy serves for trying out only")
	}
	if len(details) == 0 {
		return ok("can be used: %s, %s", countOf(len(x.cfg.Secrets), "secret"), countOf(len(x.cfg.Listen), "listener"))
	}
	f := warn("change the settings named, or know why not", "can be used, with %s", countOf(len(details), "remark"))
	f.Details = details
	return f
}

func checkPublicName(_ context.Context, x *exam) Finding {
	host := x.cfg.PublicHost
	switch {
	case host == "" && x.fronted():
		return warn("set SLUICE_PUBLIC_HOST to the name that the load balancer is reached by", "no public name is set, so nothing can be said of where it leads")
	case host == "":
		return skip("no public name is set: SLUICE_PUBLIC_HOST")
	}
	addrs, err := x.publicAddrs()
	switch {
	case noSuchName(addrs, err):
		return fail("make an address record for it at the DNS provider", "%s has no address in DNS", host)
	case err != nil:
		return unasked(err, host)
	case byHostsFile(host, addrs):
		return warn(hostsFile, "%s is %s to this host alone", host, list(addrs))
	case x.fronted():
		return x.behindEdge(host, addrs)
	}
	return x.withoutEdge(host, addrs)
}

const hostsFile = "look the name up on another machine, or take it out of /etc/hosts here"

// byHostsFile says whether a name leads to loopback, as many a host's /etc/hosts says of its own name: DNS says something else.
func byHostsFile(host string, addrs []netip.Addr) bool {
	_, err := netip.ParseAddr(host)
	return err != nil && !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return !a.IsLoopback() })
}

// behindEdge judges where the public name leads when a load balancer stands in front.
func (x *exam) behindEdge(host string, addrs []netip.Addr) Finding {
	if own := x.ownAmong(addrs); len(own) > 0 {
		return fail("let the name's records name the load balancer alone; then move to a fresh address, for DNS history remembers this one",
			"%s leads to this very host (%s), past the load balancer", host, list(own))
	}
	if slices.Contains(publicInRanges, x.cfg.Edge.Profile) {
		if i := slices.IndexFunc(addrs, func(a netip.Addr) bool { return !x.set.Contains(a) }); i >= 0 {
			return fail("use the name that the product gives, or a CNAME of it", "%s leads to %s, which is not in the ranges of %s", host, addrs[i], x.cfg.Edge.Profile)
		}
		return ok("%s leads to %s, in the ranges of %s", host, list(addrs), x.cfg.Edge.Profile)
	}
	if x.blind() {
		return warn("give this host's public addresses: sluice doctor --own ADDRESS", "%s leads to %s; whether that is this host cannot be said, for it has private addresses only", host, list(addrs))
	}
	return ok("%s leads to %s, and not to this host", host, list(addrs))
}

// withoutEdge judges it when clients are said to come directly.
func (x *exam) withoutEdge(host string, addrs []netip.Addr) Finding {
	for _, p := range publishers(x.world.Now) {
		if i := slices.IndexFunc(addrs, p.set.Contains); i >= 0 && !x.isOwn(addrs[i]) {
			return fail("set SLUICE_EDGE to the product of layer 4 there; a web proxy of layer 7 (orange cloud) cannot carry this at all",
				"%s leads to %s, which is in the ranges of %s, and SLUICE_EDGE says that nothing stands in front", host, addrs[i], p.name)
		}
	}
	switch {
	case len(x.ownAmong(addrs)) == len(addrs):
		return ok("%s leads to this host: %s", host, list(addrs))
	case x.blind():
		return ok("%s leads to %s; this host has private addresses only, so that may well be its address outside", host, list(addrs))
	}
	return warn("correct the records; if a load balancer is there, set SLUICE_EDGE", "%s leads to %s, which is not an address of this host", host, list(addrs))
}

// blind says that this host's public address is not known: it has none itself, and none was given.
func (x *exam) blind() bool {
	return len(x.world.Own) == 0 && !slices.ContainsFunc(x.world.Local, func(a netip.Addr) bool { return a.IsGlobalUnicast() && !a.IsPrivate() })
}

// publisher is a list of ranges known by name, as this program was built with it.
type publisher struct {
	name string
	set  *ranges.Set
}

func publishers(now func() time.Time) (all []publisher) {
	for _, name := range ranges.Known() {
		sources, _ := ranges.ParseSources(name)
		keeper, _ := ranges.NewKeeper(sources, "", nil, now)
		all = append(all, publisher{name, keeper.Set()})
	}
	return all
}

func checkSecretHosts(ctx context.Context, x *exam) Finding {
	if x.cfg.Trial {
		return skip("a trial has no secret of its own")
	}
	public, publicErr := x.publicAddrs()
	if x.cfg.PublicHost == "" || publicErr != nil {
		public = nil
	}
	worst := Finding{Status: Skip}
	var good []string
	for _, host := range x.hosts() {
		addrs, err := x.lookUp(ctx, host)
		f := x.judgeSecretHost(host, addrs, err, public)
		if f.Status == OK {
			good = append(good, f.Seen)
		}
		if weight(f.Status) > weight(worst.Status) {
			worst = f
		}
	}
	if worst.Status == OK {
		worst.Seen = strings.Join(good, "; ")
	}
	if worst.Seen == "" {
		worst.Seen = errOffline.Error()
	}
	return worst
}

const mismatch = "use a secret for a name of your own that leads where clients connect: sluice secret HOST"

func (x *exam) judgeSecretHost(host string, addrs []netip.Addr, err error, public []netip.Addr) Finding {
	switch {
	case noSuchName(addrs, err):
		return warn(mismatch, "%s has no address in DNS: a hello for it stands out", host)
	case err != nil:
		return unasked(err, host)
	}
	if byHostsFile(host, addrs) {
		return warn(hostsFile, "%s is %s to this host alone", host, list(addrs))
	}
	own := x.ownAmong(addrs)
	if len(own) > 0 && x.fronted() {
		return fail("let the name lead to the load balancer, as clients do", "%s leads to this very host (%s), past the load balancer", host, list(own))
	}
	if len(public) == 0 {
		if len(own) > 0 {
			return ok("%s leads to this host", host)
		}
		return warn("set SLUICE_PUBLIC_HOST, so that the two can be compared; "+mismatch, "%s leads to %s, and not to this host", host, list(addrs))
	}
	for _, a := range addrs {
		if slices.Contains(public, a) {
			return ok("%s and the public name lead to the same address", host)
		}
	}
	if slices.ContainsFunc(addrs, x.set.Contains) && slices.ContainsFunc(public, x.set.Contains) {
		return ok("%s and the public name both lead into the load balancer's ranges", host)
	}
	return warn(mismatch, "%s leads to %s, and clients connect to %s: who looks the name up sees that they do not belong together", host, list(addrs), list(public))
}

// weight orders statuses from the least to the worst.
func weight(s Status) int { return slices.Index([]Status{Skip, OK, Warn, Fail}, s) }

func checkRanges(_ context.Context, x *exam) Finding {
	if i := slices.IndexFunc(x.cfg.Edges, func(e config.Edge) bool { return e.Mode != config.Preserved && e.Ranges == nil }); i >= 0 {
		return warn("set SLUICE_EDGE_RANGES; if a firewall does this, say so with --ignore edge-ranges", "%s takes connections from everybody, as from the load balancer", x.cfg.Listen[i])
	}
	if len(x.states) == 0 {
		return skip("connections come from the clients' own addresses, so there is no list")
	}
	details, oldest := x.ages()
	f := ok("%s in force", countOf(x.set.Len(), "range"))
	switch {
	case x.rangesErr != nil:
		f = fail("make the list readable", "a list cannot be read: %v", x.rangesErr)
	case x.set.Len() == 0:
		f = fail("fetch the list: sluice ranges --refresh", "no range is known, so nobody gets in")
	case oldest > staleDays:
		f = warn("fetch it: sluice ranges --refresh; the running proxy does so every SLUICE_EDGE_REFRESH if it can write SLUICE_STATE_DIR", "a list is %d days old", oldest)
	}
	f.Details = details
	return f
}

// ages tells of every list, and how many days the oldest has. The running proxy knows better than what is on disk.
func (x *exam) ages() (details []string, oldest int) {
	known := map[string]float64{}
	if p, err := x.page(); err == nil {
		known = p.by("sluice_ranges_age_seconds", "source")
	}
	for _, s := range x.states {
		taken := s.Taken
		if seconds, found := known[s.Source]; found {
			taken = x.world.Now().Add(-time.Duration(seconds) * time.Second)
		}
		age := "no date"
		if !taken.IsZero() {
			age = "as of " + taken.UTC().Format(time.DateOnly)
			if s.Changes {
				oldest = max(oldest, int(x.world.Now().Sub(taken).Hours()/24))
			}
		}
		details = append(details, s.Source+": "+countOf(s.Prefixes, "range")+", "+age)
	}
	return details, oldest
}

// staleDays is how old a list may be that is fetched daily by default.
const staleDays = 30
