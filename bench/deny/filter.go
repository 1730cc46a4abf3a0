package deny

import (
	"golang.org/x/sys/unix"

	"sluice/bench/seccomp"
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

// program is the filter: the first rule that holds gives its error, and what no rule is about goes on to the kernel.
func program(rules []Rule) []unix.SockFilter {
	// A program of another architecture numbers its calls in another way, and is let alone.
	p := []unix.SockFilter{seccomp.Load(seccomp.Arch), seccomp.Equal(seccomp.ThisArch(), 1, 0), seccomp.Allow(), seccomp.Load(seccomp.Number)}
	for _, r := range rules {
		p = append(p, r.block()...)
	}
	return append(p, seccomp.Allow())
}

// block is a rule's part of the program. It is entered and left with the call's number loaded.
func (r Rule) block() []unix.SockFilter {
	rest := 2*len(r.Args) + 1 // what is left of the block, but for the last load
	b := []unix.SockFilter{seccomp.Equal(calls[r.Call], 0, rest)}
	for _, a := range r.Args {
		rest -= 2
		b = append(b, seccomp.Load(seccomp.Argument(a.Index)), seccomp.Equal(a.Value, 0, rest))
	}
	return append(b, seccomp.Refuse(r.Errno), seccomp.Load(seccomp.Number))
}
