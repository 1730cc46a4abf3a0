// Package poll is the kernel as the load processes use it: epoll, and calls that never block and therefore need not tell the
// scheduler. Everything belongs to the goroutine that made it.
package poll

import (
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Interest in a descriptor, and what has happened to it. Level-triggered.
const (
	In  = unix.EPOLLIN
	Out = unix.EPOLLOUT
	Hup = unix.EPOLLHUP
	Err = unix.EPOLLERR
)

// Event is what has happened to the descriptor that was added with Token.
type Event struct {
	Token uint64
	Mask  uint32
}

// Poller waits for descriptors.
type Poller struct {
	fd    int
	raw   [256]unix.EpollEvent
	ready [256]Event
}

// New makes a poller.
func New() (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	return &Poller{fd: fd}, nil
}

// Close closes the poller, not what was added to it.
func (p *Poller) Close() { _ = unix.Close(p.fd) }

// Add begins to watch fd.
func (p *Poller) Add(fd int, mask uint32, token uint64) error {
	return p.control(unix.EPOLL_CTL_ADD, fd, mask, token)
}

// Change changes what is watched of fd.
func (p *Poller) Change(fd int, mask uint32, token uint64) error {
	return p.control(unix.EPOLL_CTL_MOD, fd, mask, token)
}

func (p *Poller) control(op, fd int, mask uint32, token uint64) error {
	e := unix.EpollEvent{Events: mask, Fd: int32(uint32(token)), Pad: int32(uint32(token >> 32))}
	_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(p.fd), uintptr(op), uintptr(fd), uintptr(unsafe.Pointer(&e)), 0, 0)
	if errno != 0 {
		return fmt.Errorf("epoll_ctl: %w", errno)
	}
	return nil
}

// Wait waits for events, for ever when the limit is negative. The result is valid until the next call.
func (p *Poller) Wait(limit time.Duration) ([]Event, error) {
	timeout := -1
	if limit >= 0 {
		timeout = int((limit + time.Millisecond - 1) / time.Millisecond)
	}
	n, err := unix.EpollWait(p.fd, p.raw[:], timeout)
	if err == unix.EINTR {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("epoll_wait: %w", err)
	}
	for i := range n {
		e := &p.raw[i]
		p.ready[i] = Event{Token: uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32, Mask: e.Events}
	}
	return p.ready[:n], nil
}
