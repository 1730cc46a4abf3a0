package e2e

import (
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"sluice/bench/client"
	"sluice/bench/stand"
)

// tailSizes reach over every edge of the data path: a record, a scratch buffer, a pipe.
var tailSizes = []uint64{
	1, 2, 15, 100, 1459, 1460, 4096, 16383, 16384, 16385, 16400, 16401, 16402, 32801, 32802, 32803, 65535, 65536,
	131_072, 262_143, 262_144, 262_145, 262_144 + 16401, 500_000, 1 << 20, 1<<20 + 1, 4<<20 - 1, 4 << 20,
}

const (
	everyTime   = 100 // rounds of each size
	oftenEnough = 20
	tailWorkers = 8
)

// tails runs so many transfers of each size, several at once.
func tails(t *testing.T, rounds int, f func(size, seed uint64) error) {
	t.Helper()
	jobs := make(chan uint64)
	var mu sync.Mutex
	failed := map[uint64][]error{}
	var workers sync.WaitGroup
	for range tailWorkers {
		workers.Go(func() {
			for size := range jobs {
				if err := f(size, rand.Uint64()); err != nil {
					mu.Lock()
					failed[size] = append(failed[size], err)
					mu.Unlock()
				}
			}
		})
	}
	for _, size := range tailSizes {
		for range rounds {
			jobs <- size
		}
	}
	close(jobs)
	workers.Wait()
	for size, errs := range failed {
		t.Errorf("%d bytes: %d of %d lost something, the first: %v", size, len(errs), rounds, errs[0])
	}
}

// The data centre sends N bytes and closes: all N arrive, and then the end of the stream.
func TestTailDown(t *testing.T) {
	eachMode(t, func(t *testing.T, mode env) {
		r := startRig(t, mode)
		tails(t, everyTime, func(size, seed uint64) error {
			c, err := r.open(client.Config{})
			if err != nil {
				return err
			}
			defer c.Close()
			if _, err := c.Write(stand.Request{Op: stand.DownClose, Size: size, Seed: seed}.Bytes()); err != nil {
				return err
			}
			return stand.CheckRest(c, seed, int64(size))
		})
		wantMetric(t, r.proxy, `sluice_connections{state="relay"}`, 0)
		quiet(t, r.proxy)
	})
}

// The client ends its direction right behind its request: the data centre hears of that, and what it has still comes.
func TestTailDownHalfClosed(t *testing.T) {
	eachMode(t, func(t *testing.T, mode env) {
		r := startRig(t, mode)
		tails(t, oftenEnough, func(size, seed uint64) error {
			c, err := r.open(client.Config{})
			if err != nil {
				return err
			}
			defer c.Close()
			if _, err := c.Write(stand.Request{Op: stand.Down, Size: size, Seed: seed}.Bytes()); err != nil {
				return err
			}
			if err := c.CloseWrite(); err != nil {
				return err
			}
			return stand.CheckRest(c, seed, int64(size))
		})
	})
}

// The data centre ends its direction: the client hears of that, and what it has still arrives.
func TestTailUpHalfClosed(t *testing.T) {
	r := startRig(t, nil)
	tails(t, oftenEnough, func(size, seed uint64) error {
		c, err := r.open(client.Config{})
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Write(stand.Request{Op: stand.Finish}.Bytes()); err != nil {
			return err
		}
		if n, err := io.Copy(io.Discard, c); n != 0 || err != nil {
			return fmt.Errorf("the data centre's end: %d bytes, %w", n, err)
		}
		source := io.LimitReader(stand.NewPattern(seed), int64(size))
		if _, err := io.CopyBuffer(struct{ io.Writer }{c}, source, make([]byte, 30_000)); err != nil {
			return err
		}
		if err := c.CloseWrite(); err != nil {
			return err
		}
		return awaitReceipt(r.dc, stand.PatternReceipt(seed, int64(size)))
	})
}

// The same for a client that reads slowly: the end comes while much is still under way. (Loopback's segments are of 64 KiB, a
// receive buffer near that would measure the kernel's patience.)
func TestTailDownSlowReader(t *testing.T) {
	eachMode(t, func(t *testing.T, mode env) {
		r := startRig(t, mode)
		var workers sync.WaitGroup
		for i, size := range []uint64{100_000, 262_145, 1 << 20, 1<<20 + 1, 3<<20 + 17, 4 << 20, 4<<20 + 1, 5 << 20} {
			workers.Go(func() {
				c, err := r.open(client.Config{ReceiveBuffer: 192 << 10})
				if err != nil {
					t.Errorf("%d bytes: %v", size, err)
					return
				}
				defer c.Close()
				seed := uint64(i)
				_, err = c.Write(stand.Request{Op: stand.DownClose, Size: size, Seed: seed}.Bytes())
				if err == nil {
					err = stand.CheckRest(&dawdler{r: c, every: 64 << 10, pause: 3 * time.Millisecond}, seed, int64(size))
				}
				if err != nil {
					t.Errorf("%d bytes: %v", size, err)
				}
			})
		}
		workers.Wait()
	})
}

// dawdler pauses after every so many bytes: a slow link, not a wait for something.
type dawdler struct {
	r     io.Reader
	every int
	pause time.Duration
	read  int
}

func (d *dawdler) Read(b []byte) (int, error) {
	if d.read >= d.every {
		time.Sleep(d.pause)
		d.read = 0
	}
	n, err := d.r.Read(b)
	d.read += n
	return n, err
}

// The client sends N bytes and ends its direction: all N arrive at the data centre, and its answer comes back.
func TestTailUpHalfClose(t *testing.T) {
	r := startRig(t, nil)
	tails(t, everyTime, func(size, seed uint64) error {
		c, err := r.open(client.Config{MaxRecord: []int{2878, 16384, 65535}[seed%3]})
		if err != nil {
			return err
		}
		defer c.Close()
		if err := sendAll(c, size, seed); err != nil {
			return err
		}
		if err := c.CloseWrite(); err != nil {
			return err
		}
		got, err := stand.ReadReceipt(c)
		if err == nil && got != stand.PatternReceipt(seed, int64(size)) {
			err = fmt.Errorf("the data centre took %d bytes, or others", got.Size)
		}
		return err
	})
}

// The client sends N bytes and closes altogether: all N arrive all the same.
func TestTailUpClose(t *testing.T) {
	r := startRig(t, nil)
	tails(t, everyTime, func(size, seed uint64) error {
		c, err := r.open(client.Config{})
		if err != nil {
			return err
		}
		err = sendAll(c, size, seed)
		if closing := c.Close(); err == nil {
			err = closing
		}
		if err != nil {
			return err
		}
		return awaitReceipt(r.dc, stand.PatternReceipt(seed, int64(size)))
	})
}

func sendAll(c io.Writer, size, seed uint64) error {
	if _, err := c.Write(stand.Request{Op: stand.UpToEnd}.Bytes()); err != nil {
		return err
	}
	source := io.LimitReader(stand.NewPattern(seed), int64(size))
	_, err := io.CopyBuffer(struct{ io.Writer }{c}, source, make([]byte, 30_000))
	return err
}

func awaitReceipt(dc *stand.DC, want stand.Receipt) error {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	seen := 0
	for {
		got, changed := dc.Receipts()
		for ; seen < len(got); seen++ {
			if got[seen] == want {
				return nil
			}
		}
		select {
		case <-changed:
		case <-deadline.C:
			return fmt.Errorf("the data centre has no receipt for these %d bytes", want.Size)
		}
	}
}

// The same for those who are at the front, both ways.
func TestTailFronted(t *testing.T) {
	r := startRig(t, nil)
	t.Run("down", func(t *testing.T) {
		tails(t, everyTime, func(size, seed uint64) error {
			c, err := approach(r.proxy.Addr())
			if err != nil {
				return err
			}
			defer c.Close()
			if _, err := c.Write(stand.Request{Op: stand.DownClose, Size: size, Seed: seed}.Bytes()); err != nil {
				return err
			}
			return stand.CheckRest(c, seed, int64(size))
		})
	})
	t.Run("up", func(t *testing.T) {
		tails(t, everyTime, func(size, seed uint64) error {
			c, err := approach(r.proxy.Addr())
			if err != nil {
				return err
			}
			defer c.Close()
			if err := sendAll(c, size, seed); err != nil {
				return err
			}
			if err := c.CloseWrite(); err != nil {
				return err
			}
			got, err := stand.ReadReceipt(c)
			if err == nil && got != stand.PatternReceipt(seed, int64(size)) {
				err = fmt.Errorf("the front took %d bytes, or others", got.Size)
			}
			return err
		})
	})
	wantMetric(t, r.proxy, `sluice_connections{state="front"}`, 0)
}

// A reset of either side is a reset for the other, not an orderly end that would look like the whole of a file.
func TestResetIsMirrored(t *testing.T) {
	eachMode(t, func(t *testing.T, mode env) {
		r := startRig(t, mode)
		for i := range 20 {
			c := r.dial(t, client.Config{})
			request(t, c, stand.Request{Op: stand.Reset})
			if n, err := io.Copy(io.Discard, c); err == nil || isTimeout(err) {
				t.Fatalf("reset %d by the data centre: %d bytes, %v", i, n, err)
			}
		}
		c := r.dial(t, client.Config{})
		request(t, c, stand.Request{Op: stand.Hold})
		eventually(t, "connections at the data centre", func() error {
			if r.dc.Open() != 1 {
				return fmt.Errorf("%d", r.dc.Open())
			}
			return nil
		})
		c.Abort()
		eventually(t, "connections at the data centre", func() error { return wantNone(r.dc.Open()) })
		wantMetric(t, r.proxy, `sluice_connections{state="relay"}`, 0)
	})
}

func wantNone(n int) error {
	if n != 0 {
		return fmt.Errorf("%d are left", n)
	}
	return nil
}
