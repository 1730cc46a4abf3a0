package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sluice/bench/stand"
)

// somebody is a user who may have 64 MiB of pipes (fs.pipe-user-pages-soft), as root may not be refused any.
const somebody = 64321

var pipeFaults = []fault{
	{
		name: "enfile-pipe", about: "ENFILE at pipe while stalled clients leave and their pipes are destroyed: relays copy, nobody is refused",
		box: supervisedBox, strike: refusing(unix.ENFILE, unix.SYS_PIPE2), meanwhile: churnPipes, after: pipesAgain,
	},
	{
		name: "pipe-budget", about: "another process of the same user takes the rest of the user's pipe budget, and stalled clients leave",
		box: func() *box { return &box{user: somebody} }, strike: hogPipes, meanwhile: churnPipes, after: pipesAgain,
	},
	{
		name: "pipe-budget-start", about: "the same before the proxy starts: it has no pipe at all, and copies",
		box: func() *box { return &box{user: somebody} },
		prepare: func(t *trial) (env, error) {
			release, err := hogPipes(t)
			if err == nil {
				t.atEnd(func() { _ = release() })
			}
			return nil, err
		},
		meanwhile: churnPipes,
		after: func(t *trial) error {
			n, err := t.proxy.SumMetric("sluice_pipes")
			if err == nil && n > 0 {
				err = fmt.Errorf("the proxy has %v pipes of a size worth having", n)
			}
			return err
		},
	},
}

// churnPipes has clients leave while their pipes hold bytes, which destroys the pipes, and others take megabytes, which wants new ones.
func churnPipes(t *trial) error {
	clients, none := int64(0), 0.0
	for end := time.Now().Add(patience); none == 0; {
		times, err := during(12, t.span(), func(i int) error {
			if i%2 == 1 {
				return t.takeMegabytes()
			}
			c, err := t.client(goodDC)
			if err != nil {
				return err
			}
			defer c.Close()
			return deaf(c)
		})
		clients += times
		if err != nil {
			return err
		}
		if none, err = t.proxy.Metric("sluice_pipe_exhausted_total"); err != nil {
			return err
		}
		if none == 0 && time.Now().After(end) {
			return errors.New("no burst was copied for want of a pipe")
		}
	}
	t.notef("%d clients; %v bursts copied for want of a pipe", clients, none)
	return nil
}

// pipesAgain wants large downloads to have the proxy make pipes again.
func pipesAgain(t *trial) error {
	before, err := t.proxy.SumMetric("sluice_pipes")
	if err != nil {
		return err
	}
	if _, err := during(12, t.span(), func(int) error { return t.takeMegabytes() }); err != nil {
		return err
	}
	after, err := t.proxy.SumMetric("sluice_pipes")
	t.notef("%v pipes when the fault ended, %v after some downloads", before, after)
	if err == nil && after <= before {
		err = errors.New("no pipe has been made again")
	}
	return err
}

// takeMegabytes is a client who downloads two of them.
func (t *trial) takeMegabytes() error {
	c, err := t.client(goodDC)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(stand.Request{Op: stand.Down, Size: 2 << 20, Seed: 8}.Bytes()); err != nil {
		return err
	}
	return stand.CheckStream(c, 8, 2<<20)
}

// hogPipes has a process of the proxy's user take all the pipe memory there is for the user.
func hogPipes(*trial) (func() error, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, childWord, "-user", fmt.Sprint(somebody), "-hog")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	release := func() error { return errors.Join(in.Close(), cmd.Wait()) }
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.HasPrefix(line, "full") {
		return release, fmt.Errorf("the pipes' hog said %q: %w", line, err)
	}
	return release, nil
}

// hog takes pipes until the kernel gives this user none of a size worth having, says so, and takes what others give back until its
// input ends.
func hog() error {
	if err := takePipes(); err != nil {
		return err
	}
	fmt.Println("full")
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	for {
		select {
		case <-ended:
			return nil
		case <-time.After(2 * time.Millisecond):
		}
		if err := takePipes(); err != nil {
			return err
		}
	}
}

func takePipes() error {
	for size := 1 << 20; size > 8<<10; { // which everybody gets, always
		var fds [2]int
		if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
			return err
		}
		got, err := unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, size)
		if err != nil || got < size {
			_, _ = unix.Close(fds[0]), unix.Close(fds[1])
			size /= 2
		}
	}
	return nil
}
