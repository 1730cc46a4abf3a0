package leak

import (
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// leaks are what tests may leave behind, and a word of what is to be said of it.
var leaks = map[string]struct {
	leave func() error
	want  string // "" where it is to pass
}{
	"nothing": {func() error { return nil }, ""},
	"a file":  {func() (err error) { kept[0], err = os.Open(os.Args[0]); return err }, "leak.test"},
	"a pipe":  {func() (err error) { kept[0], kept[1], err = os.Pipe(); return err }, "pipe:["},
	"a socket": {func() (err error) {
		listening, err = net.Listen("tcp", "127.0.0.1:0")
		return err
	}, "socket:["},
	"a goroutine": {func() error { go sleeper(); return nil }, "leak.sleeper"},
	"a process": {func() error {
		c := exec.Command("sleep", "5")
		return c.Start()
	}, "(sleep) in state S"},
	"a process that nobody waits for": {func() error { return exec.Command("true").Start() }, "(true) in state Z"},
	"a goroutine that ends":           {func() error { go time.Sleep(300 * time.Millisecond); return nil }, ""},
	failure:                           {func() error { go sleeper(); return os.ErrInvalid }, "-"},
	"a file that is closed late": {func() error {
		f, err := os.Open(os.Args[0])
		time.AfterFunc(300*time.Millisecond, func() { _ = f.Close() })
		return err
	}, ""},
}

// What is left must not be closed by the collector.
var (
	kept      [2]*os.File
	listening net.Listener
)

func sleeper() { select {} }

const failure = "a goroutine by a test that fails"

// leaver is a testing.M whose tests leave something behind.
type leaver string

func (l leaver) Run() int {
	if err := leaks[string(l)].leave(); err != nil {
		return 3
	}
	return 0
}

func TestMain(m *testing.M) {
	if name := os.Getenv("LEAVE"); name != "" {
		patience := 15 * time.Second
		if leaks[name].want != "" {
			patience = 500 * time.Millisecond
		}
		os.Exit(checked{leaver(name), os.Stderr, patience}.Run())
	}
	os.Exit(Check(m).Run())
}

// Each kind of leak is caught and named, and what ends in its own time is none.
func TestLeaks(t *testing.T) {
	for name, leak := range leaks {
		if name == failure {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := exec.Command(os.Args[0])
			c.Env = append(os.Environ(), "LEAVE="+name)
			out, err := c.CombinedOutput()
			if leak.want == "" {
				if err != nil {
					t.Errorf("%v\n%s", err, out)
				}
				return
			}
			if c.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), leak.want) {
				t.Errorf("%v, want %q:\n%s", err, leak.want, out)
			}
		})
	}
}

// The status of tests that fail is theirs, whatever they leave.
func TestFailedTests(t *testing.T) {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "LEAVE="+failure)
	if out, err := c.CombinedOutput(); c.ProcessState.ExitCode() != 3 || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

// Every package with tests is watched, in this module and in bench/interop.
func TestEveryPackageIsWatched(t *testing.T) {
	tested, watched := map[string]bool{}, map[string]bool{}
	err := filepath.WalkDir("../..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		dir := filepath.Dir(path)
		if strings.Contains(string(b), "\nfunc Test") {
			tested[dir] = true
		}
		if strings.Contains(string(b), "leak.Check(m)") || dir == "../../bench/leak" {
			watched[dir] = true
		}
		return err
	})
	if err != nil || len(tested) < 20 {
		t.Fatalf("%d packages, %v", len(tested), err)
	}
	for dir := range tested {
		if !watched[dir] {
			t.Errorf("%s: nobody looks what its tests leave behind: TestMain has to call leak.Check(m).Run()", dir)
		}
	}
}
