package main

import (
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"

	"sluice/engine/config"
)

// secret prints a new secret, and nothing else, so that it can be redirected into a file.
func (a *app) secret(c *command, args []string) error {
	flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
	short := flags.Bool("base64", false, "")
	rest, err := a.parse(c, flags, args, "HOST")
	if err != nil {
		return err
	}
	s, err := config.NewSecret(rest[0], rand.Reader)
	switch {
	case errors.Is(err, config.ErrHostSyntax), errors.Is(err, config.ErrHostAddress):
		return usageError{text: err.Error(), hint: "give the name of a web site that has TLS 1.3, such as example.org"}
	case err != nil:
		return usageError{text: err.Error()}
	}
	text := s.Hex()
	if *short {
		text = s.Base64()
	}
	fmt.Fprintln(a.out, text)
	return nil
}

// check prints every setting with its value and where it came from.
func (a *app) check(c *command, args []string) error {
	if err := a.noArguments(c, args); err != nil {
		return err
	}
	cfg, err := config.Load(a.environ)
	if err != nil {
		return err
	}
	lines, width := cfg.Effective(), 0
	for _, line := range lines {
		width = max(width, len(line.Variable))
	}
	for _, line := range lines {
		fmt.Fprintf(a.out, "%-*s  %s  (%s)\n", width, line.Variable, line.Value, line.Source)
	}
	for _, w := range cfg.Warnings {
		a.complain("warning", w.Error(), w.Hint)
	}
	a.warnOfFiles(cfg)
	return nil
}

// release is set by the linker for a release or a build of a known commit.
var release string

// version prints one line.
func (a *app) version(c *command, args []string) error {
	if err := a.noArguments(c, args); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "sluice %s (%s, %s/%s)\n", versionText(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}

// versionText is what the linker was told, else what the go command recorded.
func versionText() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	return "devel"
}
