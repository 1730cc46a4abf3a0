package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"time"

	"sluice/bench/far"
	"sluice/bench/remote"
)

// siteWord is the first argument of the program when it is to be the web site of floods.
const siteWord = "site"

// goalRate is how many hellos a second the proxy is to bear.
const goalRate = 5000

var floodFaults = []fault{
	flood(foreignKind, "hellos that no secret has signed, 1,000, 2,500 and 5,000 a second: each sees the front", goalRate/5, goalRate/2, goalRate),
	flood(signedKind, "as many good hellos whose senders say nothing more", goalRate/5, goalRate/2, goalRate),
	flood(replayedKind, "5,000 hellos a second that have been used: each sees the front", goalRate),
	flood(lateKind, "5,000 hellos a second by a clock that is an hour behind: each sees the front", goalRate),
}

// flood is a fault of hellos that are bad in one way.
func flood(k kind, about string, rates ...int) fault {
	return fault{
		name: "flood-" + string(k), floods: k != signedKind, calm: true, about: about,
		prepare: func(t *trial) (set env, err error) {
			if t.shore, err = newShore(t); err != nil {
				return nil, err
			}
			return env{"SLUICE_FRONT": fmt.Sprintf("%v,%s=%v", t.front.Addr(), secret.Host, t.shore.site)}, nil
		},
		meanwhile: func(t *trial) error {
			span := 2*t.span() + time.Second
			quiet, err := t.shore.look(t, span)
			if err != nil {
				return err
			}
			t.notef("quiet: %v", quiet)
			for _, rate := range rates {
				if err := t.shore.endure(t, salvo{To: t.addr, Kind: k, Rate: rate, Span: span + 2*ebb}); err != nil {
					return fmt.Errorf("%d a second: %w", rate, err)
				}
			}
			return nil
		},
	}
}

// ebb is how much longer than the look at it a flood is, before and after.
const ebb = time.Second / 2

// verdicts are what the proxy is to say of a kind: a label of its count of handshakes.
var verdicts = map[kind]string{foreignKind: "bad_digest", signedKind: "frame_end", replayedKind: "replay", lateKind: "clock_skew"}

// shore is both ends of a flood, each a process of its own that costs little: who sends it, and the web site that it is led to, which says
// something of a flight's length and computes nothing. Strangers that are no part of the flood have another site.
type shore struct {
	sender *remote.Process
	far    *remote.Process
	site   netip.AddrPort
}

func newShore(t *trial) (s *shore, err error) {
	s = &shore{}
	if s.sender, err = t.other(senderWord); err != nil {
		return nil, err
	}
	if s.far, err = t.other(siteWord); err != nil {
		return nil, err
	}
	a := far.Addresses{Front: netip.MustParseAddrPort("127.0.0.1:0")}
	err = s.far.Call("listen", a, &a, patience)
	s.site = a.Front
	return s, err
}

// other starts this program as another of its processes. It ends with the trial.
func (t *trial) other(word string) (*remote.Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, word)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p, err := remote.Start(cmd)
	if err == nil {
		t.atEnd(p.Stop)
	}
	return p, err
}

// endure has a flood come, and tells what it does to the handshakes of others.
func (s *shore) endure(t *trial, o salvo) error {
	series := fmt.Sprintf("sluice_handshakes_total{result=%q}", verdicts[o.Kind])
	before, err := t.proxy.Metric(series)
	if err != nil {
		return err
	}
	var h hits
	sent := make(chan error, 1)
	go func() { sent <- s.sender.Call("send", o, &h, o.Span+patience) }()
	time.Sleep(ebb) // until it has come up
	loud, err := s.look(t, o.Span-2*ebb)
	if err = errors.Join(err, <-sent); err != nil {
		return err
	}
	a := func(n int) float64 { return float64(n) / h.Took.Seconds() } // second
	t.notef("%.0f of %d a second, %.0f answered: %v", a(h.Sent), o.Rate, a(h.Answered), loud)
	if h.Answered == 0 {
		return fmt.Errorf("none of %d hellos was answered", h.Sent)
	}
	return t.awaitMetric(series, before+float64(h.Answered-built)) // replayed ones were good once
}
