package far

import (
	"crypto/rand"
	"testing"

	"golang.org/x/sys/unix"

	"sluice/bench/poll"
	"sluice/bench/task"
	"sluice/obfs"
)

// pair is a far side with one connection, of which the test has the other end.
func pair(t *testing.T, r role) (*far, *conn, int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := &far{buf: make([]byte, bufLen)}
	if f.poller, err = poll.New(); err != nil {
		t.Fatal(err)
	}
	c := &conn{fd: fds[0], role: r}
	c.begin()
	f.keep(c)
	if err := f.poller.Add(c.fd, poll.In, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.close(c)
		f.poller.Close()
		_ = unix.Close(fds[1])
	})
	return f, c, fds[1]
}

// said is what has been sent to the test's end.
func said(fd int) []byte {
	b := make([]byte, 1<<20)
	n, e := poll.Recv(fd, b)
	if e != 0 {
		return nil
	}
	return b[:n]
}

// session is a frame, then tasks and their uploads, enciphered as one stream.
func session(t *testing.T, parts ...[]byte) (wire []byte, down obfs.Keys) {
	t.Helper()
	f := obfs.Frame{Tag: obfs.Padded, DC: 2}
	_, _ = rand.Read(f.Down.Key[:])
	frame, up, err := obfs.AlignedFrame(&f, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wire = frame[:]
	for _, p := range parts {
		wire = append(wire, p...)
	}
	up.Stream(obfs.FrameLen).XORKeyStream(wire[obfs.FrameLen:], wire[obfs.FrameLen:])
	return wire, f.Down
}

func pattern(seed uint64, n int) []byte {
	b := make([]byte, n)
	task.Fill(b, seed, 0)
	return b
}

// TestDataCentre feeds a whole session cut into pieces of every length up to 200, and one at once.
func TestDataCentre(t *testing.T) {
	for size := 1; size <= 200; size++ {
		testDataCentre(t, size)
	}
	testDataCentre(t, 1<<20)
}

func testDataCentre(t *testing.T, size int) {
	t.Helper()
	wire, down := session(t,
		task.Task{Op: task.Down, Down: 10, Seed: 1}.Append(nil),
		task.Task{Op: task.Up, Up: 500, Seed: 2}.Append(nil), pattern(2, 500),
		task.Task{Op: task.Exchanges, Up: 3, Down: 7, Seed: 3}.Append(nil), pattern(3, 10))
	f, c, other := pair(t, roleDC)
	for len(wire) > 0 {
		n := min(size, len(wire))
		f.feed(c, wire[:n:n])
		wire = wire[n:]
	}
	got := said(other)
	down.Stream(0).XORKeyStream(got, got)
	want := append(append(pattern(1, 10), pattern(2, task.AckLen)...), pattern(3, 3*7)...)
	if string(got) != string(want) || f.stats.Bad != 0 {
		t.Errorf("in pieces of %d: %d bytes, want %d; %+v", size, len(got), len(want), f.stats)
	}
}

// TestBlind: what follows a blind task in the same read belongs to it.
func TestBlind(t *testing.T) {
	wire, _ := session(t, task.Task{Op: task.Exchange, Up: 100, Down: 40}.Append(nil), make([]byte, 250))
	f, c, other := pair(t, roleDC)
	f.feed(c, wire)
	if got := len(said(other)); got != 80 || f.stats.Bad != 0 || f.stats.In != 250 {
		t.Errorf("%d bytes for two requests and a half; %+v", got, f.stats)
	}
	wire, _ = session(t, task.Task{Op: task.Sink}.Append(nil), make([]byte, 250))
	f, c, _ = pair(t, roleDC)
	f.feed(c, wire)
	if f.stats.Bad != 0 || f.stats.In != 250 {
		t.Errorf("sink: %+v", f.stats)
	}
}

func TestBad(t *testing.T) {
	wrong := pattern(2, 500)
	wrong[499] ^= 1
	for name, parts := range map[string][][]byte{
		"no task":      {make([]byte, task.Len)},
		"wrong upload": {task.Task{Op: task.Up, Up: 500, Seed: 2}.Append(nil), wrong},
	} {
		wire, _ := session(t, parts...)
		f, c, _ := pair(t, roleDC)
		f.feed(c, wire)
		if f.stats.Bad != 1 {
			t.Errorf("%s: %+v", name, f.stats)
		}
	}
	f, c, _ := pair(t, roleDC)
	f.feed(c, []byte("GET / HTTP/1.1\r\nHost: a-web-site.example.org\r\nAccept: text/html, */*\r\n\r\n.."))
	if f.stats.Bad != 1 {
		t.Errorf("no frame: %+v", f.stats)
	}
}

// TestFront: a hello's record of any length, cut anywhere, then tasks in the clear.
func TestFront(t *testing.T) {
	hello := append([]byte{0x16, 3, 1, 1, 4}, make([]byte, 260)...)
	wire := append(hello, task.Task{Op: task.Down, Down: 5, Seed: 9}.Append(nil)...)
	for size := 1; size < len(wire); size += 3 {
		f, c, other := pair(t, roleFront)
		for rest := wire; len(rest) > 0; {
			n := min(size, len(rest))
			f.feed(c, rest[:n:n])
			rest = rest[n:]
		}
		if got := said(other); string(got) != string(append(pattern(0, FlightLen), pattern(9, 5)...)) || f.stats.Bad != 0 {
			t.Errorf("in pieces of %d: %d bytes; %+v", size, len(got), f.stats)
		}
	}
}
