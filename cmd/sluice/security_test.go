package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const securityPage = "../../docs/security.md"

// reviewed is a line of the page's table of modules.
type reviewed struct {
	why, licence, in, pulls string
}

func readReview(t *testing.T) map[string]reviewed {
	t.Helper()
	text, err := os.ReadFile(securityPage)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]reviewed{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 6 || !strings.HasPrefix(line, "| `") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		name := strings.Trim(cells[0], "`")
		if _, twice := found[name]; twice {
			t.Errorf("%s is there twice", name)
		}
		found[name] = reviewed{why: cells[1], licence: cells[2], in: cells[3], pulls: cells[5]}
	}
	return found
}

func goCommand(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = "../.."
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

// TestDependencies: the page names every module of go.mod and of the binary, and no other; says truly which are in the binary; and its
// licences are those in the modules' own files.
func TestDependencies(t *testing.T) {
	review := readReview(t)
	var file struct {
		Require []struct{ Path, Version string }
	}
	if err := json.Unmarshal([]byte(goCommand(t, "mod", "edit", "-json")), &file); err != nil {
		t.Fatal(err)
	}
	known := map[string]string{}
	for _, m := range file.Require {
		known[m.Path] = "no"
	}
	for path := range strings.FieldsSeq(goCommand(t, "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}", "./cmd/sluice")) {
		known[path] = "yes"
	}
	if len(known) < 10 {
		t.Fatalf("only %d modules", len(known))
	}
	for path, in := range known {
		r, ok := review[path]
		switch {
		case !ok:
			t.Errorf("%s has no line in %s", path, securityPage)
		case r.in != in:
			t.Errorf("%s: in the binary: %s, the page says %s", path, in, r.in)
		case r.why == "" || r.pulls == "":
			t.Errorf("%s: a column is empty", path)
		}
	}
	for path := range review {
		if _, ok := known[path]; !ok {
			t.Errorf("%s has a line in %s, and nothing uses it", path, securityPage)
		}
	}
	checkLicences(t, review)
}

// licenceTexts are words of the licences that may be in the binary without more than their text going with it.
var licenceTexts = map[string]string{
	"Apache-2.0":   "Apache License Version 2.0",
	"MIT":          "Permission is hereby granted, free of charge, to any person obtaining a copy",
	"BSD-3-Clause": "Neither the name of",
}

func checkLicences(t *testing.T, review map[string]reviewed) {
	t.Helper()
	for line := range strings.Lines(goCommand(t, "list", "-m", "-f", "{{.Path}}\t{{.Dir}}", "all")) {
		path, dir, _ := strings.Cut(strings.TrimSpace(line), "\t")
		r, ok := review[path]
		if !ok || path == "sluice" {
			continue
		}
		files, _ := filepath.Glob(filepath.Join(dir, "LICENSE*"))
		if len(files) == 0 {
			t.Errorf("%s: no licence in %q", path, dir)
			continue
		}
		text, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		words, known := licenceTexts[r.licence]
		if flat := strings.Join(strings.Fields(string(text)), " "); !known || !strings.Contains(strings.ReplaceAll(flat, "License, Version", "License Version"), words) {
			t.Errorf("%s: its file is not the licence %q", path, r.licence)
		}
	}
}

// TestPageNamesTests: each test that the page of promises points to is there.
func TestPageNamesTests(t *testing.T) {
	text, err := os.ReadFile(securityPage)
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9]+)\(`)
	err = filepath.WalkDir("../..", func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range function.FindAllSubmatch(source, -1) {
			there[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z][A-Za-z0-9]+`).FindAllString(string(text), -1)
	if len(named) < 40 {
		t.Errorf("only %d tests are named", len(named))
	}
	for _, name := range named {
		if !there[name] {
			t.Errorf("%s is named, and is not there", name)
		}
	}
}
