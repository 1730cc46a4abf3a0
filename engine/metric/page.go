package metric

import (
	"strings"
)

//go:generate go test -run TestReferencePage -update .

const pageHead = `# Metrics

<!-- Generated from the catalogue in engine/metric by "go generate ./engine/metric"; do not edit. -->

The admin listener (` + "`SLUICE_ADMIN_LISTEN`" + `) serves these families under ` + "`/metrics`" + ` in the Prometheus text format. Sizes are in bytes and
times in seconds. No label ever carries a client's address, a server name or a secret. [What the results mean](results.md), and what to do about
them, is a page of its own.

| metric | type | labels | meaning |
|---|---|---|---|
`

const pageTail = `
After them come the Go runtime's and the process's own families (` + "`go_*`, `process_*`" + `).

## Histograms

Buckets are cumulative, with the upper bounds below and ` + "`+Inf`" + `.

| metric | upper bounds |
|---|---|
`

// Markdown is the reference page, docs/metrics.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString(pageHead)
	for _, d := range Catalogue {
		row(&b, code(d.Name), d.Type, joined(d.Labels), d.Help)
	}
	b.WriteString(pageTail)
	for _, d := range Catalogue {
		if d.Type != TypeHistogram {
			continue
		}
		var bounds []string
		for _, le := range d.Buckets {
			bounds = append(bounds, formatBound(le))
		}
		row(&b, code(d.Name), strings.Join(bounds, ", "))
	}
	return b.String()
}

func row(b *strings.Builder, cells ...string) {
	b.WriteString("| ")
	b.WriteString(strings.Join(cells, " | "))
	b.WriteString(" |\n")
}

func code(s string) string { return "`" + s + "`" }

func joined(labels []string) string {
	var out []string
	for _, l := range labels {
		out = append(out, code(l))
	}
	return strings.Join(out, ", ")
}
