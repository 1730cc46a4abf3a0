package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"sluice/bench/client"
	"sluice/bench/stand"
)

var wireFaults = []fault{
	{
		name: "one-byte-segments", about: "clients and strangers on a network that cuts everything into single bytes, both ways",
		meanwhile: singleBytes,
	},
	{
		name: "odd-records", about: "records of no length, of the longest, of one byte, and ChangeCipherSpec anywhere: sessions work",
		meanwhile: oddRecords,
	},
	{
		name: "every-record-type", about: "a record of each of the 256 types before the hello, behind it, behind the frame",
		meanwhile: everyRecordType,
	},
	{
		name: "replays", about: "each hello again, from many sources at once: one is served",
		meanwhile: replays,
	},
	{
		name: "resets", floods: true, about: "a reset at every byte of a client's first words, of a session, and of a stranger's visit",
		meanwhile: resets,
	},
	{
		name: "one-way", about: "clients and strangers that only write, only read, or end their direction first",
		meanwhile: oneWay,
	},
}

// singleBytes sends visitors through a hop that hands on one byte at a time.
func singleBytes(t *trial) error {
	h, err := newHop("127.0.0.1:0", t.proxyAddr)
	if err != nil {
		return err
	}
	defer h.close()
	h.set(bytewise)
	times, err := during(8, t.span(), func(i int) error {
		if i%3 == 0 {
			c, err := dialFrom(t.local(), h.addr)
			if err != nil {
				return err
			}
			return visit(c)
		}
		c, err := t.clientAs(client.Config{Addr: h.addr, Hello: client.Hello{Hybrid: i%2 == 0}})
		if err != nil {
			return err
		}
		return visit(c)
	})
	t.notef("%d visits", times)
	return err
}

// oddRecords puts records that carry nothing between those that do.
func oddRecords(t *trial) error {
	nothing := [][]byte{{0x17, 3, 3, 0, 0}, {0x14, 3, 3, 0, 1, 1}, {0x14, 3, 3, 0, 1, 1, 0x17, 3, 3, 0, 0, 0x17, 3, 3, 0, 0}}
	times, err := during(8, t.span(), func(i int) error {
		c, err := t.clientAs(client.Config{MaxRecord: []int{1, 2878, 16384, 65535}[i%4], AloneFrame: i%2 == 0})
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		for range 5 {
			size, seed := 1+rand.IntN(100_000), rand.Uint64()
			if i%4 == 0 {
				size %= 5000
			}
			body := make([]byte, size)
			_, _ = stand.NewPattern(seed).Read(body)
			if _, err := c.Write(append(stand.Request{Op: stand.Up, Size: uint64(size)}.Bytes(), body...)); err != nil {
				return err
			}
			got, err := stand.ReadReceipt(c)
			if err != nil || got != stand.PatternReceipt(seed, int64(size)) {
				return fmt.Errorf("%d of %d bytes taken: %w", got.Size, size, err)
			}
			if _, err := c.TCPConn.Write(nothing[rand.IntN(len(nothing))]); err != nil {
				return err
			}
		}
		return nil
	})
	t.notef("%d sessions", times)
	return err
}

// everyRecordType sends each type where a hello, a frame and data belong. What cannot be understood ends the connection, at once or
// when its handshake's time is over; it never hangs.
func everyRecordType(t *trial) error {
	return atOnce(100, 3*256, func(i int) error {
		kind, stage := byte(i), i/256
		body := make([]byte, 1+rand.IntN(100))
		record := append([]byte{kind, 3, 3, 0, byte(len(body))}, body...)
		if stage == 0 {
			c, err := t.approach(t.addr, record)
			if err != nil {
				return err
			}
			defer c.Close()
			_ = c.CloseWrite()
			return awaitEnd(c, "first", kind)
		}
		c, err := t.client(goodDC)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		if stage == 2 {
			if err := exchange(c); err != nil {
				return err
			}
			if kind == 0x14 || kind == 0x17 { // which belong there
				return nil
			}
		}
		if _, err := c.TCPConn.Write(record); err != nil && !isEnd(err) {
			return err
		}
		return awaitEnd(c.TCPConn, []string{"", "behind the hello", "behind the frame"}[stage], kind)
	})
}

// awaitEnd reads until the other side ends the connection, which it must.
func awaitEnd(c net.Conn, where string, kind byte) error {
	if _, err := io.Copy(io.Discard, struct{ io.Reader }{c}); isTimeout(err) {
		return fmt.Errorf("a record of type %#x %s: the connection stays", kind, where)
	}
	return nil
}

// replays sends each hello from forty sources at the same time.
func replays(t *trial) error {
	const sources = 40
	rounds := 20
	if t.long {
		rounds = 200
	}
	for round := range rounds {
		var served atomic.Int64
		hello := signed()
		err := atOnce(sources, sources, func(int) error {
			c, err := t.clientAs(client.Config{Raw: hello})
			if err == nil {
				served.Add(1)
				_ = c.Close()
			}
			return nil
		})
		if err != nil {
			return err
		}
		if n := served.Load(); n != 1 {
			return fmt.Errorf("hello %d was served %d times", round, n)
		}
	}
	t.notef("%d hellos, %d times each", rounds, sources)
	return nil
}

// resets breaks connections off after every number of bytes.
func resets(t *trial) error {
	begin := func(i int) error { // in what comes before the flight
		hello := signed()
		c, err := t.approach(t.addr, hello[:i%(len(hello)+1)])
		if err == nil {
			time.Sleep(time.Duration(i%4) * 200 * time.Microsecond)
			abort(c)
		}
		return err
	}
	session := func(i int) error { // behind it
		c, err := t.client(goodDC)
		if err != nil {
			return err
		}
		defer c.Abort()
		if i%4 == 0 {
			return nil
		}
		if i%4 == 1 {
			_, err = c.TCPConn.Write([]byte{0x14, 3, 3, 0, 1, 1, 0x17, 3, 3, 0, 64, 1, 2, 3}[:1+i/4%14])
			return err
		}
		_, err = c.Write(stand.Request{Op: stand.Down, Size: 1 << 20, Seed: 1}.Bytes())
		if err == nil && i%4 == 3 {
			_, err = io.CopyN(io.Discard, c, int64(rand.IntN(1<<20)))
		}
		return err
	}
	stranger := func(i int) error {
		c, err := t.approach(t.addr, stand.Request{Op: stand.Down, Size: 1 << 20, Seed: 1}.Bytes()[:i%(stand.RequestLen+1)])
		if err == nil {
			if i%(stand.RequestLen+1) == stand.RequestLen {
				_, err = io.CopyN(io.Discard, c, int64(rand.IntN(1<<20)))
			}
			abort(c)
		}
		return err
	}
	kinds := []func(int) error{begin, session, stranger}
	times, err := during(12, 2*t.span(), func(i int) error { return kinds[i%len(kinds)](i / len(kinds)) })
	t.notef("%d connections reset", times)
	return err
}

// oneWay has visitors of both kinds use one direction only.
func oneWay(t *trial) error {
	manners := []func(c stream) error{onlyWrite, onlyRead, endFirst, deaf}
	times, err := during(16, 2*t.span(), func(i int) error {
		var c stream
		var err error
		if i%2 == 0 {
			c, err = t.client(goodDC)
		} else {
			c, err = t.stranger()
		}
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		return manners[i/2%len(manners)](c)
	})
	t.notef("%d visits", times)
	return err
}

// onlyWrite uploads, ends its direction, and leaves without having read a byte.
func onlyWrite(c stream) error {
	if _, err := c.Write(stand.Request{Op: stand.UpToEnd}.Bytes()); err != nil {
		return err
	}
	if _, err := io.CopyN(struct{ io.Writer }{c}, stand.NewPattern(3), 500_000); err != nil {
		return err
	}
	return c.CloseWrite()
}

// onlyRead says what it wants and then takes a megabyte and the end.
func onlyRead(c stream) error {
	if _, err := c.Write(stand.Request{Op: stand.DownClose, Size: 1 << 20, Seed: 4}.Bytes()); err != nil {
		return err
	}
	return stand.CheckRest(c, 4, 1<<20)
}

// endFirst ends its direction with its first words and wants everything all the same.
func endFirst(c stream) error {
	if _, err := c.Write(stand.Request{Op: stand.DownClose, Size: 300_000, Seed: 5}.Bytes()); err != nil {
		return err
	}
	if err := c.CloseWrite(); err != nil {
		return err
	}
	return stand.CheckRest(c, 5, 300_000)
}

// deaf asks for much, reads nothing, and leaves.
func deaf(c stream) error {
	if _, err := c.Write(stand.Request{Op: stand.Down, Size: 64 << 20}.Bytes()); err != nil {
		return err
	}
	time.Sleep(50 * time.Millisecond)
	return nil
}
