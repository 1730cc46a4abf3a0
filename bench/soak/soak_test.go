package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/bench/leak"
)

// binary is the proxy, built once from this tree.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "soak-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "sluice")
	build := exec.Command("go", "build", "-o", binary, "sluice/cmd/sluice")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "the proxy does not build: %v\n%s", err, out)
		return 1
	}
	return leak.Check(m).Run()
}

// ofSpeed are the rules that so short a run may break only because the machine is slow, and the one of memory, of which it says nothing.
var ofSpeed = []string{"resident memory did not grow", "the load was there", "it was looked at all the time"}

// shortRun is a soak of seconds; during, if set, has its own way with it. It returns the rules that broke, but for those of speed.
func shortRun(t *testing.T, during func(*soak)) (names []string, dir string) {
	t.Helper()
	o := options{binary: binary, out: t.TempDir(), time: 8 * time.Second, every: 200 * time.Millisecond, seed: rand.Uint64(), rate: 8}
	t.Logf("seed %d", o.seed)
	s, err := newSoak(o)
	defer s.rig.close()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if during != nil {
		go func() {
			<-s.loading
			if sleep(ctx, o.time/2) {
				during(s)
			}
		}()
	}
	r, err := s.run(ctx, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.save(r); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	if _, err := writeReport(o.out, &said); err != nil {
		t.Fatal(err)
	}
	t.Log(said.String())
	r, samples, err := readRecord(o.out)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(broken(judge(r, samples)), func(n string) bool { return slices.Contains(ofSpeed, n) }), o.out
}

func TestShortSoak(t *testing.T) {
	t.Parallel()
	names, dir := shortRun(t, nil)
	if len(names) > 0 {
		t.Errorf("broken: %q", names)
	}
	if r, _, err := readRecord(dir); err != nil || len(r.Faults) < len(injectors)/2 {
		t.Errorf("%d faults were made, %v", len(r.Faults), err)
	}
	for _, name := range append([]string{summaryFile, recordFile, samplesFile}, chartOrder...) {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Size() < 100 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Sessions that end while nothing is at fault that they have to do with are told from those that may.
func TestSoakNoticesLostSessions(t *testing.T) {
	t.Parallel()
	names, _ := shortRun(t, func(s *soak) { s.rig.steady.Sever() })
	if want := "no connection ended without a fault that explains it"; !slices.Contains(names, want) {
		t.Errorf("broken: %q", names)
	}
}

// So is the end of the proxy itself.
func TestSoakNoticesACrash(t *testing.T) {
	t.Parallel()
	names, _ := shortRun(t, func(s *soak) { _ = s.rig.proxy.Signal(syscall.SIGKILL) })
	for _, want := range []string{
		"no connection ended without a fault that explains it", "nothing was left when the load was over", "the proxy ended in good order",
		"all worked again soon after every fault",
	} {
		if !slices.Contains(names, want) {
			t.Errorf("broken: %q, and not %q", names, want)
		}
	}
}

// A run that is interrupted ends in good order, and is not taken for one that held.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	dir := t.TempDir()
	var said strings.Builder
	begun := writerFunc(func(b []byte) (int, error) { // the first it says is that it is warm
		time.AfterFunc(2*time.Second, cancel)
		return said.Write(b)
	})
	err := command(ctx, []string{"-sluice", binary, "-time", "10m", "-every", "200ms", "-out", dir}, begun)
	if err != errNotHeld || !strings.Contains(said.String(), "BROKEN the load was there") {
		t.Fatalf("%v\n%s", err, said.String())
	}
	if strings.Contains(said.String(), "BROKEN no connection") {
		t.Error(said.String())
	}
	said.Reset()
	if err := command(t.Context(), []string{"-report", dir}, &said); err != errNotHeld || !strings.Contains(said.String(), "BROKEN") {
		t.Errorf("the report of it: %v\n%s", err, said.String())
	}
}

type writerFunc func(b []byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestBadCommands(t *testing.T) {
	for _, args := range [][]string{
		{"-time", "4s"},
		{"-time", "49h"},
		{"-every", "50ms"},
		{"-time", "10s", "-every", "2s"},
		{"-rate", "0"},
		{"-rate", "51"},
		{"more"},
		{"-report", "/nowhere"},
		{"-sluice", "/nowhere", "-out", t.TempDir()},
	} {
		if err := command(t.Context(), args, io.Discard); err == nil {
			t.Errorf("%q: taken", args)
		}
	}
}
