package config

import "strings"

// Problem is one thing that is wrong with one variable.
type Problem struct {
	Variable string // the name as the operator wrote it
	Text     string // what is wrong: lower case, no full stop, never a secret value
	Hint     string // what to do about it; may be empty
}

// Error is the problem on one line, without its hint.
func (p Problem) Error() string { return p.Variable + ": " + p.Text }

// Problems is every problem of a configuration, in the order of the reference page. Load returns it as its error.
type Problems []Problem

// Error is one line for each problem and each hint.
func (ps Problems) Error() string {
	var b strings.Builder
	for i, p := range ps {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.Error())
		if p.Hint != "" {
			b.WriteString("\n  " + p.Hint)
		}
	}
	return b.String()
}
