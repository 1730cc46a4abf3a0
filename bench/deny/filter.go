package deny

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// calls are those that rules may name. Only such are here as every architecture we build for has.
var calls = map[string]uint32{
	"accept4":           unix.SYS_ACCEPT4,
	"bpf":               unix.SYS_BPF,
	"capget":            unix.SYS_CAPGET,
	"close_range":       unix.SYS_CLOSE_RANGE,
	"connect":           unix.SYS_CONNECT,
	"epoll_create1":     unix.SYS_EPOLL_CREATE1,
	"epoll_pwait2":      unix.SYS_EPOLL_PWAIT2,
	"eventfd2":          unix.SYS_EVENTFD2,
	"fcntl":             unix.SYS_FCNTL,
	"getrandom":         unix.SYS_GETRANDOM,
	"getrlimit":         unix.SYS_GETRLIMIT,
	"getsockopt":        unix.SYS_GETSOCKOPT,
	"io_uring_setup":    unix.SYS_IO_URING_SETUP,
	"ioctl":             unix.SYS_IOCTL,
	"membarrier":        unix.SYS_MEMBARRIER,
	"pidfd_open":        unix.SYS_PIDFD_OPEN,
	"pidfd_send_signal": unix.SYS_PIDFD_SEND_SIGNAL,
	"pipe2":             unix.SYS_PIPE2,
	"prlimit64":         unix.SYS_PRLIMIT64,
	"sched_getaffinity": unix.SYS_SCHED_GETAFFINITY,
	"sendfile":          unix.SYS_SENDFILE,
	"setrlimit":         unix.SYS_SETRLIMIT,
	"setsockopt":        unix.SYS_SETSOCKOPT,
	"socket":            unix.SYS_SOCKET,
	"splice":            unix.SYS_SPLICE,
	"statx":             unix.SYS_STATX,
	"tee":               unix.SYS_TEE,
	"waitid":            unix.SYS_WAITID,
}

// Where things lie in struct seccomp_data. The lower half of an argument comes first: both architectures are little-endian.
const (
	atNumber = 0
	atArch   = 4
	atArgs   = 16
	argSize  = 8
)

var arches = map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}

// program is the filter: the first rule that holds gives its error, and what no rule is about goes on to the kernel.
func program(rules []Rule) []unix.SockFilter {
	allow := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}
	// A program of another architecture numbers its calls in another way, and is let alone.
	p := []unix.SockFilter{load(atArch), equal(arches[runtime.GOARCH], 1, 0), allow, load(atNumber)}
	for _, r := range rules {
		p = append(p, r.block()...)
	}
	return append(p, allow)
}

// block is a rule's part of the program. It is entered and left with the call's number loaded.
func (r Rule) block() []unix.SockFilter {
	denial := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(r.Errno)}
	rest := 2*len(r.Args) + 1 // what is left of the block, but for the last load
	b := []unix.SockFilter{equal(calls[r.Call], 0, rest)}
	for _, a := range r.Args {
		rest -= 2
		b = append(b, load(uint32(atArgs+argSize*a.Index)), equal(a.Value, 0, rest))
	}
	return append(b, denial, load(atNumber))
}

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

// equal compares what was loaded with value, and skips so many instructions if it is equal, or else.
func equal(value uint32, yes, no int) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: uint8(yes), Jf: uint8(no), K: value}
}
