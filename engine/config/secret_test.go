package config

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

var sample = Secret{
	Key:  [16]byte{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff},
	Host: "example.org",
}

const sampleHex = "ee00112233445566778899aabbccddeeff6578616d706c652e6f7267"

func TestParseSecretForms(t *testing.T) {
	raw, err := hex.DecodeString(sampleHex)
	if err != nil {
		t.Fatal(err)
	}
	upper := append([]byte(nil), raw...)
	copy(upper[17:], "EXAMPLE.Org")
	for _, tt := range []struct{ name, text string }{
		{"hex", sampleHex},
		{"upper-case hex", strings.ToUpper(sampleHex)},
		{"blanks around", " " + sampleHex + "\n"},
		{"host in capitals", hex.EncodeToString(upper)},
		{"base64url", base64.RawURLEncoding.EncodeToString(raw)},
		{"base64url padded", base64.URLEncoding.EncodeToString(raw)},
		{"base64", base64.RawStdEncoding.EncodeToString(raw)},
		{"base64 padded", base64.StdEncoding.EncodeToString(raw)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := ParseSecret(tt.text); err != nil || got != sample {
				t.Errorf("got %s, %v", got.Hex(), err)
			}
		})
	}
	if sample.Hex() != sampleHex {
		t.Errorf("hex is %s", sample.Hex())
	}
}

func TestParseSecretRefused(t *testing.T) {
	key := sampleHex[2:34]
	for _, tt := range []struct {
		name, text string
		want       error
	}{
		{"nothing", "", ErrSecretShort},
		{"neither encoding", "ee!!", ErrSecretEncoding},
		{"classic", key, ErrSecretClassic},
		{"classic base64", base64.StdEncoding.EncodeToString(sample.Key[:]), ErrSecretClassic},
		{"secure", "dd" + key, ErrSecretSecure},
		{"another kind", "ef" + key + "61", ErrSecretKind},
		{"key cut", sampleHex[:20], ErrSecretShort},
		{"no host", "ee" + key, ErrHostEmpty},
		{"host is an address", "ee" + key + hex.EncodeToString([]byte("192.0.2.1")), ErrHostAddress},
		{"host is not ASCII", "ee" + key + hex.EncodeToString([]byte("exämple.org")), ErrHostSyntax},
		{"host ends with a dot", "ee" + key + hex.EncodeToString([]byte("example.org.")), ErrHostSyntax},
		{"host is long", "ee" + key + hex.EncodeToString([]byte(strings.Repeat("a.", 91)+"a")), ErrHostLong},
		{"a link", "tg://proxy?server=a&port=1&secret=" + sampleHex, ErrSecretLink},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := ParseSecret(tt.text); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestCheckHost(t *testing.T) {
	for name, want := range map[string]error{
		"localhost": nil, "a.b": nil, "xn--exmple-cua.org": nil, "1.example": nil, strings.Repeat("a.", 90) + "aa": nil,
		strings.Repeat("a", 63): nil, strings.Repeat("a", 64): ErrHostSyntax, "-a.org": ErrHostSyntax, "a-.org": ErrHostSyntax,
		"a..b": ErrHostSyntax, ".a": ErrHostSyntax, "a_b": ErrHostSyntax, "a b": ErrHostSyntax, "::1": ErrHostAddress, "": ErrHostEmpty,
	} {
		if err := CheckHost(name); !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", name, err, want)
		}
	}
}

func TestLooksSecret(t *testing.T) {
	for _, tt := range []struct {
		name string
		want bool
	}{
		{sampleHex, true},
		{sample.Base64(), true},
		{sampleHex[2:34], true},
		{sampleHex[:33], true}, // cut in the middle of a byte
		{"0123456789abcdef", true},
		{"0123456789abcde", false},
		{"aB3aB3aB3aB3aB3a", true}, // base64
		{"aB3aB3aB3aB3aB3", false},
		{"web-server-of-stage-2", false},
		{"WEB-SERVER-OF-STAGE-2", false},
		{"0123456789abcdef0123456789abcdef.storage.example.org", false},
		{"www.example.org", false},
		{"localhost", false},
	} {
		if got := looksSecret(tt.name); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
		_, err := Load([]string{"SLUICE_PUBLIC_HOST=" + tt.name})
		_, err2 := Load([]string{"SLUICE_FRONT=" + tt.name + ":443"})
		if (err != nil) != tt.want || (err2 != nil) != tt.want {
			t.Errorf("%s as a host: %v; as a front: %v", tt.name, err, err2)
		}
	}
}

func TestNewSecret(t *testing.T) {
	got, err := NewSecret("Example.ORG", bytes.NewReader(sample.Key[:]))
	if err != nil || got != sample {
		t.Errorf("got %s, %v", got.Hex(), err)
	}
	if _, err := NewSecret("example.org", bytes.NewReader(sample.Key[:15])); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("short randomness gives %v", err)
	}
	if _, err := NewSecret("no host", nil); !errors.Is(err, ErrHostSyntax) {
		t.Errorf("a bad host gives %v", err)
	}
}

func TestSecretHidesItsKey(t *testing.T) {
	asJSON, err := json.Marshal(map[string]any{"secret": sample, "list": []Secret{sample}})
	if err != nil {
		t.Fatal(err)
	}
	told := string(asJSON) + fmt.Sprintf("%v %+v %#v %s %x %q %d %v", sample, sample, sample, sample, sample, sample, sample, []Secret{sample})
	for _, part := range []string{"0011", "17 34", "17,34", "0x11"} {
		if strings.Contains(told, part) {
			t.Errorf("the key shows in %s", told)
		}
	}
}

// FuzzParseSecret: whatever is accepted is printed in two forms that read back as the same secret, and whatever is
// refused is not repeated in the error.
func FuzzParseSecret(f *testing.F) {
	for _, seed := range []string{sampleHex, sample.Base64(), sampleHex[2:34], "dd" + sampleHex[2:34], "", "7gAR", "ee", "tg://proxy"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSecret(text)
		if err != nil {
			if len(text) > 24 && strings.Contains(err.Error(), text) {
				t.Fatalf("%q repeats the text", err)
			}
			return
		}
		for _, form := range []string{s.Hex(), s.Base64()} {
			if again, err := ParseSecret(form); err != nil || again != s {
				t.Fatalf("%s reads back as %s, %v", form, again.Hex(), err)
			}
		}
	})
}

// FuzzLoad: no environment makes Load panic, and it gives either a usable Config or problems.
func FuzzLoad(f *testing.F) {
	f.Add("LISTEN", ":443")
	f.Add("FRONT", "[::1]:443")
	f.Add("CLOCK_SKEW", "5m,30s")
	f.Add("DC_1", "[2001:db8::1%eth0]:443")
	f.Add("ADMIN_LISTEN", "unix:/a")
	f.Add("PUBLIC_HOST", "[::1]")
	f.Fuzz(func(t *testing.T, name, value string) {
		if strings.HasSuffix(name, "_FILE") {
			return // would read whatever file the fuzzer names
		}
		c, err := Load([]string{Prefix + name + "=" + value})
		if (c == nil) == (err == nil) {
			t.Fatalf("config %v with error %v", c, err)
		}
		if c != nil && (len(c.Listen) == 0 || len(c.Effective()) != len(settings)) {
			t.Fatalf("incomplete: %v", c.Effective())
		}
	})
}
