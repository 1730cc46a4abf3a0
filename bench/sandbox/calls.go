// Package sandbox is the list of system calls that the proxy may make, what is made of it for operators, and a way to run a program
// under it. The list is what strace counted in runs of the whole proxy (SLUICE_TRACE in bench/e2e), and what else is known to be called in
// places where no run comes by; those say where. packaging/seccomp.txt, packaging/seccomp.json and the SystemCallFilter= of
// packaging/sluice.service are written from it (go test ./bench/sandbox -update).
package sandbox

import "golang.org/x/sys/unix"

// Call is a system call that the proxy may make.
type Call struct {
	Name   string // the kernel's, as seccomp profiles have it
	Number int32  // on this architecture; absent where it has no such call
	Why    string // who makes it and, of those that no run has shown, when
}

// absent is the number of a call that this architecture does not have.
const absent = -1

// Group is calls that belong together.
type Group struct {
	Title string
	Calls []Call
}

const seen = ""

// Groups is the list. Calls without a reason of their own were seen in the tests' runs.
var Groups = []Group{
	{"Go's runtime: memory, threads, time", []Call{
		{"clock_gettime", unix.SYS_CLOCK_GETTIME, seen},
		{"clone", unix.SYS_CLONE, seen},
		{"exit", unix.SYS_EXIT, "a thread ends: strace does not count it"},
		{"exit_group", unix.SYS_EXIT_GROUP, "the process ends: strace does not count it"},
		{"futex", unix.SYS_FUTEX, seen},
		{"getpid", unix.SYS_GETPID, seen},
		{"getrandom", unix.SYS_GETRANDOM, seen},
		{"gettid", unix.SYS_GETTID, seen},
		{"madvise", unix.SYS_MADVISE, seen},
		{"mmap", unix.SYS_MMAP, seen},
		{"munmap", unix.SYS_MUNMAP, "the heap grows to where the kernel had no room, and gives the place back"},
		{"nanosleep", unix.SYS_NANOSLEEP, seen},
		{"prctl", unix.SYS_PRCTL, seen},
		{"restart_syscall", unix.SYS_RESTART_SYSCALL, "the kernel makes it for a thread that was stopped (SIGSTOP) while it slept"},
		{"sched_getaffinity", unix.SYS_SCHED_GETAFFINITY, seen},
		{"sched_yield", unix.SYS_SCHED_YIELD, seen},
		{"arch_prctl", callArchPrctl, seen},
	}},
	{"Signals", []Call{
		{"kill", unix.SYS_KILL, seen},
		{"rt_sigaction", unix.SYS_RT_SIGACTION, seen},
		{"rt_sigprocmask", unix.SYS_RT_SIGPROCMASK, seen},
		{"rt_sigreturn", unix.SYS_RT_SIGRETURN, seen},
		{"sigaltstack", unix.SYS_SIGALTSTACK, seen},
		{"tgkill", unix.SYS_TGKILL, seen},
	}},
	{"Sockets", []Call{
		{"accept4", unix.SYS_ACCEPT4, seen},
		{"bind", unix.SYS_BIND, seen},
		{"connect", unix.SYS_CONNECT, seen},
		{"getpeername", unix.SYS_GETPEERNAME, seen},
		{"getsockname", unix.SYS_GETSOCKNAME, seen},
		{"getsockopt", unix.SYS_GETSOCKOPT, seen},
		{"listen", unix.SYS_LISTEN, seen},
		{"recvfrom", unix.SYS_RECVFROM, "the machine's own addresses are asked for by netlink, when the front has a name"},
		{"sendmsg", unix.SYS_SENDMSG, seen},
		{"sendto", unix.SYS_SENDTO, seen},
		{"setsockopt", unix.SYS_SETSOCKOPT, seen},
		{"shutdown", unix.SYS_SHUTDOWN, seen},
		{"socket", unix.SYS_SOCKET, seen},
	}},
	{"Descriptors and the bytes in them", []Call{
		{"close", unix.SYS_CLOSE, seen},
		{"epoll_create1", unix.SYS_EPOLL_CREATE1, seen},
		{"epoll_ctl", unix.SYS_EPOLL_CTL, seen},
		{"epoll_pwait", unix.SYS_EPOLL_PWAIT, seen},
		{"epoll_wait", callEpollWait, "the relay loops' wait, by the name it has in some versions of x/sys"},
		{"eventfd2", unix.SYS_EVENTFD2, seen},
		{"fcntl", unix.SYS_FCNTL, seen},
		{"ioctl", unix.SYS_IOCTL, seen},
		{"pipe2", unix.SYS_PIPE2, seen},
		{"pread64", unix.SYS_PREAD64, seen},
		{"pwrite64", unix.SYS_PWRITE64, seen},
		{"read", unix.SYS_READ, seen},
		{"readv", unix.SYS_READV, seen},
		{"splice", unix.SYS_SPLICE, seen},
		{"tee", unix.SYS_TEE, seen},
		{"write", unix.SYS_WRITE, seen},
		{"writev", unix.SYS_WRITEV, "gnet and net write several buffers at once, such as an HTTP answer of the admin address"},
	}},
	{"Files: settings, the state directory, certificates, the admin socket", []Call{
		{"fchmod", unix.SYS_FCHMOD, seen},
		{"fchmodat", unix.SYS_FCHMODAT, seen},
		{"fstat", unix.SYS_FSTAT, seen},
		{"fsync", unix.SYS_FSYNC, seen},
		{"getdents64", unix.SYS_GETDENTS64, seen},
		{"lseek", unix.SYS_LSEEK, "the time zone is looked for in a zip file, where the system has it there alone"},
		{"mkdirat", unix.SYS_MKDIRAT, seen},
		{"newfstatat", callFstatat, seen},
		{"openat", unix.SYS_OPENAT, seen},
		{"readlinkat", unix.SYS_READLINKAT, "the system's certificates are links, and are read when a list of ranges is fetched by HTTPS"},
		{"renameat", unix.SYS_RENAMEAT, seen},
		{"unlinkat", unix.SYS_UNLINKAT, seen},
	}},
	{"The start, limits, the kernel's guard", []Call{
		{"adjtimex", unix.SYS_ADJTIMEX, "sluice doctor asks whether the clock is kept in step; setting it needs a privilege that nobody here has"},
		{"bpf", unix.SYS_BPF, seen},
		{"execve", unix.SYS_EXECVE, "whoever puts the filter on then becomes the proxy"},
		{"getrlimit", unix.SYS_GETRLIMIT, seen},
		{"prlimit64", unix.SYS_PRLIMIT64, seen},
		{"uname", unix.SYS_UNAME, seen},
	}},
}
