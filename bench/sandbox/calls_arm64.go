package sandbox

import "golang.org/x/sys/unix"

const (
	callArchPrctl = absent
	callEpollWait = absent
	callFstatat   = unix.SYS_FSTATAT
)
