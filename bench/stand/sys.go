package stand

import (
	"net"

	"golang.org/x/sys/unix"
)

// broken says whether the peer has reset c or ended its direction, without reading from it.
func broken(c *net.TCPConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	gone := false
	err = raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		if n, err := unix.Poll(p, 0); err == nil && n > 0 {
			gone = p[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLRDHUP) != 0
		}
	})
	return err != nil || gone
}
