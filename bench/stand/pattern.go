package stand

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
)

// Pattern is the endless payload that belongs to a seed: incompressible, and the same on both sides. One goroutine at a time.
type Pattern struct{ r *rand.ChaCha8 }

// NewPattern starts the stream of the given seed.
func NewPattern(seed uint64) *Pattern {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	return &Pattern{r: rand.NewChaCha8(key)}
}

// Read fills b with the next bytes. It never fails.
func (p *Pattern) Read(b []byte) (int, error) { return p.r.Read(b) }

// Check compares what it is given with a pattern. One goroutine at a time.
type Check struct {
	pattern *Pattern
	want    []byte
	seen    int64
}

// NewCheck compares with the stream of the given seed, from its start.
func NewCheck(seed uint64) *Check { return &Check{pattern: NewPattern(seed)} }

// Seen is how many bytes were right so far.
func (c *Check) Seen() int64 { return c.seen }

// Write fails at the first byte that is not the pattern's.
func (c *Check) Write(b []byte) (int, error) {
	if cap(c.want) < len(b) {
		c.want = make([]byte, len(b))
	}
	want := c.want[:len(b)]
	_, _ = c.pattern.Read(want)
	if !bytes.Equal(want, b) {
		i := 0
		for want[i] == b[i] {
			i++
		}
		return i, fmt.Errorf("byte %d is not what was sent", c.seen+int64(i))
	}
	c.seen += int64(len(b))
	return len(b), nil
}

// CheckStream reads exactly size bytes from r and compares them with the stream of seed.
func CheckStream(r io.Reader, seed uint64, size int64) error {
	n, err := io.CopyBuffer(NewCheck(seed), io.LimitReader(r, size), make([]byte, 64<<10))
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("after %d of %d bytes: %w", n, size, err)
	}
	return nil
}

// CheckRest reads r to its end, which must be an orderly one after exactly size bytes of the stream of seed.
func CheckRest(r io.Reader, seed uint64, size int64) error {
	if err := CheckStream(r, seed, size); err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, io.LimitReader(r, 1))
	switch {
	case err != nil:
		return fmt.Errorf("after all of %d bytes: %w", size, err)
	case n > 0:
		return fmt.Errorf("more than the %d bytes that were sent", size)
	}
	return nil
}
