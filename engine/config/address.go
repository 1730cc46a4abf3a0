package config

import (
	"net/netip"
	"path"
	"strconv"
	"strings"
)

// maxUnixPath is what sun_path holds on Linux, less its closing zero.
const maxUnixPath = 107

// parseBind reads an address to listen on: ADDRESS:PORT, :PORT for every interface, or localhost:PORT.
func parseBind(text string) (netip.AddrPort, error) {
	host, digits, err := splitHostPort(text)
	if err != nil {
		return netip.AddrPort{}, err
	}
	p, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return netip.AddrPort{}, refuse("", "%s is not a port: those go from 0 to 65535", quote(digits))
	}
	switch strings.ToLower(host) {
	case "":
		return netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(p)), nil
	case "localhost":
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(p)), nil
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.AddrPort{}, refuse("write an address of this machine, or :"+digits+" for all of them",
			"%s is not an address", quote(host))
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(p)), nil
}

// splitHostPort takes HOST:PORT apart; an IPv6 literal stands in brackets.
func splitHostPort(text string) (host, port string, err error) {
	i := strings.LastIndexByte(text, ':')
	if i < 0 {
		return "", "", refuse("", "%s has no :port", quote(text))
	}
	host, port = text[:i], text[i+1:]
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		if !ok || !strings.Contains(inner, ":") {
			return "", "", refuse("", "%s has misplaced brackets", quote(text))
		}
		return inner, port, nil
	}
	if strings.Contains(host, ":") {
		return "", "", refuse("write an IPv6 address in brackets: [2001:db8::1]:443", "%s has too many colons", quote(text))
	}
	return host, port, nil
}

func splitList(b []byte) []string {
	parts := strings.Split(string(b), ",")
	for i, p := range parts {
		parts[i] = strings.TrimSpace(p)
	}
	return parts
}

// dcPort is the port of a data centre's address that names none.
const dcPort = 443

// dcAddresses are the addresses of one data centre.
type dcAddresses struct{ list []netip.AddrPort }

func (l *dcAddresses) UnmarshalText(b []byte) error {
	for _, text := range splitList(b) {
		a, err := parseDCAddress(text)
		if err != nil {
			return err
		}
		l.list = append(l.list, a)
	}
	return nil
}

func parseDCAddress(text string) (netip.AddrPort, error) {
	a, err := netip.ParseAddrPort(text)
	if err != nil {
		bare, bareErr := netip.ParseAddr(text)
		if bareErr != nil {
			return a, refuse("write 149.154.167.51:443 or [2001:67c:4e8:f002::a]:443, commas between several",
				"%s is not an address and port", quote(text))
		}
		a = netip.AddrPortFrom(bare, dcPort)
	}
	a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	if a.Port() == 0 || a.Addr().IsUnspecified() || a.Addr().IsMulticast() {
		return a, refuse("", "%s is not an address to connect to", a)
	}
	return a, nil
}

// checkName is CheckHost for a name that is looked up rather than sent in a hello, so that underscores may stand in it,
// and that is shown again: a secret in the wrong variable is caught here.
func checkName(host, hint string) error {
	if looksSecret(host) {
		return refuse("secrets belong in SLUICE_SECRET", "looks like a secret")
	}
	if err := CheckHost(strings.ReplaceAll(host, "_", "-")); err != nil {
		return refuse(hint, "%s: %v", quote(host), err)
	}
	return nil
}

// looksSecret says whether a name could be a secret, a piece of one, or a token: a name is looked up, which tells it to others. What has
// a dot in it is a name; without one, long ones of hex digits alone, or of all three kinds of characters, are not.
func looksSecret(name string) bool {
	if _, err := ParseSecret(name); err == nil {
		return true
	}
	if len(name) < minToken || strings.Contains(name, ".") {
		return false
	}
	has := func(chars string) bool { return strings.ContainsAny(name, chars) }
	const upper, lower, digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz", "0123456789"
	return strings.Trim(name, "0123456789abcdefABCDEF") == "" || has(upper) && has(lower) && has(digits)
}

func unixPath(text string) (string, bool) {
	if p, ok := strings.CutPrefix(text, "unix:"); ok {
		return p, true
	}
	return text, strings.HasPrefix(text, "/")
}

func checkUnixPath(p string) error {
	switch {
	case !path.IsAbs(p):
		return refuse("write unix:/path", "the path of a unix socket must begin with a slash")
	case strings.TrimSpace(path.Clean(p)) != path.Clean(p):
		return refuse("", "the path of a unix socket must not end with a blank")
	case len(p) > maxUnixPath:
		return refuse("", "the path of a unix socket may have %d bytes at most", maxUnixPath)
	}
	return nil
}

// adminAddress is a canonical AdminListen.
type adminAddress string

func (a *adminAddress) UnmarshalText(b []byte) error {
	text := strings.TrimSpace(string(b))
	if strings.EqualFold(text, AdminOff) {
		*a = AdminOff
		return nil
	}
	if p, ok := unixPath(text); ok {
		*a = adminAddress("unix:" + p)
		return checkUnixPath(p)
	}
	addr, err := parseBind(text)
	*a = adminAddress(addr.String())
	return err
}

// publicHost is a name or address that clients can be given.
type publicHost string

func (h *publicHost) UnmarshalText(b []byte) error {
	const hint = "write the name or address that clients connect to, without a port"
	given := strings.TrimSpace(string(b))
	text := strings.ToLower(given)
	bare := strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
	a, err := netip.ParseAddr(bare)
	switch {
	case err == nil && a.IsUnspecified():
		return refuse(hint, "%s is every address, not one", a)
	case err == nil:
		*h = publicHost(a.String())
		return nil
	case strings.ContainsAny(text, ":/"):
		return refuse(hint, "%s is not a name or an address", quote(text))
	}
	*h = publicHost(text)
	return checkName(given, hint)
}

// directory is an absolute path.
type directory string

func (d *directory) UnmarshalText(b []byte) error {
	text := strings.TrimSpace(string(b))
	if !path.IsAbs(text) {
		return refuse("", "%s does not begin with a slash", quote(text))
	}
	*d = directory(path.Clean(text))
	return nil
}
