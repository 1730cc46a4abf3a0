package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// insideVariable tells the program that it is in namespaces of its own already.
const insideVariable = "TORTURE_INSIDE"

// init keeps the first goroutine on the first thread: the death signal of a child is bound to the thread that started it, and a child
// that becomes the proxy must do so on the thread whose number is the process's.
func init() { runtime.LockOSThread() }

// apart runs f in a network and a mount namespace of their own, in a second process, and returns its exit status: there faults
// of the network and of the file system touch nobody else, and nothing of them outlives the process.
func apart(f func() error) (status int, err error) {
	if os.Getenv(insideVariable) != "" {
		if err := settle(); err != nil {
			return 1, err
		}
		return 0, f()
	}
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return max(exit.ExitCode(), 1), nil
	case err != nil:
		return 1, fmt.Errorf("namespaces of our own (needs root): %w", err)
	}
	return 0, nil
}

// settle makes the new namespaces usable: loopback is up, and no mount of ours is seen outside.
func settle() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	return command("ip link set lo up")
}

// command runs programs, each given as one line.
func command(lines ...string) error {
	for _, line := range lines {
		words := strings.Fields(line)
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", line, err, out)
		}
	}
	return nil
}

// setting writes a sysctl of our network namespace and returns what puts it back.
func setting(name, value string) (restore func() error, err error) {
	path := "/proc/sys/" + name
	old, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return func() error { return os.WriteFile(path, old, 0) }, os.WriteFile(path, []byte(value), 0)
}
