package engine

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/panjf2000/gnet/v2"

	"sluice/bench/client"
	"sluice/splice"
	"sluice/splice/wheel"
)

// blocker is a relay's owner that stands still when its relay ends, and the loop with it.
type blocker struct{ entered, leave chan struct{} }

func (b blocker) Dialed(netip.AddrPort, error, time.Duration) {}
func (b blocker) Spoke(bool)                                  {}
func (b blocker) Closed(splice.End) {
	close(b.entered)
	<-b.leave
}

// Run is the same for a loop of gnet.
func (b blocker) Run(context.Context) error {
	b.Closed(splice.End{})
	return nil
}

// A loop that stands still is named by the health page, the metrics and the log, with the goroutines' stacks, and it is well when it
// goes on. The other loops and their sessions are not concerned.
func TestWatchdog(t *testing.T) {
	for name, stall := range map[string]func(p *proxy, b blocker){
		"relay": func(p *proxy, b blocker) {
			if _, err := p.loops[0].Add(splice.Relay{Client: -1, Mode: splice.Raw, Addrs: []netip.AddrPort{}, Owner: b}); err != nil {
				p.t.Fatal(err)
			}
			p.loops[0].Drop(1)
		},
		"accept": func(p *proxy, b blocker) {
			p.session(client.Config{}) // before it, no loop of gnet is known
			p.handler.Load().each(func(s *shard) {
				if s.index == 0 {
					_ = s.loop.Execute(context.Background(), b)
				}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t)
			b := blocker{entered: make(chan struct{}), leave: make(chan struct{})}
			stall(p, b)
			<-b.entered
			var stalled stalledError
			p.eventually("the stall is noticed", func() bool { return errors.As(p.healthy(), &stalled) })
			if stalled.loop != name+" 0" || stalled.since < stallLooks*watchEvery {
				t.Errorf("%v", stalled)
			}
			var page bytes.Buffer
			p.writeMetrics(&page)
			if want := `sluice_loop_stalled{loop="` + name + ` 0"} 1`; !strings.Contains(page.String(), want) {
				t.Errorf("no %s", want)
			}
			p.eventually("the log shows the stacks", func() bool { return strings.Contains(p.log.String(), "blocker.Closed") })
			close(b.leave)
			p.eventually("it is well again", func() bool { return p.healthy() == nil })
			p.eventually("the log says so", func() bool { return strings.Contains(p.log.String(), "a loop turns again") })
			if n := strings.Count(p.log.String(), "stacks="); n != 1 {
				t.Errorf("the stacks were logged %d times", n)
			}
			p.download(p.session(client.Config{}), 1000)
		})
	}
}

// A loop that is busy, so that at every look something is asked of it that it has not come to yet, turns nevertheless.
func TestWatchdogOfABusyLoop(t *testing.T) {
	e := &Engine{epoch: time.Now(), log: slog.New(slog.DiscardHandler)}
	h := &handler{engine: e, shards: map[gnet.EventLoop]*shard{}}
	l := &laterLoop{}
	s := &shard{e: e, handler: h, loop: l, wheel: wheel.New(sweepEvery, sweepSlots, 0)}
	h.shards[l] = s
	e.handler.Store(h)
	for i := range 3 * stallLooks {
		e.look(t.Context()) // asks
		l.turn()
		s.ask(t.Context()) // the ticker does
		if _, err := e.Alive(); err != nil {
			t.Fatalf("look %d: %v", i, err)
		}
	}
	for range stallLooks + 1 { // the first still sees the last turn
		e.look(t.Context())
	}
	if _, err := e.Alive(); err == nil {
		t.Error("it has stopped, and nobody says so")
	}
}

// laterLoop does what it is asked in its next turn.
type laterLoop struct {
	gnet.EventLoop
	asked []gnet.Runnable
}

func (l *laterLoop) Execute(_ context.Context, r gnet.Runnable) error {
	l.asked = append(l.asked, r)
	return nil
}

func (l *laterLoop) turn() {
	for _, r := range l.asked {
		_ = r.Run(context.Background())
	}
	l.asked = nil
}

// Looks that come one after the other, with no time in between, are no stall either: a loop that has been asked has its turn first.
func TestWatchdogOfIdleLoops(t *testing.T) {
	p := start(t)
	p.session(client.Config{})
	from, _ := p.Alive()
	p.eventually("some looks", func() bool { n, _ := p.Alive(); return n >= from+3 })
	if _, err := p.Alive(); err != nil {
		t.Error(err)
	}
	var page bytes.Buffer
	p.writeMetrics(&page)
	if n := strings.Count(page.String(), "\nsluice_loop_stalled{"); n < len(p.loops)+1 || strings.Contains(page.String(), `"} 1`+"\nsluice_loop_stalled") {
		t.Errorf("%d loops, all of them idle:\n%s", n, page.String())
	}
}
