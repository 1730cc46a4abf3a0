package sandbox

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Where things lie in struct seccomp_data.
const (
	atNumber = 0
	atArch   = 4
)

// program is the filter: what is on the list goes on to the kernel, all else gets the verdict. The x32 calls of amd64 have a bit
// in their numbers that none on the list has.
func program(verdict uint32) []unix.SockFilter {
	var numbers []uint32
	for _, g := range Groups {
		for _, c := range g.Calls {
			if c.Number != absent {
				numbers = append(numbers, uint32(c.Number))
			}
		}
	}
	n := len(numbers)
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	end := func(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }
	p := []unix.SockFilter{
		load(atArch),
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: uint8(n + 1), K: auditArch}, // else to the verdict
		load(atNumber),
	}
	for i, number := range numbers {
		p = append(p, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: uint8(n - i), K: number})
	}
	return append(p, end(verdict), end(unix.SECCOMP_RET_ALLOW))
}

// install puts the filter on the calling thread, for good.
func install(verdict uint32) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	f := program(verdict)
	if len(f) > 250 {
		return fmt.Errorf("%d instructions: a jump is not long enough for that", len(f))
	}
	p := unix.SockFprog{Len: uint16(len(f)), Filter: unsafe.SliceData(f)}
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&p)))
	runtime.KeepAlive(f)
	if e != 0 {
		return os.NewSyscallError("seccomp", e)
	}
	return nil
}
