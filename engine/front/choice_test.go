package front

import "testing"

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
