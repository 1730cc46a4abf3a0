package config

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Front is where refused connections go.
type Front struct {
	// Builtin is true in a trial without a front: a page the proxy serves itself. The other fields are empty then.
	Builtin bool
	// Network is "tcp" or "unix".
	Network string
	// Host is a lower-case name, an address literal without brackets, or the path of a unix socket.
	Host string
	// Port is the TCP port; 0 for a unix socket.
	Port uint16
}

// String writes the front as SLUICE_FRONT takes it.
func (f Front) String() string {
	switch {
	case f.Builtin:
		return "built-in"
	case f.Network == "unix":
		return "unix:" + f.Host
	}
	return joinHostPort(f.Host, f.Port)
}

// Named says whether the front is given by a name that a hello may carry, and not by an address or a path.
func (f Front) Named() bool {
	_, err := netip.ParseAddr(f.Host)
	return f.Network == "tcp" && err != nil && f.Host != "localhost"
}

// FrontFor is the front of one server name, or of all names below one.
type FrontFor struct {
	// Name is in lower case: a whole name, or one that begins with "*." and stands for every name that ends like it.
	Name  string
	Front Front
}

// String writes the front as SLUICE_FRONT takes it.
func (f FrontFor) String() string { return f.Name + "=" + f.Front.String() }

// fronts are the places where refused connections go: one for all names, and some for names of their own.
type fronts struct {
	to    Front
	named []FrontFor
}

func (f *fronts) UnmarshalText(b []byte) error {
	for _, text := range splitList(b) {
		name, address, named := strings.Cut(text, "=")
		if strings.ContainsAny(name, ":/") { // the = is in a path
			named = false
		}
		if !named {
			name, address = "", text
		}
		name = strings.ToLower(strings.TrimSpace(name))
		to, err := parseFront(strings.TrimSpace(address))
		if err == nil && named {
			err = checkName(strings.TrimPrefix(name, "*."), "write NAME=HOST:PORT for a server name's own front, and *.NAME for all below it")
		}
		if err != nil {
			return err
		}
		switch {
		case !named && f.to != (Front{}):
			return refuse("write NAME=HOST:PORT for the front of one server name", "%s and %s are both for every name", f.to, to)
		case !named:
			f.to = to
		case slices.ContainsFunc(f.named, func(o FrontFor) bool { return o.Name == name }):
			return refuse("", "%s has two fronts", quote(name))
		default:
			f.named = append(f.named, FrontFor{name, to})
		}
	}
	if f.to == (Front{}) {
		return refuse("add one without a name", "there is no front for all other names")
	}
	return nil
}

const frontHint = "write HOST:PORT, ADDRESS:PORT or unix:/path"

// frontPort is the port of a front that names none.
const frontPort = 443

func parseFront(text string) (Front, error) {
	if strings.Contains(text, "://") {
		return Front{}, refuse(frontHint, "%s is a URL", quote(text))
	}
	if p, ok := unixPath(text); ok {
		return Front{Network: "unix", Host: path.Clean(p)}, checkUnixPath(p)
	}
	if a, err := netip.ParseAddr(text); err == nil {
		return frontAt(a, frontPort)
	}
	if !strings.Contains(text, ":") {
		text += ":" + strconv.Itoa(frontPort)
	}
	host, digits, err := splitHostPort(text)
	if err != nil {
		return Front{}, err
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 {
		return Front{}, refuse(frontHint, "%s is not a port", quote(digits))
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return frontAt(a, uint16(n))
	}
	if strings.EqualFold(host, "unix") { // a web site of that name could not be told from a socket
		return Front{}, refuse("write unix:/path", "%s names a unix socket without its path", quote(text))
	}
	return Front{Network: "tcp", Host: strings.ToLower(host), Port: uint16(n)}, checkName(host, frontHint)
}

func frontAt(a netip.Addr, port uint16) (Front, error) {
	a = a.Unmap()
	if a.IsUnspecified() || a.IsMulticast() {
		return Front{}, refuse(frontHint, "%s is not an address to connect to", a)
	}
	return Front{Network: "tcp", Host: a.String(), Port: port}, nil
}

// defaultFronts are the sites that the secrets name, the first for everybody else as well.
func (c *Config) defaultFronts() {
	for i, s := range c.Secrets {
		site := Front{Network: "tcp", Host: s.Host, Port: frontPort}
		if i == 0 {
			c.Front = site
		} else if site != c.Front && !slices.Contains(c.FrontsFor, FrontFor{s.Host, site}) {
			c.FrontsFor = append(c.FrontsFor, FrontFor{s.Host, site})
		}
	}
}

// checkFronts refuses fronts that lead back here, where that can be seen.
func (in *input) checkFronts(c *Config) {
	for _, f := range append([]FrontFor{{Front: c.Front}}, c.FrontsFor...) {
		f := f.Front
		if f.Network != "tcp" {
			continue
		}
		if slices.ContainsFunc(c.Listen, f.leadsTo) {
			in.problem(Prefix+"FRONT", fmt.Sprintf("%s is this proxy's own address", f), "give the address of the web server")
		}
		if f.Host == c.PublicHost && f.Port == c.PublicPort {
			in.problem(Prefix+"FRONT", fmt.Sprintf("%s is where clients reach this proxy: strangers would come back to it for ever", f),
				"give the address of the web server behind that name, not the name")
		}
	}
}

// showFronts writes the fronts as SLUICE_FRONT takes them.
func showFronts(c *Config) string {
	texts := []string{c.Front.String()}
	for _, f := range c.FrontsFor {
		texts = append(texts, f.String())
	}
	return strings.Join(texts, ",")
}

// leadsTo says whether a connection to the front would arrive at the listener.
func (f Front) leadsTo(listener netip.AddrPort) bool {
	if f.Port != listener.Port() {
		return false
	}
	if f.Host == "localhost" {
		return listener.Addr().IsUnspecified() || listener.Addr().IsLoopback()
	}
	a, err := netip.ParseAddr(f.Host)
	if err != nil {
		return false
	}
	return a == listener.Addr() || a.IsLoopback() && listener.Addr().IsUnspecified()
}
