package main

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// socketShare is what the kernel holds in the buffers of the proxy's own TCP sockets, in bytes: the machine's sum (sockstat) has
// the clients' and the far side's in it as well. A socket is the proxy's when it is at the proxy's address, or connected to
// one of the far side's and not there.
func (t *trial) socketShare() (sum int64, err error) {
	theirs := map[uint16]bool{t.farAt.Front.Port(): true}
	for i := range t.farAt.DC {
		theirs[t.farAt.DC[i].Port()], theirs[t.farAt.Greet[i].Port()] = true, true
	}
	own := t.proxy.addr.Port()
	err = t.proxyPlace.do(func() error {
		for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
			err := eachSocket(family, func(local, remote uint16, held int64) {
				if local == own || theirs[remote] && !theirs[local] {
					sum += held
				}
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return sum, err
}

// Facts of linux/inet_diag.h and linux/sock_diag.h.
const (
	sockDiagByFamily = 20
	diagMemory       = 7  // INET_DIAG_SKMEMINFO
	diagMessage      = 72 // sizeof(struct inet_diag_msg)
	diagRequest      = 56 // sizeof(struct inet_diag_req_v2)
	diagHeader       = 16 // sizeof(struct nlmsghdr)
)

// eachSocket asks the kernel for every connected TCP socket of the calling thread's network namespace.
func eachSocket(family uint8, f func(local, remote uint16, held int64)) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return fmt.Errorf("sock_diag: %w", err)
	}
	defer unix.Close(fd)
	request := make([]byte, diagHeader+diagRequest)
	native := binary.NativeEndian
	native.PutUint32(request, uint32(len(request)))
	native.PutUint16(request[4:], sockDiagByFamily)
	native.PutUint16(request[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	request[16], request[17], request[18] = family, unix.IPPROTO_TCP, 1<<(diagMemory-1)
	native.PutUint32(request[20:], ^uint32(1<<10)) // every state but LISTEN
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("sock_diag: %w", err)
	}
	b := make([]byte, 1<<20)
	for {
		n, _, err := unix.Recvfrom(fd, b, 0)
		if err != nil {
			return fmt.Errorf("sock_diag: %w", err)
		}
		if done, err := diagMessages(b[:n], f); done || err != nil {
			return err
		}
	}
}

// diagMessages reads one datagram of the answer.
func diagMessages(b []byte, f func(local, remote uint16, held int64)) (done bool, err error) {
	native := binary.NativeEndian
	for len(b) >= diagHeader {
		size := int(native.Uint32(b))
		if size < diagHeader || size > len(b) {
			return true, fmt.Errorf("sock_diag: a message of %d bytes", size)
		}
		switch native.Uint16(b[4:]) {
		case unix.NLMSG_DONE:
			return true, nil
		case unix.NLMSG_ERROR:
			return true, fmt.Errorf("sock_diag: %w", unix.Errno(-int32(native.Uint32(b[diagHeader:]))))
		}
		if m := b[diagHeader:size]; len(m) >= diagMessage {
			f(binary.BigEndian.Uint16(m[4:]), binary.BigEndian.Uint16(m[6:]), diagHeld(m[diagMessage:]))
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return false, nil
}

// diagHeld is what the attributes say of a socket's memory: received and not read, queued for sending, reserved for either.
func diagHeld(attributes []byte) int64 {
	native := binary.NativeEndian
	for len(attributes) >= 4 {
		size := int(native.Uint16(attributes))
		if size < 4 || size > len(attributes) {
			return 0
		}
		if native.Uint16(attributes[2:]) == diagMemory && size >= 4+8*4 {
			word := func(i int) int64 { return int64(native.Uint32(attributes[4+4*i:])) }
			return word(0) + word(4) + word(5) + word(7) // rmem_alloc, fwd_alloc, wmem_queued, backlog
		}
		attributes = attributes[min(len(attributes), (size+3)&^3):]
	}
	return 0
}
