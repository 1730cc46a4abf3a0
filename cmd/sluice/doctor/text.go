package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// countOf writes a number and a noun.
func countOf(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// WriteJSON writes the report as one object.
func (r Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteText writes the report for people: what is wrong first and in full, then what is well, a line each.
func (r Report) WriteText(w io.Writer) error {
	var b strings.Builder
	for _, s := range []Status{Fail, Warn, OK, Skip} {
		for _, f := range r.Findings {
			if f.Status == s {
				f.write(&b)
			}
		}
	}
	fmt.Fprintf(&b, "\n%d fail, %d warn, %d ok, %d skip\n", r.Counts[Fail], r.Counts[Warn], r.Counts[OK], r.Counts[Skip])
	_, err := io.WriteString(w, b.String())
	return err
}

func (f Finding) write(b *strings.Builder) {
	fmt.Fprintf(b, "%-4s  %-19s  %s\n", f.Status, f.ID, f.Seen)
	if len(f.Details) > 0 && (f.Status != OK || f.ID == "outbound") {
		for _, d := range f.Details {
			fmt.Fprintf(b, "%27s- %s\n", "", d)
		}
	}
	if f.Status != Fail && f.Status != Warn {
		return
	}
	fmt.Fprintf(b, "%27swhy: %s\n", "", f.Why)
	if f.Do != "" {
		fmt.Fprintf(b, "%27sdo:  %s\n", "", f.Do)
	}
}

// plural is countOf for a noun whose plural is its own.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
