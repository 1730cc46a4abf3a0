package config

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// Load reads the configuration from environ, a list of NAME=value as os.Environ gives it, and from the files that X_FILE
// variables name. It reads nothing else and connects to nothing. The error is Problems, with every problem found; there
// is no Config then.
func Load(environ []string) (*Config, error) {
	own, other := split(environ)
	in := gather(own)
	var r raw
	in.parse(&r)
	c := r.config(other)
	in.crossCheck(c)
	if len(in.problems) > 0 {
		return nil, in.sorted()
	}
	c.lines = in.lines(c)
	c.Warnings = append(c.Warnings, in.warnings...)
	return c, nil
}

// split parts the SLUICE_ variables from the rest. The last of two with one name counts, as in a shell. One that
// is set but empty counts as not set.
func split(environ []string) (own, other map[string]string) {
	own, other = map[string]string{}, map[string]string{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, Prefix) {
			own[name] = value
		} else {
			other[name] = value
		}
	}
	for name, value := range own {
		if strings.TrimSpace(value) == "" {
			delete(own, name)
		}
	}
	return own, other
}

// parse lets env fill r, and names the variable, not the Go field, in each problem.
func (in *input) parse(r *raw) {
	err := env.ParseWithOptions(r, env.Options{Prefix: Prefix, Environment: in.values})
	var all env.AggregateError
	if !errors.As(err, &all) {
		return
	}
	for _, err := range all.Errors {
		var parse env.ParseError
		if !errors.As(err, &parse) {
			in.problem(Prefix, err.Error(), "")
			continue
		}
		var f *fault
		if errors.As(parse.Err, &f) {
			in.problem(variableOf(parse.Name), f.text, f.hint)
		} else {
			in.problem(variableOf(parse.Name), "cannot be read", "")
		}
	}
}

func variableOf(field string) string {
	f, _ := reflect.TypeFor[raw]().FieldByName(field)
	return Prefix + f.Tag.Get("env")
}

// config builds the Config. Fields whose variable was refused are zero; Load returns no Config then.
func (r *raw) config(other map[string]string) *Config {
	c := &Config{
		Listen: r.Listen.list, Secrets: r.Secret.list,
		Edge: r.edge(), Edges: r.edges(), EdgeRefresh: time.Duration(r.EdgeRefresh), EdgeGuard: r.EdgeGuard,
		Front: r.Front.to, FrontsFor: r.Front.named, FrontProxyProtocol: int(r.FrontProxyProtocol),
		Cost: Cost{Hour: float64(r.CostHour), GBLow: r.CostGB.low, GBHigh: r.CostGB.high, Billed: r.CostBilled},
		DC:   r.dcs(), IPPreference: r.IPPreference,
		PublicHost: string(r.PublicHost), PublicPort: uint16(r.PublicPort),
		AlignedDownloads: r.AlignedDownloads == 1, HybridKeyShare: r.HybridKeyShare == 1,
		ClockBehind: r.ClockSkew.behind, ClockAhead: r.ClockSkew.ahead,
		MaxConnections: int(r.MaxConnections), AdminListen: string(r.AdminListen), AdminToken: Token(r.AdminToken), StateDir: string(r.StateDir),
		LogLevel: slogLevel[r.LogLevel], LogFormat: logFormats[r.LogFormat],
		DrainTimeout:     time.Duration(r.DrainTimeout),
		HandshakeTimeout: time.Duration(r.HandshakeTimeout),
		Trial:            len(r.Secret.list) == 0,
	}
	r.setQuiet(c)
	switch {
	case c.Front != (Front{}):
	case c.Trial:
		c.Front = Front{Builtin: true}
	default:
		c.defaultFronts()
	}
	if c.PublicPort == 0 && len(c.Listen) > 0 {
		c.PublicPort = c.Listen[0].Port()
	}
	if c.StateDir == "" {
		c.StateDir = defaultStateDir(other)
	}
	return c
}

func (r *raw) dcs() map[int][]netip.AddrPort {
	all := map[int][]netip.AddrPort{
		1: r.DC1.list, 2: r.DC2.list, 3: r.DC3.list, 4: r.DC4.list, 5: r.DC5.list, 203: r.DC203.list,
		testDC + 1: r.DCTest1.list, testDC + 2: r.DCTest2.list, testDC + 3: r.DCTest3.list,
	}
	for dc, list := range all {
		if list == nil {
			delete(all, dc)
		}
	}
	return all
}

// defaultStateDir follows systemd, then the XDG base directories. Relative paths are ignored, as XDG asks.
func defaultStateDir(other map[string]string) string {
	first, _, _ := strings.Cut(other["STATE_DIRECTORY"], ":")
	for _, try := range []struct{ base, below string }{
		{first, ""}, {other["XDG_STATE_HOME"], "sluice"}, {other["HOME"], ".local/state/sluice"},
	} {
		if filepath.IsAbs(try.base) {
			return filepath.Join(try.base, try.below)
		}
	}
	return ""
}

// crossCheck finds what is wrong between two settings that are each right. A refused variable's field is empty, and
// finds nothing here.
func (in *input) crossCheck(c *Config) {
	in.checkFronts(c)
	if c.Front.Builtin && c.FrontProxyProtocol != 0 {
		in.warn(Prefix+"FRONT_PROXY_PROTOCOL", "has no effect on the built-in page", "")
	}
	in.checkAdmin(c)
	in.checkEdge(c)
	in.checkQuiet(c)
	for dc, list := range c.DC {
		if !slices.ContainsFunc(list, c.IPPreference.allows) {
			in.problem(dcVariable(dc), fmt.Sprintf("holds no address that %sIP_PREFERENCE=%s allows", Prefix, c.IPPreference), "")
		}
	}
}

// checkAdmin says who else can read the admin pages.
func (in *input) checkAdmin(c *Config) {
	if c.AdminListen == AdminOff && c.AdminToken != "" {
		in.warn(Prefix+"ADMIN_TOKEN", "has no effect: no admin address is served", "")
	}
	a, err := netip.ParseAddrPort(c.AdminListen)
	shares := func(l netip.AddrPort) bool {
		return l.Port() == a.Port() && (l.Addr() == a.Addr() || l.Addr().IsUnspecified() || a.Addr().IsUnspecified())
	}
	if err == nil && a.Port() != 0 && slices.ContainsFunc(c.Listen, shares) {
		in.problem(Prefix+"ADMIN_LISTEN", fmt.Sprintf("is where clients are taken: %sLISTEN has port %d, too", Prefix, a.Port()), "use another port")
	}
	switch {
	case err != nil || a.Addr().IsLoopback():
	case c.AdminToken == "":
		in.warn(Prefix+"ADMIN_LISTEN", "is open to other machines and asks for no password",
			"keep it behind a firewall, or use 127.0.0.1, or set "+Prefix+"ADMIN_TOKEN_FILE")
	default:
		in.warn(Prefix+"ADMIN_LISTEN", "is open to other machines: the token goes there in clear, and the health pages ask for none",
			"keep it behind a firewall, or use 127.0.0.1")
	}
}

func (p IPPreference) allows(a netip.AddrPort) bool {
	switch p {
	case OnlyIPv4:
		return a.Addr().Is4()
	case OnlyIPv6:
		return a.Addr().Is6()
	}
	return true
}

func dcVariable(dc int) string {
	if dc > testDC {
		return fmt.Sprintf("%sDC_TEST_%d", Prefix, dc-testDC)
	}
	return fmt.Sprintf("%sDC_%d", Prefix, dc)
}
