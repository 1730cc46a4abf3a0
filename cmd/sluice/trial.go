package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"sluice/engine/config"
	"sluice/engine/state"
)

// keptSecret is the secret of a trial. problem says why it will not be the same at the next start, if so.
type keptSecret struct {
	secret  config.Secret
	problem error
}

// trialName is the host of a trial's secret: the built-in page is nobody's web site.
const trialName = "localhost"

var errNoStateDir = errors.New("no directory for it is known")

// trialSecret returns the secret in dir, or makes one and keeps it there.
func trialSecret(dir string) keptSecret {
	if dir == "" {
		return madeSecret(errNoStateDir)
	}
	path := filepath.Join(dir, "secret")
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return madeSecret(err)
	default:
		s, err := config.ParseSecret(strings.TrimSpace(string(text)))
		if err != nil {
			return madeSecret(fmt.Errorf("%s: %w", path, err))
		}
		return keptSecret{secret: s}
	}
	kept := madeSecret(nil)
	kept.problem = state.Write(path, []byte(kept.secret.Hex()+"\n"))
	return kept
}

func madeSecret(problem error) keptSecret {
	s, err := config.NewSecret(trialName, rand.Reader)
	if err != nil {
		panic("sluice: the trial's own host name was refused: " + err.Error()) // rand.Reader never fails
	}
	return keptSecret{secret: s, problem: problem}
}
