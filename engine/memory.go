package engine

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
)

// The heap is small and mostly long-lived: established relays, a few hundred bytes each. What a collection costs goes with
// that, what it saves goes with the handshakes since the last one; so collections may come twice as often as by default.
const collectAt = 50 // per cent of the live heap

// tuneCollector sets how much garbage the heap may hold, unless the operator has.
func tuneCollector() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
}

// slack is how much memory the heap may hold for nothing before it is given back to the system. A burst of handshakes leaves
// many times of what its relays need; without a nudge the runtime keeps it until the next collection, which on a quiet
// proxy may never come.
const slack = 1 << 20

var heapClasses = []metrics.Sample{
	{Name: "/memory/classes/heap/objects:bytes"}, // live, and dead but not collected
	{Name: "/memory/classes/heap/free:bytes"},
	{Name: "/memory/classes/heap/unused:bytes"},
	{Name: "/gc/heap/live:bytes"}, // what the last collection found
}

// tidy gives the memory that a burst has left back to the system. It is called by the ticker, when little happens.
func tidy() {
	samples := heapClasses
	metrics.Read(samples)
	objects, free, unused, live := samples[0].Value.Uint64(), samples[1].Value.Uint64(), samples[2].Value.Uint64(), samples[3].Value.Uint64()
	dead := objects - min(live, objects)
	if dead+free+unused > slack+live/8 {
		debug.FreeOSMemory()
	}
}
