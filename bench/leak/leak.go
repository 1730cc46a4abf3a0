// Package leak fails a test binary that leaves something behind: a descriptor (a pipe and a socket are two of them), a goroutine, or a child
// process. Every package of this module has it in its TestMain:
//
//	func TestMain(m *testing.M) { os.Exit(leak.Check(m).Run()) }
package leak

import (
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"
)

// Runner is a testing.M, as far as it matters here.
type Runner interface{ Run() int }

// Check is m with an account of what it leaves behind.
func Check(m Runner) Runner { return checked{m, os.Stderr, 15 * time.Second} }

type checked struct {
	tests    Runner
	out      io.Writer
	patience time.Duration // for what ends in its own time
}

// Run runs the tests and returns their exit status; if all of them pass and something is left of them that does not go away, 1.
func (c checked) Run() int {
	startPoller()
	before := look()
	code := c.tests.Run()
	if code != 0 {
		return code // what a failed test leaves says nothing
	}
	end := time.Now().Add(c.patience)
	for {
		left := look().since(before)
		if len(left) == 0 {
			return 0
		}
		if time.Now().After(end) {
			fmt.Fprintf(c.out, "FAIL: the tests leave behind:\n%s\n", strings.Join(left, "\n"))
			return 1
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// startPoller has the runtime make the descriptors that it keeps.
func startPoller() {
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		_ = ln.Close()
	}
}

// account is what a process has at one moment, each thing by a name that it keeps, with what to print of it.
type account map[string]string

func look() account {
	a := account{}
	a.addDescriptors()
	a.addGoroutines()
	a.addChildren()
	return a
}

// since lists what a has and before had not.
func (a account) since(before account) (left []string) {
	for key, text := range a {
		if _, had := before[key]; !had {
			left = append(left, text)
		}
	}
	slices.Sort(left)
	return left
}
