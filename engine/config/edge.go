package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sluice/engine/edge/ranges"
)

// Mode says what a load balancer does to the addresses of clients.
type Mode uint8

const (
	// Preserved: a connection comes from the client's own address, and nothing stands in front of its bytes.
	Preserved Mode = iota
	// Proxied: a connection comes from one of the balancer's machines, and a PROXY header names the client.
	Proxied
	// Opaque: a connection comes from one of the balancer's machines, and the client's address is lost.
	Opaque
)

// String writes the mode as SLUICE_EDGE_MODE takes it.
func (m Mode) String() string { return word(modes, m) }

var modes = []string{Preserved: "preserved", Proxied: "proxy", Opaque: "opaque"}

// Outsiders says what becomes of a connection that does not come from the load balancer's ranges.
type Outsiders uint8

const (
	// Drop closes it without a word.
	Drop Outsiders = iota
	// ToFront shows it the front, whatever it says.
	ToFront
)

// String writes the choice as SLUICE_EDGE_OUTSIDERS takes it.
func (o Outsiders) String() string { return word(outsiders, o) }

var outsiders = []string{Drop: "drop", ToFront: "front"}

// GuardPolicy says whether the kernel is to drop connections from outside the ranges.
type GuardPolicy uint8

const (
	// GuardAuto uses the kernel where it lets us; elsewhere such connections are closed after accept.
	GuardAuto GuardPolicy = iota
	// GuardRequired starts with the kernel's help or not at all.
	GuardRequired
	// GuardOff closes them after accept.
	GuardOff
)

// String writes the policy as SLUICE_EDGE_GUARD takes it.
func (g GuardPolicy) String() string { return word(guardPolicies, g) }

var guardPolicies = []string{GuardAuto: "auto", GuardRequired: "required", GuardOff: "off"}

// UnmarshalText reads auto, required or off.
func (g *GuardPolicy) UnmarshalText(b []byte) (err error) {
	*g, err = choice[GuardPolicy](guardPolicies, strings.TrimSpace(string(b)))
	return err
}

// Edge is what stands in front of a listener.
type Edge struct {
	// Profile is the name of the product that the rest was taken from, where it was not set.
	Profile string
	Mode    Mode
	// Header says whether connections begin with a PROXY header.
	Header Policy
	// Ranges are the addresses that the load balancer connects from; without any, everybody may connect.
	Ranges []ranges.Source
	// Outsiders is for who is not in Ranges.
	Outsiders Outsiders
}

// profile is a product: what its connections are like. What is not said here an operator has to say.
type profile struct {
	name   string
	mode   Mode
	ranges string        // as SLUICE_EDGE_RANGES takes it, for a mode that has peers of the product's own
	idle   time.Duration // after which it forgets a quiet connection; 0: that is not known, or is set by the operator
	hint   string
}

// The profiles, and where their facts come from: docs/edges.
var profiles = []profile{
	{name: "none"},
	{name: "cloudflare-spectrum", mode: Proxied, ranges: "cloudflare"},
	{name: "aws-nlb", mode: Proxied, idle: 350 * time.Second, hint: "give the subnets of the load balancer: an NLB connects from addresses of its own VPC"},
	{name: "aws-global-accelerator", mode: Preserved, ranges: "aws-global-accelerator", idle: 340 * time.Second},
	{name: "gcp-proxy-nlb", mode: Proxied, ranges: "gcp-load-balancer"},
	{name: "haproxy", mode: Proxied, ranges: "127.0.0.0/8,::1"},
	{name: customEdge},
}

const customEdge = "custom"

// Profiles are the names that an Edge's Profile may have. Their order never changes while the process runs.
func Profiles() []string { return profileNames }

var profileNames = func() (names []string) {
	for _, p := range profiles {
		names = append(names, p.name)
	}
	return names
}()

// edgeName is an index into profiles.
type edgeName uint8

func (n *edgeName) UnmarshalText(b []byte) (err error) {
	*n, err = choice[edgeName](profileNames, strings.TrimSpace(string(b)))
	return err
}

// edgeMode and headerPolicy remember whether they were set: a profile says what they are otherwise.
type (
	edgeMode struct {
		mode Mode
		set  bool
	}
	headerPolicy struct {
		policy Policy
		set    bool
	}
)

func (m *edgeMode) UnmarshalText(b []byte) (err error) {
	m.set = true
	m.mode, err = choice[Mode](modes, strings.TrimSpace(string(b)))
	return err
}

func (p *headerPolicy) UnmarshalText(b []byte) (err error) {
	p.set = true
	p.policy, err = choice[Policy](policies, strings.TrimSpace(string(b)))
	return err
}

// UnmarshalText reads drop or front.
func (o *Outsiders) UnmarshalText(b []byte) (err error) {
	*o, err = choice[Outsiders](outsiders, strings.TrimSpace(string(b)))
	return err
}

// edgeRanges are the sources of ranges that the operator has given; none is a choice of its own.
type edgeRanges struct {
	list []ranges.Source
	set  bool
}

const noRanges = "none"

func (r *edgeRanges) UnmarshalText(b []byte) (err error) {
	r.set = true
	text := strings.TrimSpace(string(b))
	if strings.EqualFold(text, noRanges) {
		return nil
	}
	r.list, err = ranges.ParseSources(text)
	var item *ranges.ItemError
	switch {
	case errors.As(err, &item):
		return refuse("write names of lists, https:// URLs, absolute paths and ranges, commas between them", "%s %s", quote(item.Item), item.Why)
	case err != nil:
		return refuse("", "%v", err)
	}
	return nil
}

// refreshEvery is the time between two looks at the lists; 0 is never.
type refreshEvery time.Duration

func (d *refreshEvery) UnmarshalText(b []byte) error {
	if strings.EqualFold(strings.TrimSpace(string(b)), "off") {
		*d = 0
		return nil
	}
	return setDuration((*time.Duration)(d), b, 10*time.Minute, 30*24*time.Hour)
}

// stock is the edge that a profile alone makes.
func (p *profile) stock(mode Mode) Edge {
	e := Edge{Profile: p.name, Mode: mode}
	if mode == Proxied {
		e.Header = Required
	}
	if mode != Preserved && p.ranges != "" {
		e.Ranges, _ = ranges.ParseSources(p.ranges) // TestProfiles reads every one
	}
	return e
}

// edge is the one that SLUICE_EDGE names, with what was set beside it.
func (r *raw) edge() Edge {
	p := &profiles[r.Edge]
	mode := p.mode
	switch {
	case r.EdgeMode.set:
		mode = r.EdgeMode.mode
	case mode == Proxied && r.ProxyProtocol.set && r.ProxyProtocol.policy == Off:
		mode = Opaque // a product that could name the client, and was told not to
	}
	// Somebody sends headers, and it is not the product: whose ranges they are, the operator has to say.
	somebody := mode == Preserved && !r.EdgeMode.set && r.ProxyProtocol.set && r.ProxyProtocol.policy != Off
	if somebody {
		mode = Proxied
	}
	e := p.stock(mode)
	if somebody {
		e.Ranges = nil
	}
	if r.ProxyProtocol.set {
		e.Header = r.ProxyProtocol.policy
	}
	if r.EdgeRanges.set {
		e.Ranges = r.EdgeRanges.list
	}
	e.Outsiders = r.EdgeOutsiders
	return e
}

// edges are those of the listeners.
func (r *raw) edges() (all []Edge) {
	for _, name := range r.Listen.edges {
		i := slices.Index(profileNames, name)
		if i < 0 || i == int(r.Edge) {
			all = append(all, r.edge())
			continue
		}
		e := profiles[i].stock(profiles[i].mode)
		e.Outsiders = r.EdgeOutsiders
		all = append(all, e)
	}
	return all
}

// checkEdge finds what cannot work, and what is probably not meant.
func (in *input) checkEdge(c *Config) {
	e, p := &c.Edge, profiles[slices.Index(profileNames, c.Edge.Profile)]
	switch {
	case p.name == customEdge && in.values[Prefix+"EDGE_MODE"] == "":
		in.problem(Prefix+"EDGE", "custom says nothing by itself", "set "+Prefix+"EDGE_MODE to "+alternatives(modes))
	case e.Mode == Preserved && e.Ranges != nil:
		in.problem(Prefix+"EDGE_RANGES", "would shut every client out: in mode preserved connections come from the clients' own addresses",
			"leave it out, or set "+Prefix+"EDGE_MODE")
	case e.Mode != Proxied && e.Header != Off:
		in.problem(Prefix+"PROXY_PROTOCOL", fmt.Sprintf("is %s, and mode %s means that there is no header", e.Header, e.Mode), "use "+Prefix+"EDGE_MODE=proxy")
	case e.Mode == Proxied && e.Header == Off:
		in.problem(Prefix+"PROXY_PROTOCOL", "is off, and mode proxy means that there is a header", "use "+Prefix+"EDGE_MODE=opaque")
	}
	if c.EdgeGuard == GuardRequired && e.Outsiders == ToFront {
		in.problem(Prefix+"EDGE_GUARD", "is required, and "+Prefix+"EDGE_OUTSIDERS=front lets outsiders in", "use one of the two")
	}
	if c.EdgeGuard == GuardRequired && !slices.ContainsFunc(c.Edges, func(e Edge) bool { return e.Mode != Preserved }) {
		in.problem(Prefix+"EDGE_GUARD", "is required, and clients connect from anywhere: there is nothing to guard", "set "+Prefix+"EDGE, or "+Prefix+"EDGE_GUARD=auto")
	}
	for i := range c.Edges {
		if c.Edges[i].Profile == customEdge && p.name != customEdge {
			in.problem(Prefix+"LISTEN", fmt.Sprintf("%s: custom says nothing by itself", c.Listen[i]), "set "+Prefix+"EDGE=custom, and name the others here")
		}
		if c.EdgeGuard == GuardRequired && c.Edges[i].Mode != Preserved && c.Edges[i].Ranges == nil {
			in.problem(Prefix+"EDGE_GUARD", fmt.Sprintf("is required, and %s has no ranges to guard", c.Listen[i]), "give it ranges, or set "+Prefix+"EDGE_GUARD=auto")
		}
		if e := &c.Edges[i]; e.Mode != Preserved && e.Ranges == nil {
			hint := profiles[slices.Index(profileNames, e.Profile)].hint
			switch {
			case e.Profile != c.Edge.Profile:
				hint = "what is set goes with " + Prefix + "EDGE: make " + e.Profile + " that one, and name the others in " + Prefix + "LISTEN"
			case hint == "":
				hint = "give the addresses it connects from"
			}
			text := "holds nothing: whoever reaches %s is believed about the client's address"
			if e.Mode == Opaque {
				text = "holds nothing: whoever reaches %s is let in as if by the load balancer"
			}
			in.warn(Prefix+"EDGE_RANGES", fmt.Sprintf(text, c.Listen[i]), hint)
		}
	}
}

func showRanges(list []ranges.Source) string {
	if len(list) == 0 {
		return noRanges
	}
	return ranges.Text(list)
}

// showListeners writes the addresses as SLUICE_LISTEN takes them.
func showListeners(c *Config) string {
	texts := make([]string, len(c.Listen))
	for i, a := range c.Listen {
		texts[i] = a.String()
		if c.Edges[i].Profile != c.Edge.Profile {
			texts[i] += "=" + c.Edges[i].Profile
		}
	}
	return strings.Join(texts, ",")
}

// binds is a list of addresses to listen on, none twice, each with the name of its edge; "" is the one that SLUICE_EDGE names.
type binds struct {
	list  []netip.AddrPort
	edges []string
}

func (l *binds) UnmarshalText(b []byte) error {
	seen := map[netip.AddrPort]bool{}
	for _, text := range splitList(b) {
		text, name, named := strings.Cut(text, "=")
		a, err := parseBind(text)
		if err != nil {
			return err
		}
		if name = strings.ToLower(strings.TrimSpace(name)); named && !slices.Contains(profileNames, name) {
			return refuse("use "+alternatives(profileNames), "%s is not an edge", quote(name))
		}
		if seen[a] && a.Port() != 0 {
			return refuse("", "%s is given twice", a)
		}
		seen[a] = true
		l.list, l.edges = append(l.list, a), append(l.edges, name)
	}
	return nil
}
