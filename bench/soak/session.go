package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"

	"sluice/bench/client"
	"sluice/bench/stand"
)

// kind is what a connection is there for: an index of kinds.
type kind int

// kinds are all that comes and goes. What has a session is a client's; the others are strangers or not welcome.
var kinds = []struct {
	name    string
	weight  int
	session func(*session) error
	visit   func(*visit) error
}{
	{name: "chat", weight: 34, session: (*session).chat},
	{name: "idle", weight: 16, session: (*session).rest},
	{name: "download", weight: 12, session: (*session).downloads},
	{name: "upload", weight: 8, session: (*session).uploads},
	{name: "forgotten", weight: 2, session: (*session).forgotten},
	{name: "browser", weight: 6, visit: (*visit).browse},
	{name: "silent", weight: 4, visit: (*visit).silent},
	{name: "garbage", weight: 4, visit: (*visit).garbage},
	{name: "half hello", weight: 4, visit: (*visit).halfHello},
	{name: "reset", weight: 4, visit: (*visit).reset},
	{name: "replay", weight: 2, visit: (*visit).replay},
	{name: "wrong clock", weight: 2, visit: (*visit).wrongClock},
	{name: "wrong key", weight: 2, visit: (*visit).wrongKey},
}

// patience bounds every single wait for the other side.
const patience = 30 * time.Second

// session is a client with the secret. One goroutine.
type session struct {
	ctx   context.Context
	rig   *rig
	rnd   *rand.Rand
	until time.Time // it wants to stay so long
	conn  *client.Conn
	bytes int64 // that were checked
}

// attend lives through one plan and enters how it ended.
func (s *soak) attend(ctx context.Context, p plan) {
	k := kinds[p.kind]
	rnd := rand.New(rand.NewPCG(p.seed, 2))
	if k.visit != nil {
		s.visit(ctx, k.name, rnd, k.visit)
		return
	}
	cfg := client.Config{
		DC: steadyDC, Hello: client.Hello{Hybrid: rnd.IntN(2) == 0}, AloneFrame: rnd.IntN(4) == 0,
		Tag:       []uint32{client.Padded, client.Intermediate, client.Abridged}[rnd.IntN(3)],
		MaxRecord: []int{2878, 16384, 65535, 1000}[rnd.IntN(4)],
	}
	if rnd.IntN(5) == 0 {
		cfg.DC = lameDC
	}
	if rnd.IntN(3) == 0 {
		cfg.Secret = s.rig.keys.current()
	}
	s.session(ctx, k.name, p.life, rnd, cfg, k.session)
}

// session opens a session, lets it do its work for a life, and enters how it ended.
func (s *soak) session(ctx context.Context, name string, life time.Duration, rnd *rand.Rand, cfg client.Config, work func(*session) error) {
	x := &session{ctx: ctx, rig: s.rig, rnd: rnd}
	e := end{Kind: name, DC: cfg.DC, From: s.ledger.now()}
	s.ledger.begin()
	err := x.open(cfg)
	if err == nil {
		e.Opened = s.ledger.now()
		x.until = time.Now().Add(life)
		err = x.work(work)
	}
	s.ledger.close(ctx, e, x.bytes, err)
}

// open connects and has a first answer from the data centre.
func (x *session) open(cfg client.Config) (err error) {
	if x.conn, err = x.rig.dial(x.ctx, cfg); err != nil {
		return err
	}
	if err = x.down(uint64(1 + x.rnd.IntN(200))); err != nil {
		_ = x.conn.Close()
	}
	return err
}

// work runs a session that is open, and closes it, at the latest when ctx ends.
func (x *session) work(work func(*session) error) error {
	stop := context.AfterFunc(x.ctx, func() { _ = x.conn.Close() })
	defer stop()
	defer x.conn.Close()
	return work(x)
}

func (x *session) over() bool { return !time.Now().Before(x.until) }

func (x *session) hurry() { _ = x.conn.SetDeadline(time.Now().Add(patience)) }

// down asks for size bytes and checks them.
func (x *session) down(size uint64) error { return x.slowDown(size, 0) }

// slowDown does the same and pauses after every 64 KiB: a client on a slow line.
func (x *session) slowDown(size uint64, pause time.Duration) error {
	x.hurry()
	seed := x.rnd.Uint64()
	if _, err := x.conn.Write(stand.Request{Op: stand.Down, Size: size, Seed: seed}.Bytes()); err != nil {
		return err
	}
	check := stand.NewCheck(seed)
	for got := int64(0); got < int64(size); {
		n, err := io.CopyBuffer(check, io.LimitReader(x.conn, min(64<<10, int64(size)-got)), make([]byte, 16<<10))
		if err == nil && n == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return fmt.Errorf("download, after %d of %d bytes: %w", got+n, size, err)
		}
		got += n
		if pause > 0 {
			time.Sleep(pause)
		}
	}
	x.bytes += int64(size)
	return nil
}

// up sends size bytes and checks what the data centre says it took.
func (x *session) up(size int64) error {
	x.hurry()
	seed := x.rnd.Uint64()
	if _, err := x.conn.Write(stand.Request{Op: stand.Up, Size: uint64(size)}.Bytes()); err != nil {
		return err
	}
	source := io.LimitReader(stand.NewPattern(seed), size)
	if _, err := io.CopyBuffer(struct{ io.Writer }{x.conn}, source, make([]byte, 50_000)); err != nil {
		return fmt.Errorf("upload of %d bytes: %w", size, err)
	}
	got, err := stand.ReadReceipt(x.conn)
	if err != nil {
		return fmt.Errorf("receipt for %d bytes: %w", size, err)
	}
	if got != stand.PatternReceipt(seed, size) {
		return fmt.Errorf("the data centre took %d bytes of %d, or others", got.Size, size)
	}
	x.bytes += size
	return nil
}

// pause lets nothing happen for a while, or until the session has lived its life. Whatever comes meanwhile is wrong; an end is
// noticed at once.
func (x *session) pause(d time.Duration) error {
	_ = x.conn.SetReadDeadline(time.Now().Add(min(d, time.Until(x.until))))
	n, err := x.conn.TCPConn.Read(make([]byte, 1))
	switch {
	case n > 0:
		return errUnasked
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil
	}
	return fmt.Errorf("at rest: %w", err)
}

var errUnasked = errors.New("bytes came that nobody had asked for")

// think is how long a client waits before it goes on: never so long that the session would count as idle.
func (x *session) think(mean time.Duration) time.Duration {
	return min(time.Duration(x.rnd.ExpFloat64()*float64(mean)), x.rig.idle/2)
}

// echo says n bytes and expects to hear them again.
func (x *session) echo(n int) error {
	x.hurry()
	said, heard := make([]byte, n), make([]byte, n)
	_, _ = stand.NewPattern(x.rnd.Uint64()).Read(said)
	if _, err := x.conn.Write(said); err != nil {
		return err
	}
	if _, err := io.ReadFull(x.conn, heard); err != nil {
		return fmt.Errorf("echo of %d bytes: %w", n, err)
	}
	if !bytes.Equal(said, heard) {
		return errEcho
	}
	x.bytes += 2 * int64(n)
	return nil
}

var errEcho = errors.New("the echo is not what was said")

// chat exchanges messages, then ends its direction and expects the other to end in good order, or leaves without a word.
func (x *session) chat() error {
	x.hurry()
	if _, err := x.conn.Write(stand.Request{Op: stand.Echo}.Bytes()); err != nil {
		return err
	}
	for !x.over() {
		if err := x.echo(200 + x.rnd.IntN(3897)); err != nil {
			return err
		}
		if err := x.pause(x.think(3 * time.Second)); err != nil {
			return err
		}
	}
	if x.rnd.IntN(3) == 0 {
		x.conn.Abort()
		return nil
	}
	x.hurry()
	_ = x.conn.CloseWrite()
	n, err := io.Copy(io.Discard, x.conn)
	if err == nil && n > 0 {
		err = errUnasked
	}
	return err
}

// rest says a word every now and then, well within the idle time.
func (x *session) rest() error {
	for !x.over() {
		if err := x.pause(x.rig.idle/6 + x.think(x.rig.idle/12)); err != nil {
			return err
		}
		if err := x.down(uint64(1 + x.rnd.IntN(64))); err != nil {
			return err
		}
	}
	return nil
}

// downloads fetches files, a quarter of them slowly.
func (x *session) downloads() error {
	for {
		size, pause := logarithmic(x.rnd, int64(32<<10), 8<<20), time.Duration(0)
		if x.rnd.IntN(4) == 0 {
			size, pause = min(size, 2<<20), 40*time.Millisecond
		}
		if err := x.slowDown(uint64(size), pause); err != nil {
			return err
		}
		if x.over() {
			return nil
		}
		if err := x.pause(x.think(8 * time.Second)); err != nil {
			return err
		}
	}
}

func (x *session) uploads() error {
	for {
		if err := x.up(logarithmic(x.rnd, int64(8<<10), 4<<20)); err != nil {
			return err
		}
		if x.over() {
			return nil
		}
		if err := x.pause(x.think(8 * time.Second)); err != nil {
			return err
		}
	}
}

// forgotten says nothing more, and expects to be closed when the idle time is over, and not before.
func (x *session) forgotten() error {
	began := time.Now()
	_ = x.conn.SetReadDeadline(began.Add(x.rig.idle + patience))
	n, err := x.conn.TCPConn.Read(make([]byte, 1))
	took := time.Since(began)
	switch {
	case n > 0:
		return errUnasked
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("still there %v after the idle time: %w", patience, errStuck)
	case took < x.rig.idle-2*time.Second:
		return fmt.Errorf("closed after %v: %w", took.Round(time.Millisecond), err)
	}
	return nil
}
