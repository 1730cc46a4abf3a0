package sandbox

import "golang.org/x/sys/unix"

const (
	callArchPrctl = unix.SYS_ARCH_PRCTL
	callEpollWait = unix.SYS_EPOLL_WAIT
	callFstatat   = unix.SYS_NEWFSTATAT
)
