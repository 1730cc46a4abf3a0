package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
)

// maxFile bounds what an X_FILE variable may read: thousands of secrets, and not a device.
const maxFile = 1 << 20

// confidential are the variables whose values nobody else should read.
var confidential = map[string]bool{Prefix + "SECRET": true, Prefix + "ADMIN_TOKEN": true}

// input is the values of one Load, where they came from, and what was wrong with them.
type input struct {
	values   map[string]string // by variable
	sources  map[string]string // by variable, for those that were set
	problems Problems
	warnings Problems
}

// gather resolves X_FILE variables and finds unknown names.
func gather(own map[string]string) *input {
	in := &input{values: map[string]string{}, sources: map[string]string{}}
	for _, s := range settings {
		in.take(own, Prefix+s.name)
	}
	for name, value := range own {
		if !fromKubernetes(name, value) {
			in.problem(name, "is not a setting", suggestion(name))
		}
	}
	return in
}

// take moves the variable name, or what its file holds, out of own.
func (in *input) take(own map[string]string, name string) {
	value, set := own[name]
	file, fileSet := own[name+"_FILE"]
	delete(own, name)
	delete(own, name+"_FILE")
	switch {
	case set && fileSet:
		in.problem(name, "is given twice, also as "+name+"_FILE", "keep one of the two")
	case set:
		in.values[name], in.sources[name] = value, "environment"
	case fileSet:
		text, err := in.readFile(name, file)
		if err != nil {
			in.problem(name+"_FILE", err.Error(), "")
			return
		}
		in.values[name], in.sources[name] = text, "file "+file
	}
}

// readFile reads a value, less one newline at its end. An empty one is an error: taken for "not set", a secret that failed
// to be mounted would quietly start a trial.
func (in *input) readFile(name, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fileFault(path, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return "", fileFault(path, err)
	case len(b) > maxFile:
		return "", fmt.Errorf("file is larger than %d bytes", maxFile)
	case strings.TrimSpace(string(b)) == "":
		return "", errors.New("file is empty")
	}
	if info, err := f.Stat(); err == nil && confidential[name] && info.Mode().Perm()&0o044 != 0 {
		in.warn(name+"_FILE", "file can be read by others than its owner", "")
	}
	text := strings.TrimSuffix(string(b), "\n")
	return strings.TrimSuffix(text, "\r"), nil
}

// fileFault leaves out the path that package os puts into its errors: a secret in the wrong variable is no path.
func fileFault(path string, err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return fmt.Errorf("cannot read %s: %w", quoteFile(path), err)
}

func quoteFile(path string) string {
	if strings.HasPrefix(path, "/") {
		return path
	}
	return quote(path)
}

func (in *input) problem(variable, text, hint string) {
	in.problems = append(in.problems, Problem{Variable: variable, Text: text, Hint: hint})
}

func (in *input) warn(variable, text, hint string) {
	in.warnings = append(in.warnings, Problem{Variable: variable, Text: text, Hint: hint})
}

// sorted orders the problems as the reference page does, unknown names last.
func (in *input) sorted() Problems {
	slices.SortStableFunc(in.problems, func(a, b Problem) int {
		if x, y := rank(a.Variable), rank(b.Variable); x != y {
			return x - y
		}
		return strings.Compare(a.Variable, b.Variable)
	})
	return in.problems
}

func rank(variable string) int {
	for i, s := range settings {
		if variable == Prefix+s.name || variable == Prefix+s.name+"_FILE" {
			return i
		}
	}
	return len(settings)
}

func (in *input) lines(c *Config) []Line {
	lines := make([]Line, len(settings))
	for i, s := range settings {
		source, set := in.sources[Prefix+s.name]
		if !set {
			source = "default"
		}
		lines[i] = Line{Variable: Prefix + s.name, Value: s.show(c), Default: !set, Source: source}
	}
	return lines
}

// A pod in the namespace of a Kubernetes service named sluice, or sluice-something, gets variables such as
// SLUICE_SERVICE_HOST and SLUICE_PORT=tcp://10.0.0.1:443 without anybody having asked for them.
var serviceVariable = regexp.MustCompile(
	`^SLUICE_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

func fromKubernetes(name, value string) bool {
	if serviceVariable.MatchString(name) {
		return true
	}
	return strings.HasSuffix(name, "_PORT") && (strings.HasPrefix(value, "tcp://") || strings.HasPrefix(value, "udp://"))
}
