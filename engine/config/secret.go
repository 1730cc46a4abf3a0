package config

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
)

// Secret is what a client and the proxy share: 16 key bytes and the host name the client's TLS hello carries
// (protocol.md 1). Its key never appears in formatted output; Hex and Base64 are the only ways to print it.
type Secret struct {
	Key  [16]byte
	Host string // lower case
}

// MaxHost is the longest host name of a secret in bytes: clients cut it there (protocol.md 1).
const MaxHost = 182

const (
	kindFakeTLS = 0xee
	kindSecure  = 0xdd
	keyLen      = 16
)

// The causes of a refused secret. None of them repeats any part of it.
var (
	ErrSecretEncoding = errors.New("neither hex nor base64")
	ErrSecretClassic  = errors.New("a classic secret (a bare key): only FakeTLS secrets, which begin with ee, are served")
	ErrSecretSecure   = errors.New("a dd secret (no TLS): only FakeTLS secrets, which begin with ee, are served")
	ErrSecretKind     = errors.New("not a FakeTLS secret: those begin with ee")
	ErrSecretShort    = errors.New("cut short: a FakeTLS secret is ee, 16 key bytes and a host name")
	ErrSecretLink     = errors.New("a whole link: give only what follows secret= in it")
)

// The causes of a refused host name.
var (
	ErrHostEmpty   = errors.New("host name is empty")
	ErrHostLong    = fmt.Errorf("host name is longer than %d bytes", MaxHost)
	ErrHostAddress = errors.New("host is an address, but a TLS hello carries a name")
	ErrHostSyntax  = errors.New("host name may hold only letters, digits, hyphens and dots")
)

// ParseSecret reads a FakeTLS secret in hex, base64url or standard base64, padded or not. Errors are the ErrSecret
// and ErrHost values.
func ParseSecret(text string) (Secret, error) {
	text = strings.TrimSpace(text)
	if strings.Contains(text, "://") {
		return Secret{}, ErrSecretLink
	}
	raw, err := decodeSecret(text)
	if err != nil {
		return Secret{}, err
	}
	switch {
	case len(raw) == keyLen:
		return Secret{}, ErrSecretClassic
	case len(raw) == 1+keyLen && raw[0] == kindSecure:
		return Secret{}, ErrSecretSecure
	case len(raw) > 0 && raw[0] != kindFakeTLS:
		return Secret{}, ErrSecretKind
	case len(raw) < 1+keyLen:
		return Secret{}, ErrSecretShort
	}
	s := Secret{Host: strings.ToLower(string(raw[1+keyLen:]))}
	copy(s.Key[:], raw[1:])
	return s, CheckHost(s.Host)
}

// decodeSecret tries hex first: hex text can be taken for base64, but never the other way round for a secret that
// begins with 0xee, which base64 writes as "7".
func decodeSecret(text string) ([]byte, error) {
	if raw, err := hex.DecodeString(text); err == nil {
		return raw, nil
	}
	url := strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(text, "="))
	raw, err := base64.RawURLEncoding.DecodeString(url)
	if err != nil {
		return nil, ErrSecretEncoding
	}
	return raw, nil
}

// NewSecret makes a secret for host with a key read from rnd. Errors are the ErrHost values or rnd's.
func NewSecret(host string, rnd io.Reader) (Secret, error) {
	s := Secret{Host: strings.ToLower(host)}
	if err := CheckHost(s.Host); err != nil {
		return Secret{}, err
	}
	if _, err := io.ReadFull(rnd, s.Key[:]); err != nil {
		return Secret{}, fmt.Errorf("read random key: %w", err)
	}
	return s, nil
}

// CheckHost says whether name can stand in a TLS hello: ASCII labels of letters, digits and inner hyphens, of 1 to 63
// bytes, MaxHost in all, and no address.
func CheckHost(name string) error {
	switch {
	case name == "":
		return ErrHostEmpty
	case len(name) > MaxHost:
		return ErrHostLong
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return ErrHostAddress
	}
	for label := range strings.SplitSeq(name, ".") {
		if !validLabel(label) {
			return ErrHostSyntax
		}
	}
	return nil
}

func validLabel(label string) bool {
	if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	for _, c := range []byte(label) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-':
		default:
			return false
		}
	}
	return true
}

func (s Secret) bytes() []byte {
	b := append(make([]byte, 0, 1+keyLen+len(s.Host)), kindFakeTLS)
	return append(append(b, s.Key[:]...), s.Host...)
}

// Hex writes the secret as clients take it, in hex.
func (s Secret) Hex() string { return hex.EncodeToString(s.bytes()) }

// Base64 writes the secret as clients take it, in unpadded base64url: a third shorter than hex.
func (s Secret) Base64() string { return base64.RawURLEncoding.EncodeToString(s.bytes()) }

// String names the secret by its host and hides the key.
func (s Secret) String() string { return "ee…" + s.Host }

// Format hides the key whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// MarshalText hides the key from JSON and from structured logs.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
