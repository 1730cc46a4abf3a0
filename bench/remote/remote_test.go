package remote

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/bench/leak"
)

// TestMain makes this test binary the process that the tests start.
func TestMain(m *testing.M) {
	if os.Getenv("REMOTE_CHILD") != "" {
		if err := serve(); err != nil {
			os.Exit(3)
		}
		os.Exit(0)
	}
	os.Exit(leak.Check(m).Run())
}

// serve answers "double" at once, keeps "later" until "now" comes, fails "fail", and dies of "die".
func serve() error {
	calls, err := Serve(os.Stdin, os.Stdout)
	if err != nil {
		return err
	}
	var kept *Call
	for {
		p := []unix.PollFd{{Fd: int32(calls.FD()), Events: unix.POLLIN}}
		if _, err := unix.Poll(p, -1); err != nil && err != unix.EINTR {
			return err
		}
		list, ended := calls.Take()
		for _, c := range list {
			switch c.Name {
			case "double":
				c.Reply(string(c.Args) + string(c.Args))
			case "later":
				kept = c
			case "now":
				if kept == nil {
					c.Fail(errors.New("nothing is kept"))
					continue
				}
				kept.Reply("at last")
				c.Reply(nil)
			case "fail":
				c.Fail(errors.New("as asked"))
			case "die":
				return errors.New("dying")
			}
		}
		if ended {
			return nil
		}
	}
}

func start(t *testing.T) *Process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "REMOTE_CHILD=1")
	p, err := Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

const limit = 20 * time.Second

func TestCalls(t *testing.T) {
	p := start(t)
	var got string
	if err := p.Call("double", 21, &got, limit); err != nil || got != "2121" {
		t.Errorf("%q, %v", got, err)
	}
	answer := make(chan error, 1)
	var late string
	go func() { answer <- p.Call("later", nil, &late, limit) }()
	if err := p.Call("fail", nil, nil, limit); err == nil || !strings.Contains(err.Error(), "as asked") {
		t.Errorf("fail: %v", err)
	}
	if err := p.Call("silence", nil, nil, 10*time.Millisecond); err == nil || !strings.Contains(err.Error(), "no answer") {
		t.Errorf("silence: %v", err)
	}
	// "later" may reach the process after "now", which then fails.
	err := p.Call("now", nil, nil, limit)
	for end := time.Now().Add(limit); err != nil && time.Now().Before(end); {
		err = p.Call("now", nil, nil, limit)
	}
	if err != nil {
		t.Errorf("now: %v", err)
	}
	if err := <-answer; err != nil || late != "at last" {
		t.Errorf("later: %q, %v", late, err)
	}
}

func TestEnd(t *testing.T) {
	p := start(t)
	if err := p.Call("die", nil, nil, limit); err == nil {
		t.Error("a dead process answered")
	}
	if err := p.Call("double", 1, nil, limit); err == nil {
		t.Error("and again")
	}
}

// TestStop: the end of its input is the process's end.
func TestStop(t *testing.T) {
	p := start(t)
	p.Stop()
	select {
	case <-p.exited:
	default:
		t.Fatal("still there")
	}
	if p.err != nil {
		t.Errorf("it did not end by itself: %v", p.err)
	}
}
