package engine

import (
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// held are sockets that keep our addresses until gnet has bound them.
type held []int

func (h held) release() {
	for _, fd := range h {
		_ = unix.Close(fd)
	}
}

// reservePorts binds every address before gnet does, to say plainly when one cannot be had, and to choose a port where 0 is
// asked for: each of gnet's loops binds for itself and must get the same. The sockets do not listen, so they take no connection.
func reservePorts(asked []netip.AddrPort) (addrs []netip.AddrPort, kept held, err error) {
	for _, a := range asked {
		if a.Addr() == netip.IPv6Unspecified() && !hasIPv6() {
			a = netip.AddrPortFrom(netip.IPv4Unspecified(), a.Port())
		}
		// SO_REUSEPORT would let a second proxy of the same user share the port, and half of the clients, unnoticed.
		fd, port, err := bind(a, false)
		if err == nil {
			_ = unix.Close(fd)
			fd, port, err = bind(netip.AddrPortFrom(a.Addr(), port), true)
		}
		if err != nil {
			kept.release()
			return nil, nil, fmt.Errorf("listen on %s: %w", a, err)
		}
		kept = append(kept, fd)
		addrs = append(addrs, netip.AddrPortFrom(a.Addr(), port))
	}
	return addrs, kept, nil
}

// hasIPv6 says whether the kernel has IPv6 at all; without it a dual-stack listener is an IPv4 one.
func hasIPv6() bool {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		_ = unix.Close(fd)
	}
	return err == nil
}

// bind makes a socket bound to a, alone or ready to share, and says which port it has got.
func bind(a netip.AddrPort, shared bool) (fd int, port uint16, err error) {
	family, sa := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())})
	if a.Addr().Is4() {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, 0, os.NewSyscallError("socket", err)
	}
	if port, err = bindTo(fd, sa, shared); err != nil {
		_ = unix.Close(fd)
	}
	return fd, port, err
}

func bindTo(fd int, sa unix.Sockaddr, shared bool) (port uint16, err error) {
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err == nil && shared {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}
	if err != nil {
		return 0, os.NewSyscallError("setsockopt", err)
	}
	if err = unix.Bind(fd, sa); err != nil {
		return 0, os.NewSyscallError("bind", err)
	}
	bound, err := unix.Getsockname(fd)
	return socketAddr(bound).Port(), os.NewSyscallError("getsockname", err)
}

// socketAddr is a socket's address as a value; the zero one is no TCP address.
func socketAddr(sa unix.Sockaddr) netip.AddrPort {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}
