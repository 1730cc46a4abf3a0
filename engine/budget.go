package engine

import (
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"sluice/splice"
)

const (
	// baseDescriptors are those the process holds whatever it carries: standard streams, admin, resolver, state files.
	baseDescriptors = 64
	// perLoop are those of a gnet loop and a relay loop: epolls, events, a listener, the pipes that records are woven with.
	perLoop = 12
	// reserve is kept free above that: gnet stops its whole engine when accept finds no descriptor, so admission must stop
	// well before.
	reserve = 64
	// perRelay is what a relay may hold for a moment: client, upstream, and the client's first descriptor while gnet closes it.
	perRelay = 3
	// perClient is what a client holds: its own connection and the one to Telegram.
	perClient = 2

	pipesPerLoop = 32
	allPipes     = 112 // of 512 KiB: what an unprivileged user may have, less some
)

// budget is the process's account of descriptors and connections. Any goroutine may use it.
type budget struct {
	descriptors int64        // there may be so many
	base        int64        // of them, for what is no connection
	connections int64        // clients at once
	handshakes  int64        // of them unfinished
	pending     atomic.Int64 // connections in gnet
	relayed     func() int64 // descriptors in the splice loops
	relays      func() int64 // relays in the splice loops
	waiting     func() int64 // strangers in line for a place at the front
}

// refusal says which limit a new connection would break; none is "".
type refusal string

const (
	refusedDescriptors refusal = "fds"
	refusedConnections refusal = "connections"
	refusedHandshakes  refusal = "handshakes"
	refusedDraining    refusal = "draining"
	refusedOutsider    refusal = "outsider" // not from the load balancer's ranges
)

// usualDescriptors is what a process may have where nobody has said otherwise.
const usualDescriptors = 1024

// raiseDescriptors lifts RLIMIT_NOFILE to its hard limit and returns what now holds, as far as it is known: also with an error.
func raiseDescriptors() (int64, error) {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return usualDescriptors, fmt.Errorf("getrlimit: %w", err)
	}
	var err error
	if now := r.Cur; r.Cur < r.Max {
		r.Cur = r.Max
		if err = unix.Setrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
			r.Cur, err = now, fmt.Errorf("setrlimit: %w", err)
		}
	}
	return int64(min(r.Cur, 1<<30)), err
}

// Needs is what a proxy takes of the host that it runs on.
type Needs struct {
	// Base are the descriptors that are for no client, Reserve those of them that sluice_fds_limit leaves out, and PerClient those of a client.
	Base, Reserve, PerClient int64
	// Pipes is how many pipes there are, PipeSize the bytes that each is asked to hold.
	Pipes, PipeSize int
}

// NeedsOf are those of a proxy of so many loops.
func NeedsOf(loops int) Needs { return needsOf(loops, loops*pipesOf(loops)) }

func needsOf(loops, pipes int) Needs {
	base := reserve + baseDescriptors + perLoop*int64(loops) + 2*int64(pipes) + perClient*perRelay
	return Needs{Base: base, Reserve: reserve, PerClient: perClient, Pipes: pipes, PipeSize: splice.PipeSize}
}

// pipesOf is how many pipes each of so many loops has.
func pipesOf(loops int) int { return max(min(pipesPerLoop, allPipes/loops), 1) }

// newBudget divides the descriptors there are. A limit of 0 connections means as many as fit.
func newBudget(descriptors int64, loops, pipes, connections int) *budget {
	b := &budget{descriptors: descriptors - reserve, base: baseDescriptors + perLoop*int64(loops)}
	need := needsOf(loops, pipes)
	fit := max((descriptors-need.Base)/need.PerClient, 8)
	b.connections = int64(connections)
	if connections <= 0 || b.connections > fit {
		b.connections = fit
	}
	b.handshakes = max(min(b.connections/2, maxHandshakes), 4)
	return b
}

// spareDescriptors says whether n more descriptors, and some to breathe, can be had now.
func spareDescriptors(n int) bool {
	var got []int
	defer func() {
		for _, fd := range got {
			_ = unix.Close(fd)
		}
	}()
	for range n + 8 {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
		if err != nil {
			return false
		}
		got = append(got, fd)
	}
	return true
}

// maxHandshakes bounds the connections that have not finished their handshake.
const maxHandshakes = 8192

// used is an upper bound of the descriptors held.
func (b *budget) used() int64 { return b.base + b.pending.Load() + b.waiting() + b.relayed() }

// admit says whether one more connection, which pending already counts, can be carried.
func (b *budget) admit() refusal {
	switch {
	case b.used()+perRelay > b.descriptors:
		return refusedDescriptors
	case b.pending.Load()+b.waiting()+b.relays() > b.connections:
		return refusedConnections
	}
	return ""
}
