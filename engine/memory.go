package engine

import (
	"runtime/debug"
	"runtime/metrics"
)

// slack is how much memory the heap may hold for nothing before it is given back to the system. A burst of handshakes leaves
// many times of what its relays need; without a nudge the runtime keeps it until the next collection, which on a quiet
// proxy may never come.
const slack = 2 << 20

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
	if dead+free+unused > slack+live/4 {
		debug.FreeOSMemory()
	}
}
