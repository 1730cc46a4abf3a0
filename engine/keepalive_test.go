package engine

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"sluice/bench/client"
	"sluice/bench/stand"
)

// socketTo finds the descriptor of this process that is connected to a peer; -1 if there is none.
func socketTo(peer netip.AddrPort) int {
	list, _ := os.ReadDir("/proc/self/fd")
	for _, f := range list {
		fd, _ := strconv.Atoi(f.Name())
		if sa, err := unix.Getpeername(fd); err == nil && socketAddr(sa) == peer {
			return fd
		}
	}
	return -1
}

// asksAfter writes when the kernel asks a socket's peer whether it is there.
func asksAfter(t *testing.T, peer netip.AddrPort) string {
	t.Helper()
	fd := socketTo(peer)
	if fd < 0 {
		t.Fatalf("no socket is connected to %v", peer)
	}
	option := func(level, name int) int {
		v, err := unix.GetsockoptInt(fd, level, name)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if option(unix.SOL_SOCKET, unix.SO_KEEPALIVE) == 0 {
		return "never"
	}
	return fmt.Sprintf("%d s, %d s, %d times", option(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE), option(unix.IPPROTO_TCP, unix.TCP_KEEPINTVL),
		option(unix.IPPROTO_TCP, unix.TCP_KEEPCNT))
}

// The sockets of a live session, towards the client and towards the data centre, and the one to the front have the keep-alive that is set, or
// by default one that fits the idle time. A stranger hears none, as from most web sites.
func TestKeepAlive(t *testing.T) {
	for _, tt := range []struct{ name, set, want string }{
		{"default", "SLUICE_LOG_LEVEL=debug", "60 s, 20 s, 4 times"},
		{"short idle time", "SLUICE_IDLE_TIMEOUT=90s", "30 s, 20 s, 4 times"},
		{"shortest", "SLUICE_KEEPALIVE=10s", "10 s, 10 s, 4 times"},
		{"longest", "SLUICE_KEEPALIVE=10m", "600 s, 20 s, 4 times"},
		{"off", "SLUICE_KEEPALIVE=off", "never"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := start(t, tt.set)
			c := p.session(client.Config{DC: 2})
			mustWrite(t, c, stand.Request{Op: stand.Down, Size: 10, Seed: 1}.Bytes())
			if err := stand.CheckStream(c, 1, 10); err != nil {
				t.Fatal(err)
			}
			stranger := p.dial()
			mustWrite(t, stranger, []byte("GET / HTTP/1.1\r\n\r\n"))
			front := p.atFront()
			for what, peer := range map[string]netip.AddrPort{
				"client": addrPort(c.LocalAddr()), "data centre": p.dc.Addr(), "front": addrPort(front.LocalAddr()),
			} {
				if got := asksAfter(t, peer); got != tt.want {
					t.Errorf("%s: %s, want %s", what, got, tt.want)
				}
			}
			if got := asksAfter(t, addrPort(stranger.LocalAddr())); got != "never" {
				t.Errorf("stranger: %s, want never", got)
			}
		})
	}
}
