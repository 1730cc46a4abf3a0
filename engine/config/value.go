package config

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// fault is why a value was refused, with what to write instead. It repeats a value only through quote.
type fault struct{ text, hint string }

func (f *fault) Error() string { return f.text }

func refuse(hint, format string, args ...any) error {
	return &fault{text: fmt.Sprintf(format, args...), hint: hint}
}

// quote repeats a refused value, unless it could be a secret or a token that was put into the wrong variable: it is long, or
// has a run of characters in which a key or the shortest token could be written.
func quote(text string) string {
	run := 0
	for _, c := range []byte(text) {
		if c == '.' || c == ':' || c == ',' || c == ' ' {
			run = 0
			continue
		}
		if run++; run >= minToken {
			return "the value"
		}
	}
	if len(text) > 64 {
		return "the value"
	}
	return strconv.Quote(text)
}

// choice looks a word up in a list whose index is the value.
func choice[T ~uint8](words []string, text string) (T, error) {
	for i, w := range words {
		if strings.EqualFold(text, w) {
			return T(i), nil
		}
	}
	return 0, refuse("use "+alternatives(words), "%s is not a choice", quote(text))
}

func alternatives(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// UnmarshalText reads prefer-ipv4, prefer-ipv6, only-ipv4 or only-ipv6.
func (p *IPPreference) UnmarshalText(b []byte) (err error) {
	*p, err = choice[IPPreference](ipPreferences, strings.TrimSpace(string(b)))
	return err
}

// onOff is a switch.
type onOff uint8

var switches = []string{"off", "on"}

func (s *onOff) UnmarshalText(b []byte) (err error) {
	*s, err = choice[onOff](switches, strings.TrimSpace(string(b)))
	return err
}

// headerVersion is the version of an outbound PROXY header, 0 for none.
type headerVersion uint8

var headerVersions = []string{"off", "v1", "v2"}

func (v *headerVersion) UnmarshalText(b []byte) (err error) {
	*v, err = choice[headerVersion](headerVersions, strings.TrimSpace(string(b)))
	return err
}

// logLevel is an index into logLevels.
type logLevel uint8

var (
	logLevels = []string{"debug", "info", "warn", "error"}
	slogLevel = []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}
)

func (l *logLevel) UnmarshalText(b []byte) (err error) {
	*l, err = choice[logLevel](logLevels, strings.TrimSpace(string(b)))
	return err
}

// logFormat is an index into logFormats.
type logFormat uint8

var logFormats = []string{"text", "json"}

func (f *logFormat) UnmarshalText(b []byte) (err error) {
	*f, err = choice[logFormat](logFormats, strings.TrimSpace(string(b)))
	return err
}

// maxConnections is far above what any descriptor limit allows.
const maxConnections = 10_000_000

// count is a whole number of connections.
type count int

func (c *count) UnmarshalText(b []byte) error {
	text := strings.TrimSpace(string(b))
	n, err := strconv.Atoi(text)
	if err != nil {
		return refuse("write digits only, such as 20000", "%s is not a whole number", quote(text))
	}
	if n < 0 || n > maxConnections {
		return refuse("", "%d is outside 0 to %d", n, maxConnections)
	}
	*c = count(n)
	return nil
}

// port is a TCP port that somebody can connect to.
type port uint16

func (p *port) UnmarshalText(b []byte) error {
	text := strings.TrimSpace(string(b))
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return refuse("", "%s is not a port: those go from 1 to 65535", quote(text))
	}
	*p = port(n)
	return nil
}

// The durations, each with its own bounds.
type (
	drainTimeout     time.Duration
	idleTimeout      time.Duration
	handshakeTimeout time.Duration
)

func (d *drainTimeout) UnmarshalText(b []byte) error {
	return setDuration((*time.Duration)(d), b, 0, 24*time.Hour)
}

func (d *idleTimeout) UnmarshalText(b []byte) error {
	return setDuration((*time.Duration)(d), b, 10*time.Second, 24*time.Hour)
}

func (d *handshakeTimeout) UnmarshalText(b []byte) error {
	return setDuration((*time.Duration)(d), b, time.Second, 2*time.Minute)
}

func setDuration(to *time.Duration, b []byte, low, high time.Duration) error {
	d, err := parseDuration(string(b), low, high)
	if err == nil {
		*to = d
	}
	return err
}

func parseDuration(text string, low, high time.Duration) (time.Duration, error) {
	text = strings.TrimSpace(text)
	d, err := time.ParseDuration(text)
	if _, bare := strconv.Atoi(text); bare == nil && text != "0" {
		return 0, refuse("write "+text+"s for seconds", "%s has no unit", quote(text))
	}
	switch {
	case err != nil:
		return 0, refuse("write a number and a unit: 30s, 5m, 1h30m", "%s is not a duration", quote(text))
	case d < low || d > high:
		return 0, refuse("", "%s is outside %s to %s", formatDuration(d), formatDuration(low), formatDuration(high))
	}
	return d, nil
}

// formatDuration writes 5m for 5m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// clockSkew is how far a client's clock may be off in either direction.
type clockSkew struct{ behind, ahead time.Duration }

const minSkew, maxSkew = time.Second, 24 * time.Hour

func (s *clockSkew) UnmarshalText(b []byte) error {
	behind, ahead, both := strings.Cut(string(b), ",")
	if !both {
		ahead = behind
	}
	x, err := parseDuration(behind, minSkew, maxSkew)
	if err != nil {
		return err
	}
	y, err := parseDuration(ahead, minSkew, maxSkew)
	if err != nil {
		return err
	}
	*s = clockSkew{behind: x, ahead: y}
	return nil
}

// secrets is a list of secrets, none twice.
type secrets struct{ list []Secret }

func (s *secrets) UnmarshalText(b []byte) error {
	words := strings.FieldsFunc(string(b), func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
	seen := make(map[Secret]bool, len(words))
	for i, w := range words {
		secret, err := ParseSecret(w)
		if err != nil {
			return refuse(secretHint(err), "%s%v", ordinal(i, len(words)), err)
		}
		if seen[secret] {
			return refuse("", "%sgiven twice", ordinal(i, len(words)))
		}
		seen[secret] = true
		s.list = append(s.list, secret)
	}
	if len(s.list) == 0 {
		return refuse("make one with: sluice secret HOST", "holds no secret")
	}
	return nil
}

// ordinal names one of several secrets by its place, since its text must not be shown.
func ordinal(i, of int) string {
	if of == 1 {
		return ""
	}
	return fmt.Sprintf("secret %d of %d: ", i+1, of)
}

func secretHint(err error) string {
	if errors.Is(err, ErrSecretLink) {
		return ""
	}
	return "make one with: sluice secret HOST, where HOST is the web site to look like"
}
