package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// checklist maps what operators ask about a CDN in front to what shows the answer.
const checklist = "../../docs/edges/checklist.md"

func page(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// rows are the cells of a page's tables, without their heads.
func rows(text string) (all [][]string) {
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") || strings.HasPrefix(line, "| Section") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		all = append(all, cells)
	}
	return all
}

// sections are those of the page that the checklist goes through.
var sections = []string{
	"Why operators reach for a CDN", "Why it is not a silver bullet", `"CDN" is two products in a trenchcoat`, "Cloudflare specifically",
	`Cloudflare Proxy ("orange cloud", default)`, "Cloudflare Spectrum (layer-4 TCP)", "Cloudflare Tunnel (cloudflared)",
	"Cloudflare Workers / TCP sockets", "Other CDNs and L4 anycast services", "AWS Global Accelerator",
	"Google Cloud — External Network Load Balancer", "What was cut from this section", `"GRE tunnel + L4 proxy" providers`,
	"Origin configuration when fronted by a CDN", "1. mtg listens on an internal port",
	"2. Firewall: only accept connections from CDN IP ranges", "3. Don't leak the origin", "Caveats", "PROXY protocol mismatches",
	"TLS-on-TLS is not happening", "Geolocation routing", "Cost surprises", "Decision table", "Verified vs theoretical", "Verified working",
	"Does not work, despite frequent suggestions", "Validating a CDN-fronted setup", "Summary",
}

// withoutTest are the sections about what cannot work or cannot be set: there is nothing to show.
var withoutTest = []string{
	"Cloudflare Tunnel (cloudflared)", "Cloudflare Workers / TCP sockets", "TLS-on-TLS is not happening",
	"Does not work, despite frequent suggestions",
}

func TestChecklistIsWhole(t *testing.T) {
	text := page(t, checklist)
	found := map[string]int{}
	for _, row := range rows(text) {
		if len(row) != 4 {
			t.Errorf("%d cells: %q", len(row), row)
			continue
		}
		found[row[0]]++
		if (row[3] == "") != slices.Contains(withoutTest, row[0]) {
			t.Errorf("%s: shown by %q", row[0], row[3])
		}
		if rest := testName.ReplaceAllString(row[3], ""); strings.Trim(rest, ", ") != "" {
			t.Errorf("%s: not a list of tests: %q", row[0], row[3])
		}
	}
	for _, s := range sections {
		if heading := strings.Contains(text, "\n## "+s+"\n"); found[s] != 1 && !heading {
			t.Errorf("%d rows for the section %s", found[s], s)
		}
	}
}

var (
	testName   = regexp.MustCompile("`([a-z0-9_/]+_test\\.go):(Test[A-Za-z0-9]+)`")
	setting    = regexp.MustCompile(`\bSLUICE_[A-Z0-9_]+\b`)
	metricName = regexp.MustCompile(`\bsluice_[a-z0-9_]+\b`)
	link       = regexp.MustCompile(`\]\(([^):]+)\)`)
)

// Whatever the pages about edges name exists: tests, settings, metrics, other pages.
func TestEdgePages(t *testing.T) {
	settings, metrics := page(t, "../../docs/configuration.md"), page(t, "../../docs/metrics.md")
	pages, err := filepath.Glob("../../docs/edges/*.md")
	if err != nil || len(pages) < 7 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	for _, path := range pages {
		text, name := page(t, path), filepath.Base(path)
		for _, m := range testName.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(page(t, filepath.Join("../..", m[1])), "\nfunc "+m[2]+"(t *testing.T) {") {
				t.Errorf("%s: there is no %s in %s", name, m[2], m[1])
			}
		}
		for _, s := range setting.FindAllString(text, -1) {
			if !strings.Contains(settings, "\n### "+s+"\n") {
				t.Errorf("%s: %s is not a setting", name, s)
			}
		}
		for _, m := range metricName.FindAllString(text, -1) {
			if !strings.Contains(metrics, "| `"+m+"` |") {
				t.Errorf("%s: %s is not a metric", name, m)
			}
		}
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), m[1])); err != nil {
				t.Errorf("%s: a link leads nowhere: %v", name, err)
			}
		}
		if product := name != "README.md" && name != "checklist.md"; product && !strings.Contains(text, "**Verified**") {
			t.Errorf("%s does not say what was verified", name)
		}
	}
}
