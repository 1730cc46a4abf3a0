package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"sluice/bench/seccomp"
)

// supervisor answers some system calls of the proxy in the kernel's place (seccomp_unotify(2)): it lets them pass, refuses them with an
// error that the kernel would give on a machine that has run out, or tells another time of day. The calls that carry bytes
// are not among them.
type supervisor struct {
	path     string
	listener *net.UnixListener
	fd       int // the kernel's questions
	pid      int

	refusals atomic.Pointer[map[int]unix.Errno]
	offset   atomic.Int64 // of the time of day, in nanoseconds
	refused  atomic.Int64
	told     atomic.Int64 // times of day
	ended    chan struct{}
	closing  atomic.Bool
}

// supervised are the calls asked for; those that depend on an argument are in the filter.
var supervised = []uint32{
	unix.SYS_ACCEPT4, unix.SYS_SOCKET, unix.SYS_PIPE2, unix.SYS_EVENTFD2, unix.SYS_EPOLL_CREATE1, unix.SYS_OPENAT, unix.SYS_CONNECT,
}

// makers are the calls that need a new descriptor; fcntl stands for F_DUPFD_CLOEXEC.
var makers = []int{
	unix.SYS_ACCEPT4, unix.SYS_SOCKET, unix.SYS_PIPE2, unix.SYS_EVENTFD2, unix.SYS_EPOLL_CREATE1, unix.SYS_OPENAT, unix.SYS_FCNTL,
}

// newSupervisor waits at path for the process to come.
func newSupervisor(path string) (*supervisor, error) {
	_ = os.Remove(path)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	s := &supervisor{path: path, listener: l, fd: -1, ended: make(chan struct{})}
	s.refusals.Store(&map[int]unix.Errno{})
	taken := make(chan error, 1)
	go func() { taken <- s.serve() }()
	return s, nil
}

// serve takes the process's questions over, hides the clock's shortcut from it, and answers until it is gone.
func (s *supervisor) serve() error {
	defer close(s.ended)
	_ = s.listener.SetDeadline(time.Now().Add(patience))
	c, err := s.listener.AcceptUnix()
	if err != nil {
		return err
	}
	defer c.Close()
	if s.fd, s.pid, err = receive(c); err != nil {
		return err
	}
	defer unix.Close(s.fd)
	if err := withoutVDSO(s.pid, func() error {
		_, err := c.Write([]byte{1})
		return err
	}); err != nil {
		return fmt.Errorf("hide the vDSO: %w", err)
	}
	return s.answer()
}

// receive takes a descriptor and its sender's process id.
func receive(c *net.UnixConn) (fd, pid int, err error) {
	var number [4]byte
	rights := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := c.ReadMsgUnix(number[:], rights)
	if err != nil {
		return -1, 0, err
	}
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) != 1 {
		return -1, 0, fmt.Errorf("no descriptor came: %w", err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return -1, 0, fmt.Errorf("no descriptor came: %w", err)
	}
	return fds[0], int(*(*int32)(unsafe.Pointer(&number))), nil
}

// question and reply are struct seccomp_notif and seccomp_notif_resp of linux/seccomp.h.
type question struct {
	id    uint64
	pid   uint32
	flags uint32
	nr    int32
	arch  uint32
	ip    uint64
	args  [6]uint64
}

type reply struct {
	id    uint64
	value int64
	errno int32
	flags uint32
}

// answer deals with one question after the other.
func (s *supervisor) answer() error {
	for !s.closing.Load() {
		p := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}
		if n, err := unix.Poll(p, 100); n <= 0 || err != nil {
			continue
		}
		if p[0].Revents&unix.POLLIN == 0 {
			return nil // nobody is left who could ask
		}
		var q question
		if err := control(s.fd, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&q)); err != nil {
			continue // the asking thread was interrupted
		}
		a := s.judge(&q)
		_ = control(s.fd, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&a))
	}
	return nil
}

func (s *supervisor) judge(q *question) reply {
	a := reply{id: q.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
	if errno, found := (*s.refusals.Load())[int(q.nr)]; found {
		s.refused.Add(1)
		return reply{id: q.id, errno: -int32(errno)}
	}
	if offset := s.offset.Load(); offset != 0 && q.nr == unix.SYS_CLOCK_GETTIME {
		if s.tell(q, time.Now().Add(time.Duration(offset))) == nil {
			s.told.Add(1)
			return reply{id: q.id}
		}
	}
	return a
}

// tell writes a time of day to where the caller wants it.
func (s *supervisor) tell(q *question, at time.Time) error {
	spec := unix.NsecToTimespec(at.UnixNano())
	size := int(unsafe.Sizeof(spec))
	local := []unix.Iovec{{Base: (*byte)(unsafe.Pointer(&spec))}}
	local[0].SetLen(size)
	remote := []unix.RemoteIovec{{Base: uintptr(q.args[1]), Len: size}}
	_, err := unix.ProcessVMWritev(int(q.pid), local, remote, 0)
	return err
}

func control(fd int, request uintptr, argument unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(argument)); errno != 0 {
		return errno
	}
	return nil
}

// refuse has the given calls fail from now on; without any, none does.
func (s *supervisor) refuse(errno unix.Errno, calls ...int) {
	m := map[int]unix.Errno{}
	for _, c := range calls {
		m[c] = errno
	}
	s.refusals.Store(&m)
}

// ready says whether the proxy is supervised: it runs by now.
func (s *supervisor) ready() error {
	if s.fd < 0 {
		return errors.New("the proxy is not supervised")
	}
	return nil
}

func (s *supervisor) close() {
	s.closing.Store(true)
	_ = s.listener.Close()
	<-s.ended
}

// submit puts this thread, and all that comes of it, under a supervisor. It returns when the supervisor says so.
func submit(path string) error {
	c, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	fd, err := seccomp.Install(filter(), unix.SECCOMP_FILTER_FLAG_NEW_LISTENER)
	if err != nil {
		return err
	}
	pid := int32(os.Getpid())
	number := (*[4]byte)(unsafe.Pointer(&pid))
	if _, _, err := c.(*net.UnixConn).WriteMsgUnix(number[:], unix.UnixRights(fd), nil); err != nil {
		return err
	}
	_ = unix.Close(fd)
	_, err = io.ReadFull(c, make([]byte, 1))
	return err
}

// filter asks for the supervised calls, for descriptors that are duplicated, and for the time of day.
func filter() []unix.SockFilter {
	ask := seccomp.End(unix.SECCOMP_RET_USER_NOTIF)
	p := []unix.SockFilter{seccomp.Load(seccomp.Number)}
	for _, nr := range supervised {
		p = append(p, seccomp.Equal(nr, 0, 1), ask)
	}
	for _, c := range []struct {
		nr       uint32
		argument int
		value    uint32
	}{{unix.SYS_FCNTL, 1, unix.F_DUPFD_CLOEXEC}, {unix.SYS_CLOCK_GETTIME, 0, unix.CLOCK_REALTIME}} {
		p = append(p, seccomp.Equal(c.nr, 0, 4), seccomp.Load(seccomp.Argument(c.argument)), seccomp.Equal(c.value, 0, 1), ask, seccomp.Allow())
	}
	return append(p, seccomp.Allow())
}
