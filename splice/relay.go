package splice

import (
	"net/netip"
	"time"

	"sluice/faketls"
	"sluice/obfs"
)

// Mode says what a relay does to the bytes it moves.
type Mode uint8

const (
	// Raw moves both directions untouched: a fronted connection.
	Raw Mode = iota
	// Aligned takes uploads out of their records and through two streams; downloads already are what the client expects and
	// only get record headers (protocol.md 3.3).
	Aligned
	// Recrypt is Aligned with downloads decrypted and encrypted again, so that nothing ties the client's leg to the DC's.
	Recrypt
)

// Relay is what a [Loop] is asked to carry. Its slices belong to the loop once Add has returned nil, but for Addrs, which is
// only read and may be shared.
type Relay struct {
	// Client is the client's non-blocking descriptor, or -1 for a relay whose client comes later by Adopt.
	Client int
	Mode   Mode
	// Addrs are tried in turn until one answers. With Path set it is a unix socket that is dialled instead.
	Addrs []netip.AddrPort
	Path  string
	// Preface goes to the upstream before anything else: our frame to a DC, a PROXY header to a front.
	Preface []byte
	// Early is what the client has sent and nobody has consumed: raw bytes, or records when the mode is not Raw.
	Early []byte
	// Skip is the length of the client's frame at the start of its payload, which the upload streams have to pass over.
	Skip uint8
	// FromClient and ToDC are the upload's streams, FromDC and ToClient those of a Recrypt download. The upload's continue
	// at Skip, the download's start at 0.
	FromClient, ToDC, FromDC, ToClient obfs.Keys
	// Lane is the account that the relay's bytes are counted in, below Lanes.
	Lane uint8
	// Owner hears of the relay's life; it must not be nil.
	Owner Owner
}

// Owner hears of a relay's life. Every call comes on the loop's goroutine and must not block.
type Owner interface {
	// Dialed reports one attempt on an address (the zero one: a unix socket): it took so long, and err says why it failed (nil: it did
	// not).
	Dialed(addr netip.AddrPort, err error, took time.Duration)
	// Spoke reports, once, that the upstream of a relay without a client has sent something or closed; or, with reached
	// false, that no address answers.
	Spoke(reached bool)
	// Closed is the last call: the relay's descriptors are closed.
	Closed(End)
}

// End is how a relay ended.
type End struct {
	Cause    Cause
	Up, Down uint64 // bytes of the client's payload sent on, and of the upstream's
	Lived    time.Duration
}

// Cause says why a relay ended.
type Cause uint8

// The causes of an end.
const (
	Finished       Cause = iota // both halves came to their end
	ClientReset                 // the client's side failed: a reset, a time-out
	UpstreamReset               // the upstream's side failed
	DialFailed                  // no address answered
	ClientProtocol              // the client sent a record it may not send
	Idle                        // no byte in either direction for the idle time
	Stalled                     // one side was gone and the other did not take the rest in time
	Dropped                     // Drop, or the loop was closed
	Exhausted                   // no descriptor or no memory could be had
	Panicked                    // our own broken invariant
	causes
)

var causeNames = [causes]string{
	"finished", "client_reset", "upstream_reset", "dial_failed", "client_protocol", "idle", "stalled", "dropped", "exhausted", "panic",
}

// String is the cause as metrics and logs name it.
func (c Cause) String() string { return causeNames[c] }

// Causes lists every cause.
func Causes() []Cause {
	all := make([]Cause, causes)
	for i := range all {
		all[i] = Cause(i)
	}
	return all
}

type state uint8

const (
	free state = iota
	dialing
	open
	lingering // the tail is leaving one side, which is reset once it has
)

// Sides and halves share their numbers: half h has side h as its source and side 1-h as its sink.
const (
	client   = 0
	upstream = 1
	up       = 0
	down     = 1
)

// Bits of a side.
const (
	canRead  uint8 = 1 << iota
	canWrite       // not known to be full
	hung           // RDHUP, HUP or ERR was seen: a short read does not mean that the next would block
	ended          // its end of stream has been read
	shut           // our end of stream has been sent to it
	broken         // EPOLLERR was seen: what is written to it is lost
)

type side struct {
	fd   int32
	bits uint8
}

func (s *side) has(b uint8) bool { return s.bits&b == b }
func (s *side) set(b uint8)      { s.bits |= b }
func (s *side) clear(b uint8)    { s.bits &^= b }

// half is one direction. What it holds is bounded: one chunk and one pipe.
type half struct {
	rest  *chunk // read and not yet sent, ready for the wire; goes before what is in the pipe
	pipe  *pipe  // borrowed while it holds bytes or the burst lasts
	bytes uint64 // payload sent to the sink
	burst uint8  // see grow and shrink
	bulk  bool   // the last read filled its buffer: use the pipe
	dead  bool   // the sink is gone
}

// relay is one slot of the slab. Loop only.
type relay struct {
	side   [2]side
	half   [2]half
	slot   uint32
	gen    uint32
	state  state
	mode   Mode
	lane   uint8
	queued bool // on the ready list
	spoke  bool
	cause  Cause

	deframer faketls.Deframer
	upload   crypt  // not when Raw
	download *crypt // Recrypt only

	started  int64
	active   int64 // when a byte last moved
	deadline int64 // 0, or when to give up whatever moves
	due      int64 // when the wheel brings it back; 0: not at all

	dial  *dial // until the upstream has answered
	owner Owner
	id    uint64 // of a relay without a client, else 0
}

// slab holds the relays of a loop in blocks that never move. Loop only.
type slab struct {
	blocks []*[slabBlock]relay
	free   []uint32
	used   int
}

const slabBlock = 64

func (s *slab) take() *relay {
	if len(s.free) == 0 {
		base := uint32(len(s.blocks) * slabBlock)
		s.blocks = append(s.blocks, new([slabBlock]relay))
		for i := slabBlock - 1; i >= 0; i-- {
			s.free = append(s.free, base+uint32(i))
		}
	}
	slot := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	s.used++
	r := s.at(slot)
	*r = relay{slot: slot, gen: r.gen + 1}
	r.side[client].fd, r.side[upstream].fd = -1, -1
	return r
}

func (s *slab) at(slot uint32) *relay { return &s.blocks[slot/slabBlock][slot%slabBlock] }

// put frees r's slot. The generation stays, so that events and timers of its last life are known for what they are.
func (s *slab) put(r *relay) {
	*r = relay{slot: r.slot, gen: r.gen, side: [2]side{{fd: -1}, {fd: -1}}}
	s.free = append(s.free, r.slot)
	s.used--
}

func (s *slab) each(f func(*relay)) {
	for _, b := range s.blocks {
		for i := range b {
			if b[i].state != free {
				f(&b[i])
			}
		}
	}
}
