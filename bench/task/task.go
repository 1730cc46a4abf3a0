// Package task is what the load asks of the far side, and the bytes that both know.
package task

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
)

// Op is what a Task asks for.
type Op uint8

// The operations. Blind ones are for measuring: nobody looks at the bytes.
const (
	Down      Op = iota + 1 // send Down bytes of the pattern; then the next task
	Up                      // take Up bytes of the pattern, answer AckLen bytes of it; then the next task
	Source                  // blind: send Down bytes, without end if that is 0, and discard whatever comes
	Sink                    // blind: discard whatever comes
	Exchange                // blind: for every Up bytes taken, send Down bytes
	Exchanges               // the same with bytes of the pattern both ways
)

// Task is Len bytes on the wire.
type Task struct {
	Op       Op
	Up, Down uint64 // bytes
	Seed     uint64 // of the pattern
}

const (
	// Len is a task's length on the wire, in bytes.
	Len = 32
	// AckLen is how many bytes of the pattern say that an upload was right.
	AckLen = 8
)

var magic = [4]byte{'S', 'L', 'T', 'K'}

// ErrNoTask says that the bytes are not a task's.
var ErrNoTask = errors.New("no task")

// Append appends t to dst.
func (t Task) Append(dst []byte) []byte {
	dst = append(dst, magic[:]...)
	dst = append(dst, byte(t.Op), 0, 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, t.Up)
	dst = binary.LittleEndian.AppendUint64(dst, t.Down)
	return binary.LittleEndian.AppendUint64(dst, t.Seed)
}

// Parse reads a task from Len bytes.
func Parse(b []byte) (Task, error) {
	if len(b) < Len || [4]byte(b) != magic || b[4] == 0 || Op(b[4]) > Exchanges {
		return Task{}, ErrNoTask
	}
	n := binary.LittleEndian.Uint64
	t := Task{Op: Op(b[4]), Up: n(b[8:]), Down: n(b[16:]), Seed: n(b[24:])}
	if t.Up == 0 && (t.Op == Exchange || t.Op == Exchanges) {
		return Task{}, ErrNoTask
	}
	return t, nil
}

// period is the length after which the pattern repeats: no multiple of anything that a buffer, a page or a record is.
const period = 1<<20 - 3

// pattern is incompressible, and the same in every process.
var pattern = func() []byte {
	b := make([]byte, period)
	_, _ = rand.NewChaCha8([32]byte{'s', 'l', 'u', 'i', 'c', 'e'}).Read(b)
	return b
}()

// Noise is one period of the pattern, which must not be changed.
func Noise() []byte { return pattern }

func start(seed, offset uint64) int { return int((seed*0x9e3779b97f4a7c15>>20 + offset) % period) }

// Fill fills b with the pattern of seed from offset on.
func Fill(b []byte, seed, offset uint64) {
	at := start(seed, offset)
	for len(b) > 0 {
		n := copy(b, pattern[at:])
		b, at = b[n:], 0
	}
}

// Matches says whether b is the pattern of seed from offset on.
func Matches(b []byte, seed, offset uint64) bool {
	at := start(seed, offset)
	for len(b) > 0 {
		n := min(len(b), period-at)
		if !bytes.Equal(b[:n], pattern[at:at+n]) {
			return false
		}
		b, at = b[n:], 0
	}
	return true
}
