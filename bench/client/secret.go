// Package client is a Telegram client's side of FakeTLS and obfuscated2, strict where the clients in the field are: what a
// server must not do to any of them is an error here. It is written from protocol.md without the proxy's own packages, so that
// the two check each other.
//
// It also does what no honest client does, for tests: cuts its hello anywhere, splits it over records, lies about the time.
package client

import (
	"encoding/hex"
	"fmt"
)

// Secret is what a client needs to know of a proxy.
type Secret struct {
	Key  [16]byte
	Host string // the name in the hello
}

// String is the secret as people pass it on: "ee", the key and the host, in hex.
func (s Secret) String() string {
	return "ee" + hex.EncodeToString(s.Key[:]) + hex.EncodeToString([]byte(s.Host))
}

// ParseSecret reads a secret in hex.
func ParseSecret(text string) (Secret, error) {
	b, err := hex.DecodeString(text)
	if err != nil {
		return Secret{}, fmt.Errorf("secret: %w", err)
	}
	if len(b) < 18 || b[0] != 0xee {
		return Secret{}, fmt.Errorf("secret: not one for FakeTLS")
	}
	return Secret{Key: [16]byte(b[1:17]), Host: string(b[17:])}, nil
}
