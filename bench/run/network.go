package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// network is where the bytes go: this machine's loopback, or that of a namespace of our own, or a pair of namespaces with a wire
// between them. Namespaces have no name: they end with the threads and processes in them.
type network struct {
	proxyPlace, loadPlace *place
	proxyAddr, farAddr    netip.Addr
	locals                []netip.Addr // of the clients
	congestion            string
	note                  string
}

const localAddresses = 8

// plainNetwork is the machine's own loopback, as it is set up.
func plainNetwork(proxyCPUs, loadCPUs []int) (*network, error) {
	n := loopbackAddresses()
	n.note = "the machine's own loopback"
	var err error
	if n.proxyPlace, err = newPlace(proxyCPUs); err != nil {
		return nil, err
	}
	if n.loadPlace, err = newPlace(loadCPUs); err != nil {
		return nil, err
	}
	n.congestion = congestion()
	return n, nil
}

func loopbackAddresses() *network {
	n := &network{proxyAddr: netip.MustParseAddr("127.0.0.1")}
	n.farAddr = n.proxyAddr
	for i := range localAddresses {
		n.locals = append(n.locals, netip.AddrFrom4([4]byte{127, 0, 0, byte(11 + i)}))
	}
	return n
}

// ownLoopback is the loopback of a namespace of our own, with the given congestion control.
func ownLoopback(proxyCPUs, loadCPUs []int, control string) (*network, error) {
	n := loopbackAddresses()
	n.note = "loopback in a network namespace of its own"
	var err error
	if n.proxyPlace, err = newPlace(proxyCPUs); err != nil {
		return nil, err
	}
	if n.loadPlace, err = newPlace(loadCPUs); err != nil {
		return nil, err
	}
	if err := n.proxyPlace.do(leaveNetwork); err != nil {
		return nil, err
	}
	if err := n.loadPlace.do(n.proxyPlace.join); err != nil {
		return nil, err
	}
	if err := n.proxyPlace.do(func() error { return run("ip link set lo up") }); err != nil {
		return nil, err
	}
	return n, n.setCongestion(control)
}

// wire is a pair of namespaces: the proxy in one, everything else in the other, and a veth pair with an MTU of 1,500 between
// them. What comes to the proxy comes in packets, as from a network, and is put together again by GRO as on a real
// interface; what it sends leaves as it would to an interface with TSO.
func wire(proxyCPUs, loadCPUs []int, control string) (*network, error) {
	n := &network{proxyAddr: netip.MustParseAddr("10.98.76.1"), farAddr: netip.MustParseAddr("10.98.76.2")}
	n.note = "two network namespaces, a veth pair with an MTU of 1,500, no TSO or GSO towards the proxy, GRO at the proxy"
	for i := range localAddresses {
		n.locals = append(n.locals, netip.AddrFrom4([4]byte{10, 98, 76, byte(11 + i)}))
	}
	var err error
	if n.proxyPlace, err = newPlace(proxyCPUs); err != nil {
		return nil, err
	}
	if n.loadPlace, err = newPlace(loadCPUs); err != nil {
		return nil, err
	}
	if err := n.proxyPlace.do(leaveNetwork); err != nil {
		return nil, err
	}
	if err := n.loadPlace.do(leaveNetwork); err != nil {
		return nil, err
	}
	err = n.proxyPlace.do(func() error {
		return run(
			"ip link set lo up",
			"ip link add bench0 mtu 1500 type veth peer name bench1 mtu 1500 netns "+n.loadPlace.namespace(),
			fmt.Sprintf("ip addr add %v/24 dev bench0", n.proxyAddr),
			"ip link set bench0 up")
	})
	if err != nil {
		return nil, err
	}
	err = n.loadPlace.do(func() error {
		commands := []string{"ip link set lo up", "ip link set bench1 up", fmt.Sprintf("ip addr add %v/24 dev bench1", n.farAddr)}
		for _, a := range n.locals {
			commands = append(commands, fmt.Sprintf("ip addr add %v/24 dev bench1", a))
		}
		if err := run(commands...); err != nil {
			return err
		}
		return offload("bench1", ethtoolSetTSO, false, ethtoolSetGSO, false)
	})
	if err != nil {
		return nil, err
	}
	if err := n.proxyPlace.do(func() error { return offload("bench0", ethtoolSetGRO, true) }); err != nil {
		return nil, err
	}
	return n, n.setCongestion(control)
}

const congestionFile = "/proc/sys/net/ipv4/tcp_congestion_control"

func congestion() string {
	b, err := os.ReadFile(congestionFile)
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}

// setCongestion sets the default of both namespaces, and of nothing else on the machine, to the first of the given ones that the kernel lets
// a namespace have. "host" leaves it as it is.
func (n *network) setCongestion(controls string) error {
	for _, p := range []*place{n.proxyPlace, n.loadPlace} {
		err := p.do(func() (err error) {
			for _, c := range words(controls) {
				if c != "host" {
					err = os.WriteFile(congestionFile, []byte(c), 0)
				}
				if err == nil {
					break
				}
			}
			n.congestion = congestion()
			return err
		})
		if err != nil {
			return fmt.Errorf("congestion control %s: %w", controls, err)
		}
	}
	return nil
}

func (n *network) close() {
	for _, p := range []*place{n.proxyPlace, n.loadPlace} {
		if p != nil {
			p.close()
		}
	}
}

// leaveNetwork moves the calling thread into a network namespace of its own.
func leaveNetwork() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("a network namespace of our own: %w", err)
	}
	return nil
}

// namespace is the path by which a place's network namespace can be named.
func (p *place) namespace() string { return fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), p.tid) }

// join moves the calling thread into p's network namespace.
func (p *place) join() error {
	fd, err := unix.Open(p.namespace(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Setns(fd, unix.CLONE_NEWNET)
}

func run(commands ...string) error {
	for _, c := range commands {
		f := strings.Fields(c)
		if out, err := exec.Command(f[0], f[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", c, err, out)
		}
	}
	return nil
}

// Requests of linux/ethtool.h.
const (
	ethtoolSetTSO = 0x1f
	ethtoolSetGSO = 0x24
	ethtoolSetGRO = 0x2c
)

// offload switches features of an interface, given as pairs of request and bool.
func offload(name string, pairs ...any) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for i := 0; i+1 < len(pairs); i += 2 {
		value := struct{ request, on uint32 }{request: uint32(pairs[i].(int))}
		if pairs[i+1].(bool) {
			value.on = 1
		}
		var request struct {
			name [unix.IFNAMSIZ]byte
			data unsafe.Pointer
			_    [16]byte
		}
		copy(request.name[:unix.IFNAMSIZ-1], name)
		request.data = unsafe.Pointer(&value)
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
		if errno != 0 {
			return fmt.Errorf("offload %#x of %s: %w", pairs[i], name, errno)
		}
	}
	return nil
}
