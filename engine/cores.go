package engine

import (
	"runtime"
	"sync"
)

// cores is for how many CPUs loops are made: one of gnet's and one relay loop for each.
//
// A goroutine that runs holds one of Go's turns (its Ps), of which there are as many as CPUs, and a loop keeps its own while it waits for events, until Go's
// monitor takes it away: when the process is nearly idle that may be 10 ms later, in which a loop that has woken finds no turn though the
// machine has nothing to do. So there is a turn for each loop, and the kernel shares the CPUs out. In docs/performance.md is what that costs and saves.
var cores = sync.OnceValue(func() int {
	n := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(2 * n)
	return n
})
