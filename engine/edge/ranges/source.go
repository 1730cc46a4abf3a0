package ranges

import (
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Source is where ranges come from. It is immutable.
type Source struct {
	// Name is how metrics, logs and the state directory name it.
	Name string
	// URLs are fetched and together make the list; none for a source that does not change.
	URLs []string
	// Path is a file to read instead.
	Path string

	read     parser
	fixed    []netip.Prefix // of a source that does not change
	snapshot string         // the list that this program was built with
	taken    time.Time      // its date
}

// String writes the source as SLUICE_EDGE_RANGES takes it, but for a URL's query, without which it tells nobody apart.
func (s *Source) String() string {
	switch {
	case s.Path != "":
		return s.Path
	case s.Name == given:
		return join(s.fixed, ",")
	case slices.IndexFunc(known, func(k Source) bool { return k.Name == s.Name }) < 0:
		return WithoutQuery(s.URLs[0])
	}
	return s.Name
}

// WithoutQuery is a list's URL for people and logs: what follows the question mark may be the password of who fetches it.
func WithoutQuery(url string) string {
	path, _, asks := strings.Cut(url, "?")
	if asks {
		path += "?..."
	}
	return path
}

// Key tells sources from others, other queries among them.
func Key(sources []Source) (key string) {
	for i := range sources {
		key += sources[i].key() + ","
	}
	return key
}

// key tells a source from others: ranges that were given have all the same name, and URLs with different queries the same text.
func (s *Source) key() string { return s.Name + "=" + s.String() }

// Distinct gives every source once.
func Distinct(sources []Source) (all []Source) {
	for i := range sources {
		if !slices.ContainsFunc(all, func(o Source) bool { return o.key() == sources[i].key() }) {
			all = append(all, sources[i])
		}
	}
	return all
}

// Text writes sources as SLUICE_EDGE_RANGES takes them, but for the queries of URLs.
func Text(sources []Source) string {
	texts := make([]string, len(sources))
	for i := range sources {
		texts[i] = sources[i].String()
	}
	return strings.Join(texts, ",")
}

// Changes says whether the source can be asked again.
func (s *Source) Changes() bool { return len(s.URLs) > 0 || s.Path != "" }

// given is the name of the ranges that were set as such.
const given = "given"

//go:embed snapshot
var snapshots embed.FS

// The publishers this program knows by name.
var known = []Source{
	{
		Name: "cloudflare", URLs: []string{"https://www.cloudflare.com/ips-v4", "https://www.cloudflare.com/ips-v6"},
		read: ParseList, snapshot: "cloudflare.txt", taken: day(2026, 2, 11),
	},
	{
		Name: "aws-global-accelerator", URLs: []string{"https://ip-ranges.amazonaws.com/ip-ranges.json"},
		read: ParseAWS, snapshot: "aws-global-accelerator.json", taken: day(2026, 1, 12),
	},
	{
		// cloud.google.com/load-balancing/docs/firewall-rules: proxies and health checks. They are written down there, not published as a list.
		Name: "gcp-load-balancer", taken: day(2026, 4, 25), fixed: mustParse("35.191.0.0/16", "130.211.0.0/22", "2600:2d00:1:b029::/64", "2600:2d00:1:1::/64"),
	},
}

func day(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC) }

func mustParse(texts ...string) (all []netip.Prefix) {
	for _, t := range texts {
		all = append(all, netip.MustParsePrefix(t))
	}
	return all
}

// Known lists the names of the publishers this program knows.
func Known() (names []string) {
	for i := range known {
		names = append(names, known[i].Name)
	}
	return names
}

// ParseSources reads what the operator says of ranges: names of known publishers, https and http URLs of lists, paths of
// files, and prefixes or addresses, commas between them.
func ParseSources(text string) ([]Source, error) {
	var all []Source
	var fixed []netip.Prefix
	for _, item := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' }) {
		if p, err := ParsePrefix(item); err == nil {
			fixed = append(fixed, p)
			continue
		}
		s, why := parseSource(item)
		if why == "" && slices.ContainsFunc(all, func(o Source) bool { return o.Name == s.Name }) {
			why = "is given twice"
		}
		if why != "" {
			return nil, &ItemError{item, why}
		}
		all = append(all, s)
	}
	if len(fixed) > 0 {
		if _, err := checked(fixed); err != nil {
			return nil, err
		}
		all = append(all, Source{Name: given, fixed: fixed})
	}
	if len(all) == 0 {
		return nil, ErrEmpty
	}
	return all, nil
}

// ItemError is a part of what the operator said that cannot be understood. Who prints it decides whether to repeat the part.
type ItemError struct{ Item, Why string }

func (e *ItemError) Error() string { return fmt.Sprintf("%q %s", e.Item, e.Why) }

func parseSource(item string) (s Source, why string) {
	for i := range known {
		if known[i].Name == item {
			return known[i], ""
		}
	}
	if filepath.IsAbs(item) {
		return Source{Name: stateName(item), Path: item, read: ParseList}, ""
	}
	if u, err := url.Parse(item); err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil {
		if a, err := netip.ParseAddr(u.Hostname()); u.Scheme == "http" && (err != nil || !a.IsLoopback()) {
			return s, "could be changed by anybody on the way: use https"
		}
		return Source{Name: stateName(item), URLs: []string{item}, read: readAny}, ""
	}
	return s, "is none of " + strings.Join(Known(), ", ") + ", nor a URL, an absolute path, a range or an address"
}

// stateName makes a name for files and labels of a path or a URL: what tells it from others, without what may be secret in it.
func stateName(text string) string {
	sum := sha256.Sum256([]byte(text))
	last := text[strings.LastIndexByte(text, '/')+1:]
	last, _, _ = strings.Cut(last, "?")
	if last == "" {
		last = "list"
	}
	return fmt.Sprintf("%.24s-%x", unsafe.ReplaceAllString(last, "_"), sum[:4])
}

var unsafe = regexp.MustCompile(`[^A-Za-z0-9._-]`)

// readAny reads a list of lines or AWS's JSON, whichever it is.
func readAny(b []byte) ([]netip.Prefix, error) {
	if all, err := ParseList(b); !errors.Is(err, ErrNoList) {
		return all, err
	}
	return ParseAWS(b)
}

// builtIn is the list that the program was built with, and its date; nothing for a source without one.
func (s *Source) builtIn() ([]netip.Prefix, time.Time, error) {
	switch {
	case s.fixed != nil:
		return s.fixed, s.taken, nil
	case s.snapshot == "":
		return nil, time.Time{}, nil
	}
	b, err := snapshots.ReadFile("snapshot/" + s.snapshot)
	if err != nil {
		return nil, time.Time{}, err
	}
	list, err := s.read(b)
	return list, s.taken, err
}
