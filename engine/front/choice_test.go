package front

import (
	"slices"
	"testing"
)

func TestChoice(t *testing.T) {
	c := NewChoice("rest")
	if !c.Alone() || c.For([]byte("a.example.org")) != "rest" || c.For(nil) != "rest" {
		t.Error("one front is for every name")
	}
	for _, name := range []string{"example.org", "*.example.org", "*.b.example.org", "*.x"} {
		c.Add(name, name)
	}
	if c.Alone() {
		t.Error("five fronts are not one")
	}
	for name, want := range map[string]string{
		"":                "rest",
		".":               "rest",
		"example.org":     "example.org",
		"a.example.org":   "*.example.org",
		"a.a.example.org": "*.example.org",
		"b.example.org":   "*.example.org",
		"a.b.example.org": "*.b.example.org",
		".example.org":    "rest", // no name: nothing stands before the dot
		"notexample.org":  "rest",
		"x":               "rest",
		"a.x":             "*.x",
		"a.x.":            "rest",
		"org":             "rest",
	} {
		if got := c.For([]byte(name)); got != want {
			t.Errorf("%q leads to %s, want %s", name, got, want)
		}
	}
	name := []byte("a.a.example.org")
	if n := testing.AllocsPerRun(100, func() { c.For(name) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A front is looked at by a name that leads to it, and to no other.
func TestAskedBy(t *testing.T) {
	c := NewChoice("rest")
	for _, name := range []string{"a.example.org", "*.example.org", "*.b.example.org", "www.example.org", "wwww.example.org", "*.example.net"} {
		c.Add(name, name)
	}
	secrets := []string{"a.example.org", "x.b.example.org", "y.b.example.org"}
	for name, want := range map[string]string{
		"":                "",
		"a.example.org":   "a.example.org",
		"www.example.org": "www.example.org",
		"*.example.org":   "wwwww.example.org",
		"*.b.example.org": "x.b.example.org",
		"*.example.net":   "www.example.net",
	} {
		f := name
		if name == "" {
			f = "rest"
		}
		if got := c.AskedBy(f, name, secrets); got != want {
			t.Errorf("%q is looked at by %q, want %q", name, got, want)
		}
	}
	if got := c.AskedBy("rest", "", append(secrets, "example.com")); got != "example.com" {
		t.Errorf("the rest is looked at by %q", got)
	}
	if got := c.Names("*.b.example.org", secrets); !slices.Equal(got, secrets[1:]) {
		t.Errorf("%q lead there", got)
	}
}
