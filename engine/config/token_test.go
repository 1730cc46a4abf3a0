package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const sampleToken = "Zk9-hJ2_x7~Qw.4+t/e="

func TestAdminToken(t *testing.T) {
	for _, tt := range []struct{ name, value, text string }{
		{"every kind of character", sampleToken, ""},
		{"the shortest", strings.Repeat("a", minToken), ""},
		{"one less", strings.Repeat("a", minToken-1), "shorter than 16"},
		{"the longest", strings.Repeat("a", maxToken), ""},
		{"one more", strings.Repeat("a", maxToken+1), "longer than 256"},
		{"a blank in it", "correct horse battery staple", "may hold only"},
		{"a colon", "user:0123456789abcdef", "may hold only"},
		{"beyond ASCII", "0123456789abcdefé", "may hold only"},
		{"the sample's", tokenPlaceholder, "may hold only"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Load([]string{"SLUICE_ADMIN_TOKEN=" + tt.value})
			switch {
			case tt.text == "" && err != nil:
				t.Fatal(err)
			case tt.text == "" && string(c.AdminToken) != tt.value:
				t.Error("another token is in force")
			case tt.text != "" && (err == nil || !strings.Contains(err.Error(), tt.text)):
				t.Errorf("got %v, want %q", err, tt.text)
			}
		})
	}
}

func TestAdminTokenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(sampleToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := mustLoad(t, "SLUICE_ADMIN_TOKEN_FILE="+path)
	if string(c.AdminToken) != sampleToken || len(c.Warnings) != 0 {
		t.Errorf("another token, or warnings: %v", c.Warnings)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if c := mustLoad(t, "SLUICE_ADMIN_TOKEN_FILE="+path); len(c.Warnings) != 1 {
		t.Errorf("a file that others can read: warnings %v", c.Warnings)
	}
}

func TestTokenIsHidden(t *testing.T) {
	c := mustLoad(t, "SLUICE_ADMIN_TOKEN="+sampleToken)
	asJSON, err := json.Marshal(map[string]any{"token": c.AdminToken, "whole": c})
	if err != nil {
		t.Fatal(err)
	}
	told := string(asJSON) + fmt.Sprintf("%v %+v %#v %s %x %q %d %v", c.AdminToken, c.AdminToken, c, c.AdminToken, c.AdminToken, c.AdminToken, c.AdminToken, c.Effective())
	if strings.Contains(told, sampleToken[:6]) || strings.Contains(told, fmt.Sprintf("%x", sampleToken[:6])) {
		t.Errorf("the token shows in %s", told)
	}
	if !strings.Contains(told, "{SLUICE_ADMIN_TOKEN set false environment}") {
		t.Errorf("nobody sees that there is a token: %s", told)
	}
}

// TestTokensAreNeverEchoed: whichever variable a token was put into by mistake, no message repeats it.
func TestTokensAreNeverEchoed(t *testing.T) {
	for _, s := range settings {
		for _, value := range []string{"0123456789abcdef", "Q7w~0123456789ab-X", strings.Repeat("Q7w~", 20)} {
			for _, name := range []string{Prefix + s.name, Prefix + s.name + "_FILE"} {
				var told strings.Builder
				c, err := Load([]string{name + "=" + value})
				fmt.Fprintln(&told, err)
				if c != nil && s.name == "ADMIN_TOKEN" {
					fmt.Fprintln(&told, c.Effective(), c.Warnings)
				}
				if strings.Contains(told.String(), value) {
					t.Errorf("%s: the token shows in %s", name, &told)
				}
			}
		}
	}
}

func TestAdminWarnings(t *testing.T) {
	token := "SLUICE_ADMIN_TOKEN=" + sampleToken
	for _, tt := range []struct {
		name, variable, text string
		environ              []string
	}{
		{"loopback", "", "", []string{"SLUICE_ADMIN_LISTEN=127.0.0.1:1"}},
		{"a socket and a token", "", "", []string{"SLUICE_ADMIN_LISTEN=unix:/run/a", token}},
		{"open", "SLUICE_ADMIN_LISTEN", "asks for no password", []string{"SLUICE_ADMIN_LISTEN=:9180"}},
		{"open, with a token", "SLUICE_ADMIN_LISTEN", "token goes there in clear", []string{"SLUICE_ADMIN_LISTEN=192.0.2.1:9180", token}},
		{"off, with a token", "SLUICE_ADMIN_TOKEN", "has no effect", []string{"SLUICE_ADMIN_LISTEN=off", token}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := mustLoad(t, tt.environ...)
			if tt.text == "" {
				if len(c.Warnings) != 0 {
					t.Errorf("warnings %v", c.Warnings)
				}
				return
			}
			if len(c.Warnings) != 1 || c.Warnings[0].Variable != tt.variable || !strings.Contains(c.Warnings[0].Text, tt.text) {
				t.Errorf("warnings %v, want one of %s: %s", c.Warnings, tt.variable, tt.text)
			}
		})
	}
}
