package engine

import (
	"crypto/rand"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/engine/edge"
)

const (
	// loopTime is how long a front may still take to answer a look for whose end a connection waits: where it leads back here it never does.
	loopTime  = 2 * time.Second
	maxParked = 8 // connections for each look
)

// looks are those at fronts that are under way. One that comes back to a listener and gets no answer shows that its front leads back here.
type looks struct {
	some atomic.Int32 // len(all), for those who hold no lock
	mu   sync.Mutex
	all  []*look
}

// look is one look at a front. What it says can be seen by others on its way and be said by them, too: so a connection that repeats it is
// treated like any other, but that from the second on they wait for the look to end, and the first one does where no place is left for it.
type look struct {
	mark [edge.MarkerLen]byte // in its PROXY header, where it has one
	stop func()               // ends it before its time

	// Under the lock of the looks.
	random  [32]byte // of its hello
	sent    bool     // there is one
	returns int
	parked  []*stranger
	over    bool
}

// begin starts a look, which stop ends before its time.
func (l *looks) begin(stop func()) *look {
	k := &look{stop: stop}
	_, _ = rand.Read(k.mark[:]) // never fails
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, k)
	l.some.Store(int32(len(l.all)))
	return k
}

// sends is told the random of k's hello before it goes out.
func (l *looks) sends(k *look, random [32]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k.random, k.sent = random, true
}

// end ends k and says whether it came back, and who waits for its end.
func (l *looks) end(k *look) (cameBack bool, parked []*stranger) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = slices.DeleteFunc(l.all, func(o *look) bool { return o == k })
	l.some.Store(int32(len(l.all)))
	parked, k.parked, k.over = k.parked, nil, true
	return k.returns > 0, parked
}

// marked says whether the mark is that of a look, which then has come back.
func (l *looks) marked(mark []byte) bool {
	if l.some.Load() == 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.all, func(k *look) bool { return string(k.mark[:]) == string(mark) })
	if i >= 0 {
		l.all[i].returns = max(l.all[i].returns, 1)
	}
	return i >= 0
}

// returned is the look whose hello is in said, nil if it is none's; it then has come back once more, and again says that it had before.
func (l *looks) returned(said []byte) (k *look, again bool) {
	if l.some.Load() == 0 {
		return nil, false
	}
	random, ok := helloRandom(said)
	if !ok {
		return nil, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.all, func(k *look) bool { return k.sent && k.random == random })
	if i < 0 {
		return nil, false
	}
	k = l.all[i]
	k.returns++
	return k, k.returns > 1
}

// park keeps s until k is over, which is soon. With false s is to go on.
func (l *looks) park(s *stranger, k *look) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.over || len(k.parked) >= maxParked {
		return false
	}
	if len(k.parked) == 0 {
		time.AfterFunc(loopTime, k.stop)
	}
	k.parked = append(k.parked, s)
	return true
}

// helloRandom is the random of the hello that said begins with, behind the PROXY headers that each way round may have put before it.
func helloRandom(said []byte) (random [32]byte, ok bool) {
	for range maxPassed {
		_, n, err := edge.ParseHeader(said)
		if err != nil {
			break
		}
		said = said[n:]
	}
	const at = 5 + 4 + 2 // behind the record's head, the message's head and the version
	if len(said) < at+len(random) || said[0] != 0x16 || said[5] != 1 {
		return random, false
	}
	return [32]byte(said[at:]), true
}
