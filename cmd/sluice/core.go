package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// forbidCores keeps this process's memory, in which there are keys, out of core dumps. The limit stops files. The kernel does not
// hold a program that core_pattern pipes dumps to by the limit (core(5)), so the filter leaves nothing worth having in one: no memory
// but the vdso. Children inherit both. PR_SET_DUMPABLE would do it too, but takes /proc/PID away from its own user as well.
func forbidCores() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return os.NewSyscallError("setrlimit", err)
	}
	// A kernel without core dumps has no filter either.
	err := os.WriteFile("/proc/self/coredump_filter", []byte("0"), 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("filter core dumps: %w", err)
	}
	return nil
}
