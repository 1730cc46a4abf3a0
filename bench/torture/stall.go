package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

var stallFaults = []fault{
	{
		name: "stall-relay", about: "the thread of one relay loop stands still: the watchdog says so, and the other loops' sessions go on",
		hurts: victims{all: true}, partly: true, prepare: withManager, strike: stall("relay"),
	},
	{
		name: "stall-accept", about: "the thread of one accepting loop stands still; no session is on it",
		hurts: victims{clients: true, strangers: true}, partly: true, prepare: withManager, strike: stall("accept"),
	},
}

// manager is a service manager that counts what the proxy tells it.
type manager struct{ beats atomic.Int64 }

// withManager has the proxy tell a service manager that it is well.
func withManager(t *trial) (env, error) {
	path := t.dir + "/notify"
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	t.atEnd(func() { _ = c.Close() })
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			if strings.Contains(string(b[:n]), "WATCHDOG=1") {
				t.manager.beats.Add(1)
			}
		}
	}()
	return env{"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "2000000"}, nil
}

// stall stops one thread of the proxy where its loop waits for events, and wants the watchdog to notice.
func stall(kind string) func(*trial) (func() error, error) {
	return func(t *trial) (func() error, error) {
		release, err := stopLoop(t, kind)
		if err != nil {
			return nil, err
		}
		t.load.mark()
		if err := t.awaitPage("/healthz", kind); err != nil {
			return release, err
		}
		moved, beats := t.load.moved(), t.manager.beats.Load()
		if moved == 0 {
			return release, errors.New("no session at all went on")
		}
		if n, err := t.proxy.SumMetric("sluice_loop_stalled"); err != nil || n != 1 {
			return release, fmt.Errorf("%v loops are said to stand still, not one: %w", n, err)
		}
		time.Sleep(2500 * time.Millisecond) // in which the service manager would have heard twice
		if n := t.manager.beats.Load(); n > beats {
			return release, errors.New("the service manager was told that all is well")
		}
		return func() error {
			t.notef("%d of %d sessions went on meanwhile", moved, len(t.load.sessions))
			release()
			return errors.Join(t.awaitPage("/healthz", ""), t.awaitBeat(beats))
		}, nil
	}
}

// awaitPage waits until a page is refused with a word, or with none until it is as it should be.
func (t *trial) awaitPage(page, word string) error {
	deadline := time.Now().Add(patience)
	for {
		_, err := t.proxy.Page(page)
		if err == nil && word == "" || err != nil && word != "" && strings.Contains(err.Error(), word) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not say %q: %w", page, word, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (t *trial) awaitBeat(after int64) error {
	deadline := time.Now().Add(patience)
	for t.manager.beats.Load() == after {
		if time.Now().After(deadline) {
			return errors.New("the service manager is not told that all is well again")
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

// stopLoop stops the thread of a loop of that kind in the midst of waiting for events. Elsewhere it might hold what other threads
// need, which is not the fault that is meant.
func stopLoop(t *trial, kind string) (release func() error, err error) {
	stopped, leave, left := make(chan error), make(chan struct{}), make(chan error)
	go func() {
		runtime.LockOSThread() // the tracer is a thread; it ends with this goroutine
		tid, err := seizeWaiting(t, kind)
		stopped <- err
		if err != nil {
			return
		}
		<-leave
		left <- unix.PtraceDetach(tid)
	}()
	if err := <-stopped; err != nil {
		return nil, err
	}
	done := false
	return func() error {
		if done {
			return nil
		}
		done = true
		close(leave)
		return <-left
	}, nil
}

func seizeWaiting(t *trial, kind string) (int, error) {
	pid := t.proxy.PID()
	epoll, err := loopEpoll(pid, int(t.addr.Port()), kind)
	if err != nil {
		return 0, err
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		tid := waitingOn(pid, epoll)
		if tid == 0 || unix.PtraceSeize(tid) != nil {
			continue
		}
		var status unix.WaitStatus
		if unix.PtraceInterrupt(tid) == nil {
			_, err = unix.Wait4(tid, &status, unix.WALL, nil)
		}
		if err == nil && status.Stopped() && waitingOn(pid, epoll) == tid {
			return tid, nil
		}
		_ = unix.PtraceDetach(tid)
	}
	return 0, errors.New("no thread of that loop was found waiting")
}

// waitingOn is the thread whose system call has this epoll as its first argument; 0 is none.
func waitingOn(pid, epoll int) int {
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, task := range tasks {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/syscall", pid, task.Name()))
		if f := strings.Fields(string(b)); len(f) > 2 && f[1] == "0x"+strconv.FormatInt(int64(epoll), 16) {
			tid, _ := strconv.Atoi(task.Name())
			return tid
		}
	}
	return 0
}

// loopEpoll finds a loop by what it waits for: an accepting one by the listener, a relay one by its many sockets.
func loopEpoll(pid, port int, kind string) (int, error) {
	listeners, err := listeningInodes(pid, port)
	if err != nil {
		return 0, err
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return 0, err
	}
	best, most := 0, 0
	for _, e := range fds {
		fd, _ := strconv.Atoi(e.Name())
		if target, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd)); target != "anon_inode:[eventpoll]" {
			continue
		}
		watched := watchedBy(pid, fd)
		accepts := false
		for _, w := range watched {
			accepts = accepts || listeners[w]
		}
		if accepts == (kind == "accept") && len(watched) > most {
			best, most = fd, len(watched)
		}
	}
	if most == 0 {
		return 0, fmt.Errorf("no %s loop was found", kind)
	}
	return best, nil
}

// watchedBy are the files that an epoll watches, as /proc names them.
func watchedBy(pid, epoll int) (all []string) {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", pid, epoll))
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "tfd:" {
			target, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, f[1]))
			all = append(all, target)
		}
	}
	return all
}

// listeningInodes are the sockets of a process's network that listen on a port, as /proc names them.
func listeningInodes(pid, port int) (map[string]bool, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", pid))
	if err != nil {
		return nil, err
	}
	const listening, state, inode = "0A", 3, 9 // proc_net_tcp.txt
	found := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) > inode && f[state] == listening && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
			found["socket:["+f[inode]+"]"] = true
		}
	}
	return found, nil
}
