package doctor

import (
	"context"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Needs is what a proxy takes of the host that it runs on, as the engine says.
type Needs struct {
	// Base are the descriptors that are for no client, Reserve those of them that sluice_fds_limit leaves out, and PerClient those of a client.
	Base, Reserve, PerClient int64
	// Pipes is how many pipes there are, PipeSize the bytes that each is asked to hold.
	Pipes, PipeSize int
}

// pages is what one pipe counts for in fs.pipe-user-pages-soft.
func (n Needs) pages() int64 { return int64(n.PipeSize / os.Getpagesize()) }

// clients is how many so many descriptors are enough for.
func (n Needs) clients(descriptors int64) int64 { return max((descriptors-n.Base)/n.PerClient, 0) }

// descriptors is how many so many clients need.
func (n Needs) descriptors(clients int64) int64 { return n.Base + clients*n.PerClient }

// World is what the looks may touch. Its functions are called by several goroutines at a time.
type World struct {
	Now     func() time.Time
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// Proxy is how HTTP leaves this host, as http.Transport takes it; nil is directly.
	Proxy func(*http.Request) (*url.URL, error)
	// Local are this host's addresses, Own those by which it is reached from outside where they are not among them.
	Local []netip.Addr
	Own   []netip.Addr
	// Root is put before /proc.
	Root string
	// Roots judge certificates; nil is the system's.
	Roots *x509.CertPool
	// Synchronised says whether the kernel believes that its clock is kept.
	Synchronised func() (bool, error)
	// Descriptors is how many file descriptors a process started here may have.
	Descriptors func() (uint64, error)
	// Needs is what the proxy takes of this host.
	Needs Needs
	// Offline forbids every call beyond this host.
	Offline bool
	// Step bounds one call, Grace how long a look may take to see that its time is up.
	Step, Grace time.Duration
}

const (
	stepTime  = 4 * time.Second
	graceTime = 500 * time.Millisecond

	// TotalTime bounds a whole run in the real world.
	TotalTime = 18 * time.Second
)

// Real is the world as it is, for a proxy with these needs.
func Real(n Needs) World {
	dialer := &net.Dialer{}
	return World{
		Now:  time.Now,
		Dial: dialer.DialContext,
		Resolve: func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		},
		Proxy: http.ProxyFromEnvironment, Local: localAddresses(), Root: "/", Synchronised: synchronised, Descriptors: hardDescriptors,
		Needs: n, Step: stepTime, Grace: graceTime,
	}
}

func localAddresses() (addrs []netip.Addr) {
	list, _ := net.InterfaceAddrs()
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			addrs = append(addrs, p.Addr().Unmap())
		}
	}
	return addrs
}

// synchronised asks the kernel; adjtimex that changes nothing needs no privilege.
func synchronised() (bool, error) {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return false, err
	}
	return t.Status&unix.STA_UNSYNC == 0, nil
}

// hardDescriptors is the hard limit, to which the proxy raises its own.
func hardDescriptors() (uint64, error) {
	var r unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r)
	return r.Max, err
}
