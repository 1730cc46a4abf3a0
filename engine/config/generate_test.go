package config

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/caarlos0/env/v11"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the generated files")

// TestGeneratedFiles compares the committed files with the table. `make docs` rewrites them.
func TestGeneratedFiles(t *testing.T) {
	for _, tt := range []struct{ name, path, want string }{
		{"reference page", "../../docs/configuration.md", Reference()},
		{"sample file", "../../packaging/sluice.env", Sample()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if *update {
				if err := os.MkdirAll(filepath.Dir(tt.path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(tt.path, []byte(tt.want), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			got, err := os.ReadFile(tt.path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Errorf("%s is out of date (make docs rewrites it):\n%s", tt.path, diff)
			}
		})
	}
}

// TestTableMatchesStruct keeps raw, which env reads, and settings, which people read, in one order.
func TestTableMatchesStruct(t *testing.T) {
	params, err := env.GetFieldParamsWithOptions(&raw{}, env.Options{Prefix: Prefix})
	if err != nil {
		t.Fatal(err)
	}
	var read, told []string
	for _, p := range params {
		if p.OwnKey != "" {
			read = append(read, p.OwnKey)
		}
	}
	for _, s := range settings {
		told = append(told, s.name)
	}
	if diff := cmp.Diff(read, told); diff != "" {
		t.Errorf("fields (-) and table (+) differ:\n%s", diff)
	}
}

func TestSettingsAreComplete(t *testing.T) {
	def := defaults()
	for _, s := range settings {
		_, tagged := def[s.name]
		if s.section == "" || s.takes == "" || s.text == "" || s.show == nil {
			t.Errorf("%s: a column is empty", s.name)
		}
		if tagged == (s.otherwise != "") {
			t.Errorf("%s: wants a default in its tag or in words, and not both", s.name)
		}
		if !tagged && s.example == "" {
			t.Errorf("%s: the sample file needs an example", s.name)
		}
	}
}

// TestRawHidesItsValues holds for every field, because env takes exported fields of a struct for more variables.
func TestRawHidesItsValues(t *testing.T) {
	for f := range structFields(reflect.TypeFor[raw]()) {
		if f.Type.Kind() != reflect.Struct {
			continue
		}
		for inner := range structFields(f.Type) {
			if inner.IsExported() {
				t.Errorf("%s: field %s of its type is exported", f.Name, inner.Name)
			}
		}
	}
}

// TestSampleLoads takes away every # in front of a setting: what the sample file shows must be valid.
func TestSampleLoads(t *testing.T) {
	var environ []string
	for line := range strings.Lines(Sample()) {
		if strings.HasPrefix(line, "#"+Prefix+"SECRET_FILE=") {
			continue // the same setting, as a file
		}
		if setting, ok := strings.CutPrefix(line, "#"+Prefix); ok {
			setting = strings.NewReplacer(placeholder, sampleHex, tokenPlaceholder, sampleToken).Replace(strings.TrimSuffix(setting, "\n"))
			environ = append(environ, Prefix+setting)
		}
	}
	if len(environ) != len(settings) {
		t.Fatalf("the sample has %d settings, want %d", len(environ), len(settings))
	}
	if _, err := Load(environ); err != nil {
		t.Error(err)
	}
	if _, err := ParseSecret(placeholder); err == nil {
		t.Error("the sample file holds a secret that everybody knows")
	}
}

// TestDefaultsLoad gives every default as a value: it must mean the same as leaving the variable out.
func TestDefaultsLoad(t *testing.T) {
	var environ []string
	for name, value := range defaults() {
		environ = append(environ, Prefix+name+"="+value)
	}
	given := mustLoad(t, environ...)
	left := mustLoad(t)
	for i, line := range left.Effective() {
		if got := given.Effective()[i]; got.Value != line.Value {
			t.Errorf("%s: %q when given, %q when left out", line.Variable, got.Value, line.Value)
		}
	}
}
