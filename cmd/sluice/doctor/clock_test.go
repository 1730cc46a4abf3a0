package doctor

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"
)

// TestClock gives our own clock an error, and none to those of the sources.
func TestClock(t *testing.T) {
	for _, tt := range []struct {
		name   string
		off    time.Duration
		status Status
		says   string
	}{
		{"right", 0, OK, "8 sources"},
		{"a second", time.Second, OK, "right"},
		{"behind by seconds", -10 * time.Second, Warn, "behind"},
		{"ahead by seconds", 10 * time.Second, Warn, "ahead"},
		{"behind by more than clients' clocks may be ahead", -40 * time.Second, Fail, "behind"},
		{"ahead by less than clients' clocks may be behind", 4 * time.Minute, Warn, "ahead"},
		{"ahead by more", 6 * time.Minute, Fail, "clients with a right clock are refused"},
		{"years, so that no certificate is good", -10 * 365 * 24 * time.Hour, Fail, "SLUICE_CLOCK_SKEW"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t)
			s.world.Now = func() time.Time { return time.Now().Add(tt.off) }
			s.behindEdge()
			s.front()
			s.publisher(time.Time{})
			s.centres(0, everyAddress)
			s.look(checkClock).want(t, tt.status, tt.says)
		})
	}
}

// publisher starts a web server that publishes the list of ranges, at lists.example.org.
func (s *scene) publisher(date time.Time) {
	s.set("SLUICE_EDGE_RANGES", "192.0.2.0/24,https://lists.example.org/list")
	s.names["lists.example.org"] = []string{"192.0.2.200"}
	s.route("192.0.2.200:443", site{date: date, tls: onlyTLS(s.ca.issue(nil, "lists.example.org"))}.serve(s.t))
}

// TestClockThroughAProxy: the publishers are asked as the proxy asks them, and offline not even by a way that begins on this host.
func TestClockThroughAProxy(t *testing.T) {
	for _, offline := range []bool{false, true} {
		s := newScene(t)
		s.behindEdge()
		s.publisher(time.Time{})
		s.world.Offline = offline
		asked := make(chan string, 10)
		way := &url.URL{Scheme: "http", Host: server(t, func(c net.Conn) {
			line, _ := bufio.NewReader(c).ReadString('\n')
			asked <- line
		})}
		s.world.Proxy = func(*http.Request) (*url.URL, error) { return way, nil }
		s.look(checkClock)
		select {
		case line := <-asked:
			if offline || line != "CONNECT lists.example.org:443 HTTP/1.1\r\n" {
				t.Errorf("offline %v: asked for %q", offline, line)
			}
		default:
			if !offline {
				t.Error("the way out was not used")
			}
		}
	}
}

func TestOneWrongSourceDoesNotMoveTheClock(t *testing.T) {
	s := newScene(t)
	s.behindEdge()
	s.front()
	s.publisher(time.Now().Add(-time.Hour))
	s.centres(0, everyAddress)
	s.look(checkClock).want(t, Warn, "right by most sources", "lists.example.org")
}

func TestClockThatNobodyTells(t *testing.T) {
	s := newScene(t)
	s.look(checkClock).want(t, Warn, "could not be asked")
	s.world.Offline = true
	s.look(checkClock).want(t, Skip, "--offline")
}

// TestClockOffline: a front on this host may be asked, and what it says is about the same clock; it counts for what it is.
func TestJudgeClock(t *testing.T) {
	s := newScene(t)
	x := s.exam()
	sec := func(offsets ...int) (all []reading) {
		for _, o := range offsets {
			all = append(all, reading{"a source", time.Duration(o) * time.Second})
		}
		return all
	}
	for _, tt := range []struct {
		name    string
		offsets []int
		status  Status
	}{
		{"at what is noticeable", []int{5}, OK},
		{"beyond", []int{6}, Warn},
		{"at the window behind", []int{-30}, Warn},
		{"beyond it", []int{-31}, Fail},
		{"at the window ahead", []int{300}, Warn},
		{"beyond that", []int{301}, Fail},
		{"one of two is believed", []int{0, 60}, Warn},
		{"two of three", []int{400, 401, 0}, Fail},
	} {
		if f := x.judgeClock(sec(tt.offsets...)); f.Status != tt.status {
			t.Errorf("%s: %s, want %s: %s", tt.name, f.Status, tt.status, f.Seen)
		}
	}
}

func TestClockSync(t *testing.T) {
	s := newScene(t)
	s.look(checkClockSync).want(t, OK)
	s.world.Synchronised = func() (bool, error) { return false, nil }
	s.look(checkClockSync).want(t, Warn, "chrony")
	s.world.Synchronised = func() (bool, error) { return false, errors.New("not permitted") }
	s.look(checkClockSync).want(t, Skip, "not permitted")
}
