package engine

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// The page about results has every one there is.
func TestResultsPage(t *testing.T) {
	b, err := os.ReadFile("../docs/results.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := strings.Split(string(b), "\n## ")
	for title, names := range map[string][]string{
		"`sluice_handshakes_total": causeNames[:], "`sluice_proxy_headers_total": headerNames[:], "`sluice_front_refused_total": unfrontedNames[:],
	} {
		i := slices.IndexFunc(sections, func(s string) bool { return strings.HasPrefix(s, title) })
		if i < 0 {
			t.Fatalf("no section %s", title)
		}
		for _, n := range names {
			if strings.Count(sections[i], "`"+n+"`") == 0 {
				t.Errorf("%s says nothing of %s", title, n)
			}
		}
	}
}
