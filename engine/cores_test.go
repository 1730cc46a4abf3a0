package engine

import (
	"runtime"
	"testing"
)

// Every loop, of gnet's and of the relays', has a turn of its own, however many engines are made.
func TestTurnForEachLoop(t *testing.T) {
	first, second := offline(t), offline(t)
	if len(first.loops) != len(second.loops) {
		t.Errorf("%d loops, and %d of the next engine", len(first.loops), len(second.loops))
	}
	if turns := runtime.GOMAXPROCS(0); turns < 2*len(first.loops) {
		t.Errorf("%d turns for %d loops of each kind", turns, len(first.loops))
	}
}
