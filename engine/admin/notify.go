package admin

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"
)

// States for [Notify], as sd_notify(3) names them.
const (
	Ready    = "READY=1"
	Watchdog = "WATCHDOG=1"
)

// Status is the state that sets the line shown by "systemctl status".
func Status(text string) string { return "STATUS=" + oneLine(text) }

// Stopping is the state that begins the end, which may take so long: also longer than the manager's own limit.
func Stopping(limit time.Duration) string {
	return "STOPPING=1\nEXTEND_TIMEOUT_USEC=" + strconv.FormatInt(limit.Microseconds(), 10)
}

// Reloading is the state that begins a reload; [Ready] ends it. monotonic is CLOCK_MONOTONIC's reading, which systemd 253 and
// later compares with its own; older ones ignore it.
func Reloading(monotonic time.Duration) string {
	return "RELOADING=1\nMONOTONIC_USEC=" + strconv.FormatInt(monotonic.Microseconds(), 10)
}

// ErrNotifySocket says that NOTIFY_SOCKET holds neither a path nor an abstract name.
var ErrNotifySocket = errors.New("notify socket is neither a path nor an abstract name")

// Notify tells the service manager a state; several are joined by newlines. socket is the value of NOTIFY_SOCKET: when it is empty, as
// without a service manager, nothing is done. It never blocks for long: the datagram either fits the receiver's queue or fails
// within a second. Any goroutine may call it.
func Notify(socket, state string) error {
	if socket == "" {
		return nil
	}
	if socket[0] != '/' && socket[0] != '@' {
		return fmt.Errorf("notify service manager: %w", ErrNotifySocket)
	}
	// net takes the leading "@" of an abstract name as the kernel's zero byte.
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notify service manager: %w", err)
	}
	defer c.Close()
	if err := c.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return fmt.Errorf("notify service manager: %w", err)
	}
	if _, err := c.Write([]byte(state)); err != nil {
		return fmt.Errorf("notify service manager: %w", err)
	}
	return nil
}
