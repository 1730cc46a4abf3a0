package config

import (
	"fmt"
	"io"
	"strings"
)

// Token is what whoever reads the metrics must know. No format shows it: string(t) is the only way to its text.
type Token string

// The bounds of a token's length: a shorter one could be guessed, a longer one is something else.
const minToken, maxToken = 16, 256

// String says whether there is a token.
func (t Token) String() string {
	if t == "" {
		return "none"
	}
	return "set"
}

// Format hides the token whatever the verb.
func (t Token) Format(f fmt.State, _ rune) { io.WriteString(f, t.String()) }

// MarshalText hides the token from JSON and from structured logs.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// adminToken is a token as env reads it. Its faults never repeat any part of it.
type adminToken Token

func (t *adminToken) UnmarshalText(b []byte) error {
	const hint = "make one with: openssl rand -hex 24"
	text := strings.TrimSpace(string(b))
	switch {
	case strings.ContainsFunc(text, notOfToken):
		return refuse(hint, "may hold only letters, digits and -._~+/=")
	case len(text) < minToken:
		return refuse(hint, "is shorter than %d characters", minToken)
	case len(text) > maxToken:
		return refuse(hint, "is longer than %d characters", maxToken)
	}
	*t = adminToken(text)
	return nil
}

// notOfToken says which characters an Authorization header does not carry in a token (RFC 6750, 2.1).
func notOfToken(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-._~+/=", c)
}
