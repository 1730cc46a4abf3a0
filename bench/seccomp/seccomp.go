// Package seccomp holds the words that filters of system calls are written in (seccomp(2)), and puts them on. The tests' filters are made of them:
// the list that the proxy is to keep to (bench/sandbox), kernels that lack something (bench/deny), and questions for a supervisor (bench/torture).
package seccomp

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Where things lie in struct seccomp_data.
const (
	Number = 0
	Arch   = 4
)

// Argument is where a call's i-th argument lies, counted from 0: its lower half, for both architectures that we build for are little-endian.
func Argument(i int) uint32 { return 16 + 8*uint32(i) }

// ThisArch is what [Arch] holds for a program that is built like this one.
func ThisArch() uint32 {
	return map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}[runtime.GOARCH]
}

// Load takes what lies at an offset.
func Load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

// Equal compares what was loaded with value, and skips so many instructions if it is equal, or else. It panics where a jump is longer than the
// kernel has them.
func Equal(value uint32, yes, no int) unix.SockFilter {
	if max(yes, no) > math.MaxUint8 || min(yes, no) < 0 {
		panic(fmt.Sprintf("seccomp: jumps of %d and %d instructions", yes, no))
	}
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: uint8(yes), Jf: uint8(no), K: value}
}

// End says what becomes of the call: one of unix.SECCOMP_RET_*.
func End(action uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
}

// Allow has the call go on to the kernel.
func Allow() unix.SockFilter { return End(unix.SECCOMP_RET_ALLOW) }

// Refuse answers the call with an error.
func Refuse(e unix.Errno) unix.SockFilter { return End(unix.SECCOMP_RET_ERRNO | uint32(e)) }

// Install puts a filter on the calling thread, for good. With unix.SECCOMP_FILTER_FLAG_NEW_LISTENER among the flags the result is a descriptor, of which
// the caller is the owner.
func Install(program []unix.SockFilter, flags uintptr) (int, error) {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return -1, os.NewSyscallError("prctl", err)
	}
	p := unix.SockFprog{Len: uint16(len(program)), Filter: unsafe.SliceData(program)}
	fd, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&p)))
	runtime.KeepAlive(program)
	if e != 0 {
		return -1, os.NewSyscallError("seccomp", e)
	}
	return int(fd), nil
}

// Exec becomes argv under a filter. argv[0] is looked for in PATH. It returns only when it failed.
func Exec(program []unix.SockFilter, argv []string) error {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	runtime.LockOSThread() // a filter is a thread's, and an exec keeps the one of the thread that calls it
	if _, err := Install(program, 0); err != nil {
		return err
	}
	return &os.PathError{Op: "exec", Path: path, Err: unix.Exec(path, argv, os.Environ())}
}
