package doctor

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestOutsideAnswer(t *testing.T) {
	closing := func(t *testing.T) string {
		return server(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 1024)) })
	}
	for _, tt := range []struct {
		name      string
		listener  func(t *testing.T, s *scene, front string) string
		outsiders string
		status    Status
		says      string
	}{
		{
			name: "closed without a word", outsiders: "drop", status: OK, says: "without a word",
			listener: func(t *testing.T, _ *scene, _ string) string { return closing(t) },
		},
		{
			name: "the front", outsiders: "drop", status: Fail, says: "close the port",
			listener: func(_ *testing.T, _ *scene, front string) string { return front },
		},
		{
			name: "an alert", outsiders: "drop", status: Fail, says: "talks to",
			listener: func(t *testing.T, _ *scene, _ string) string {
				return server(t, func(c net.Conn) { _, _ = c.Write([]byte{0x15, 3, 3, 0, 2, 2, 40}) })
			},
		},
		{
			name: "the front, as it should be", outsiders: "front", status: OK, says: "as SLUICE_EDGE_OUTSIDERS=front says",
			listener: func(_ *testing.T, _ *scene, front string) string { return front },
		},
		{
			name: "closed, where the front should be", outsiders: "front", status: Warn, says: "should show the front",
			listener: func(t *testing.T, _ *scene, _ string) string { return closing(t) },
		},
		{
			name: "another server, where the front should be", outsiders: "front", status: Fail, says: "something else",
			listener: func(t *testing.T, s *scene, _ string) string {
				return site{tls: onlyTLS(s.ca.issue(nil, "other.example"))}.serve(t)
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t)
			s.behindEdge()
			front := s.front()
			s.set("SLUICE_EDGE_OUTSIDERS", tt.outsiders)
			// The listener is this host's public address, so that the front on loopback is not taken for it.
			s.set("SLUICE_LISTEN", originAddr+":8443")
			s.route(originAddr+":8443", tt.listener(t, s, front))
			s.look(checkOutside).want(t, tt.status, tt.says)
		})
	}
}

func TestOutsideThatCannotBeTried(t *testing.T) {
	s := newScene(t)
	s.look(checkOutside).want(t, Skip, "clients connect directly")
	s.behindEdge()
	s.set("SLUICE_LISTEN", "127.0.0.1:2")
	s.look(checkOutside).want(t, Skip, "does not run")
	s.set("SLUICE_EDGE_RANGES", "127.0.0.0/8,192.0.2.0/24")
	s.look(checkOutside).want(t, Skip, "cannot be tried from here")
	s.set("SLUICE_EDGE_RANGES", "none")
	s.look(checkOutside).want(t, Skip, "from another machine")
}

// TestOutsideOfAGuard: the kernel's guard answers nothing at all, so the connect never ends.
func TestOutsideOfAGuard(t *testing.T) {
	s := newScene(t)
	s.behindEdge()
	s.admin("sluice_accepted_total 1")
	s.world.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if network == "unix" {
			return new(net.Dialer).DialContext(ctx, network, address)
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	x := s.exam()
	if _, err := x.page(); err != nil {
		t.Fatal(err)
	}
	x.world.Step = 50 * time.Millisecond
	checkOutside(t.Context(), x).want(t, OK, "no answer")
}

func TestOutsideAddress(t *testing.T) {
	for _, tt := range []struct{ listen, ranges, want string }{
		{"[::]:443", "192.0.2.0/24", "127.0.0.1:443"},
		{"0.0.0.0:443", "127.0.0.0/8", originAddr + ":443"},
		{originAddr + ":443", "192.0.2.0/24", originAddr + ":443"},
		{originAddr + ":443", "198.51.100.0/24", "invalid AddrPort"},
	} {
		s := newScene(t)
		s.behindEdge()
		s.set("SLUICE_EDGE_RANGES", tt.ranges)
		x := s.exam()
		if got, _ := x.outsideAddress(netip.MustParseAddrPort(tt.listen), x.set); got.String() != tt.want {
			t.Errorf("%s, ranges %s: %s, want %s", tt.listen, tt.ranges, got, tt.want)
		}
	}
}
