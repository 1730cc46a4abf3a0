package splice

import "sync/atomic"

// Path is the way bytes took through a loop.
type Path uint8

// The paths.
const (
	Spliced Path = iota // through a pipe, never in our memory
	Copied              // read and sent, unchanged
	Crypted             // read, decrypted, encrypted, sent
	Paths
)

var pathNames = [Paths]string{"splice", "copy", "crypt"}

// String is the path as metrics name it.
func (p Path) String() string { return pathNames[p] }

// Kind tells the relays to a DC from those to a front, in counters.
type Kind uint8

// The kinds.
const (
	ToDC Kind = iota
	ToFront
	Kinds
)

func (m Mode) kind() Kind {
	if m == Raw {
		return ToFront
	}
	return ToDC
}

// Lanes is how many accounts of bytes there are: Relay.Lane is below it.
const Lanes = 8

// Traffic is what relays have carried, in bytes of payload: by kind, half (0 up, 1 down) and path.
type Traffic [Kinds][2][Paths]atomic.Uint64

// Stats are a loop's counters. The loop writes them, anybody may read them.
type Stats struct {
	Bytes     [Lanes]Traffic      // by lane
	Relays    [Kinds]atomic.Int64 // open or being dialled
	Shadows   atomic.Int64        // relays without a client, a part of Relays
	PipesIdle atomic.Int64
	PipesBusy atomic.Int64
	PipeSize  atomic.Int64
	Splices   atomic.Bool   // whether downloads go through pipes, in the kernel alone
	NoPipe    atomic.Uint64 // bursts that had to be copied, for want of a pipe
	Reclaimed atomic.Uint64 // stalled pipes drained into memory
	HeldBytes atomic.Int64  // in chunks of relays whose sink is full
	Panics    atomic.Uint64
	Turns     atomic.Uint64 // wake-ups: a watchdog sees from them that the loop lives
}

// Descriptors is how many descriptors the loop holds.
func (s *Stats) Descriptors() int64 {
	relays := s.Relays[ToDC].Load() + s.Relays[ToFront].Load()
	return 2*relays - s.Shadows.Load() + 2*(s.PipesIdle.Load()+s.PipesBusy.Load())
}
