package config

import (
	"reflect"
	"strings"
)

// defaults returns the default of each variable, without Prefix, as raw's tags have it.
func defaults() map[string]string {
	found := map[string]string{}
	for f := range structFields(reflect.TypeFor[raw]()) {
		if d, ok := f.Tag.Lookup("envDefault"); ok {
			found[f.Tag.Get("env")] = d
		}
	}
	return found
}

func structFields(t reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if !yield(t.Field(i)) {
				return
			}
		}
	}
}

const referenceIntro = `# Configuration

Sluice reads ` + "`SLUICE_*`" + ` environment variables and nothing else. This page is generated from the table in
` + "`engine/config/table.go`" + `.

- Every problem is reported at once, by the name of its variable, and the exit status is 78. ` + "`sluice check`" + ` does only that.
- A variable that is set but empty counts as not set. A ` + "`SLUICE_*`" + ` name that is not on this page is an error.
- Any variable can be given as a file: ` + "`SLUICE_SECRET_FILE=/run/secrets/sluice`" + ` reads the value from there, less one
  newline at its end. A variable and its file together are an error.
- Durations are numbers with units: ` + "`30s`, `5m`, `1h30m`" + `.
- On SIGHUP the variables' files are read again. What a running process cannot take over is named in the log and waits for the next start; if anything
  is wrong, everything stays as it was.
`

// Reference is docs/configuration.md.
func Reference() string {
	var b strings.Builder
	b.WriteString(referenceIntro)
	def, section := defaults(), ""
	for _, s := range settings {
		if s.section != section {
			section = s.section
			b.WriteString("\n## " + section + "\n")
		}
		b.WriteString("\n### " + Prefix + s.name + "\n\n" + s.text + "\n\n")
		b.WriteString("- Takes: " + s.takes + "\n")
		b.WriteString("- Default: " + defaultText(s, def) + "\n")
	}
	return b.String()
}

func defaultText(s setting, def map[string]string) string {
	if s.otherwise != "" {
		return s.otherwise
	}
	return "`" + def[s.name] + "`"
}

const sampleIntro = `# Settings of Sluice, for systemd's EnvironmentFile= and for container engines' --env-file.
# Generated from engine/config/table.go; docs/configuration.md says more. Everything is commented out: take away the # of
# what you want to change. No quotes, and no comment behind a value.
#
# Each can also be given as a file that has the value, by the same name with _FILE at its end; SIGHUP reads those again. That is the place for
# the secret:
#SLUICE_SECRET_FILE=/etc/sluice/secret
`

const sampleWidth = 110

// Sample is packaging/sluice.env.
func Sample() string {
	var b strings.Builder
	b.WriteString(sampleIntro)
	def, section := defaults(), ""
	for _, s := range settings {
		if s.section != section {
			section = s.section
			b.WriteString("\n# ---- " + section + " ----\n")
		}
		first, _, _ := strings.Cut(s.text, "\n\n")
		b.WriteString("\n")
		comment(&b, plain(first))
		comment(&b, "Takes: "+plain(s.takes)+".")
		value := def[s.name]
		if s.example != "" {
			comment(&b, "Default: "+plain(defaultText(s, def))+".")
			value = s.example
		}
		b.WriteString("#" + Prefix + s.name + "=" + value + "\n")
	}
	return b.String()
}

func plain(text string) string { return strings.ReplaceAll(text, "`", "") }

// comment writes text as lines of at most sampleWidth characters, where its words allow.
func comment(b *strings.Builder, text string) {
	line := "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > sampleWidth {
			b.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}
