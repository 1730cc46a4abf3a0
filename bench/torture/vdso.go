package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// withoutVDSO has the program that process pid is about to become not find the vDSO, so that it asks the kernel for the time of day,
// where the answer can be another. The process waits for a word before it executes the program: release says it.
func withoutVDSO(pid int, release func() error) error {
	runtime.LockOSThread() // the tracer is a thread
	defer runtime.UnlockOSThread()
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(pid), 0, unix.PTRACE_O_TRACEEXEC, 0, 0); errno != 0 {
		return fmt.Errorf("seize: %w", errno)
	}
	defer func() { _ = unix.PtraceDetach(pid) }()
	if err := release(); err != nil {
		return err
	}
	for {
		var status unix.WaitStatus
		if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err != nil {
			return fmt.Errorf("wait: %w", err)
		}
		switch {
		case status.Exited() || status.Signaled():
			return fmt.Errorf("the process has ended: %#x", status)
		case status.TrapCause() == unix.PTRACE_EVENT_EXEC:
			return hideVDSO(pid)
		case status.Stopped(): // a signal on its way
			_ = unix.PtraceCont(pid, int(status.StopSignal()))
		}
	}
}

const (
	auxNull   = 0
	auxIgnore = 1
	auxVDSO   = 33 // AT_SYSINFO_EHDR
)

// hideVDSO changes the auxiliary vector on the stack of a program that has not begun yet.
func hideVDSO(pid int) error {
	at, err := stackStart(pid)
	if err != nil {
		return err
	}
	m, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer m.Close()
	word := func() (uint64, error) {
		var b [8]byte
		_, err := m.ReadAt(b[:], at)
		at += 8
		return binary.NativeEndian.Uint64(b[:]), err
	}
	arguments, err := word()
	if err != nil {
		return err
	}
	at += 8 * int64(arguments+1)
	for v := uint64(1); v != 0; { // the environment
		if v, err = word(); err != nil {
			return err
		}
	}
	for {
		kind, err := word()
		switch {
		case err != nil:
			return err
		case kind == auxNull:
			return nil // there is none
		case kind == auxVDSO:
			_, err := m.WriteAt(binary.NativeEndian.AppendUint64(nil, auxIgnore), at-8)
			return err
		}
		at += 8
	}
}

// stackStart is where the arguments of a process begin: the count, the pointers, the environment, the auxiliary vector.
func stackStart(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	const startStack = 28 // proc(5)
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	return strconv.ParseInt(fields[startStack-3], 10, 64)
}
