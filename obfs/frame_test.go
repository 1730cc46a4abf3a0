package obfs

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

var tags = []Tag{Padded, Intermediate, Abridged}

// TestFrameVector: made with openssl alone (dgst -sha256, enc -aes-256-ctr) from the frame 00 01 .. 37, tag dddddddd, DC -2, noise 3e 3f.
func TestFrameVector(t *testing.T) {
	wire := unhex(t, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"+
		"202122232425262728292a2b2c2d2e2f30313233343536378f3d4055c37444b1")
	secret := [16]byte(unhex(t, "00112233445566778899aabbccddeeff"))
	want := Frame{
		Up:   keysAt(unhex(t, "28ddb6447216c5f55106259f1c7ba64bfe69909197bc20253466cfa42715f29c28292a2b2c2d2e2f3031323334353637")),
		Down: keysAt(unhex(t, "c95a3c8c663a4e2daff3469561805825e7be010c4fcb691415b93145b640c9f317161514131211100f0e0d0c0b0a0908")),
		Tag:  Padded, DC: -2,
	}
	if f, n, err := ParseFrame(wire, &secret); f != want || n != FrameLen || err != nil {
		t.Errorf("got %+v, %d, %v; want %+v", f, n, err, want)
	}
}

func TestParseFrame(t *testing.T) {
	rnd := random(1)
	for i := range 3000 {
		secret, tag, dc := draw[[16]byte](rnd), tags[i%3], int16(rnd.Uint64())
		client, wire := dial(draw[[FrameLen]byte](rnd), secret, tag, dc)
		before := bytes.Clone(wire)
		f, n, err := ParseFrame(append(wire, "data"...), &secret)
		if err != nil || n != FrameLen || f.Tag != tag || f.DC != dc {
			t.Fatalf("got tag %x, DC %d, %d, %v; want %x, %d", f.Tag, f.DC, n, err, tag, dc)
		}
		if !bytes.Equal(wire, before) {
			t.Fatal("the input has changed")
		}
		text := []byte("what a client says, and what it hears")
		if got := through(f.Up.Stream(FrameLen), through(client.send, text)); !bytes.Equal(got, text) {
			t.Fatalf("up: %q", got)
		}
		if got := through(client.receive, through(f.Down.Stream(0), text)); !bytes.Equal(got, text) {
			t.Fatalf("down: %q", got)
		}
	}
}

func TestParseFrameRejects(t *testing.T) {
	rnd := random(2)
	secret := draw[[16]byte](rnd)
	_, wire := dial(draw[[FrameLen]byte](rnd), secret, Padded, 2)
	for i := range FrameLen {
		if _, n, err := ParseFrame(wire[:i], &secret); err != ErrShort || n != FrameLen-i {
			t.Errorf("of %d bytes: %d, %v", i, n, err)
		}
		if _, _, _, _, err := ParseServerFrame(wire[:i]); err != ErrShort {
			t.Errorf("a DC, of %d bytes: %v", i, err)
		}
	}
	wrong := secret
	wrong[0] ^= 1
	if f, n, err := ParseFrame(wire, &wrong); err != ErrTag || n != 0 || f != (Frame{}) {
		t.Errorf("with another secret: %+v, %d, %v", f, n, err)
	}
	for _, tag := range []Tag{0, 0xddddddde, 0xefefefee, 0xdddddd00} {
		_, wire := dial(draw[[FrameLen]byte](rnd), secret, tag, 2)
		if _, _, err := ParseFrame(wire, &secret); err != ErrTag {
			t.Errorf("tag %x: %v", tag, err)
		}
	}
	if _, _, _, _, err := ParseServerFrame(append([]byte("GET / HT"), wire[8:]...)); err != ErrReserved {
		t.Errorf("a DC, reserved: %v", err)
	}
	if _, _, _, _, err := ParseServerFrame(append([]byte("noise.. "), wire[8:]...)); err != ErrTag {
		t.Errorf("a DC, a frame with a secret: %v", err)
	}
}

// session is a client that has got through to a DC, by way of a proxy.
type session struct {
	client, dc *peer
	frame      Frame
	wire       [FrameLen]byte
	up, down   Keys
}

func connect(t *testing.T, rnd *rand.ChaCha8, aligned bool, tag Tag, n int16) (s session) {
	t.Helper()
	secret := draw[[16]byte](rnd)
	var sent []byte
	s.client, sent = dial(draw[[FrameLen]byte](rnd), secret, tag, n)
	var err error
	if s.frame, _, err = ParseFrame(sent, &secret); err != nil {
		t.Fatal(err)
	}
	if aligned {
		s.wire, s.up, err = AlignedFrame(&s.frame, rnd)
		s.down = s.frame.Down
	} else {
		s.wire, s.up, s.down, err = FreshFrame(&s.frame, rnd)
	}
	if err != nil {
		t.Fatal(err)
	}
	var gotTag Tag
	var got int16
	if s.dc, gotTag, got = accept(s.wire); gotTag != tag || got != n || ReservedPrefix(s.wire[:]) {
		t.Fatalf("the DC got tag %x, DC %d in %x; want %x, %d", gotTag, got, s.wire, tag, n)
	}
	in, out, parsedTag, parsed, err := ParseServerFrame(s.wire[:])
	if err != nil || in != s.up || out != s.down || parsedTag != tag || parsed != n {
		t.Fatalf("ParseServerFrame: %x, %x, %x, %d, %v", in, out, parsedTag, parsed, err)
	}
	return s
}

// TestAligned: what a DC sends is, as it is, what the client decrypts.
func TestAligned(t *testing.T) {
	rnd := random(3)
	for i := range 3000 {
		s := connect(t, rnd, true, tags[i%3], int16(i-1500))
		text := make([]byte, 1+i%300)
		rnd.Read(text)
		if got := through(s.client.receive, through(s.dc.send, text)); !bytes.Equal(got, text) {
			t.Fatalf("frame %x: the client reads %x, want %x", s.wire, got, text)
		}
		checkUpload(t, s, text)
	}
}

func TestFresh(t *testing.T) {
	rnd := random(4)
	for i := range 3000 {
		s := connect(t, rnd, false, tags[i%3], int16(i-1500))
		text := make([]byte, 1+i%300)
		rnd.Read(text)
		onTheWay := through(s.frame.Down.Stream(0), through(s.down.Stream(0), through(s.dc.send, text)))
		if got := through(s.client.receive, onTheWay); !bytes.Equal(got, text) {
			t.Fatalf("frame %x: the client reads %x, want %x", s.wire, got, text)
		}
		if s.down == s.frame.Down {
			t.Fatal("a fresh frame has the client's keys")
		}
		checkUpload(t, s, text)
	}
}

func checkUpload(t *testing.T, s session, text []byte) {
	t.Helper()
	onTheWay := through(s.up.Stream(FrameLen), through(s.frame.Up.Stream(FrameLen), through(s.client.send, text)))
	if got := through(s.dc.receive, onTheWay); !bytes.Equal(got, text) {
		t.Fatalf("frame %x: the DC reads %x, want %x", s.wire, got, text)
	}
}

// TestNeverReserved: 262,144 frames of each kind, on the wire. A peer that filters before it encrypts fails one in 256.
func TestNeverReserved(t *testing.T) {
	rnd := random(5)
	f := Frame{Tag: Padded, DC: 2}
	rnd.Read(f.Down.Key[:])
	var firsts [256]int
	for range 256 << 10 {
		aligned, _, err := AlignedFrame(&f, rnd)
		if err != nil {
			t.Fatal(err)
		}
		fresh, _, _, err := FreshFrame(&f, rnd)
		if err != nil {
			t.Fatal(err)
		}
		if ReservedPrefix(aligned[:]) || ReservedPrefix(fresh[:]) {
			t.Fatalf("reserved: %x or %x", aligned[:8], fresh[:8])
		}
		firsts[aligned[0]]++
		firsts[fresh[0]]++
	}
	for b, n := range firsts {
		if want := b != 0xef; want != (n > 1500) {
			t.Errorf("%d frames begin with %02x", n, b)
		}
	}
}

// TestReservedIsDrawnAgain: each of the reserved beginnings, when chance draws it.
func TestReservedIsDrawnAgain(t *testing.T) {
	for _, start := range []string{"\xefabcdefg", "GET / HT", "\xdd\xdd\xdd\xdd1234", "abcd\x00\x00\x00\x00"} {
		rnd := io.MultiReader(bytes.NewReader([]byte(start+"12345678")), random(6))
		wire, _, err := AlignedFrame(&Frame{Tag: Padded}, rnd)
		if err != nil || string(wire[:8]) != "12345678" {
			t.Errorf("after %q: %q, %v", start, wire[:8], err)
		}
	}
}

func TestBadRandomness(t *testing.T) {
	broken := errors.New("broken")
	f := &Frame{Tag: Padded}
	for name, tc := range map[string]struct {
		rnd  func() io.Reader
		want error
	}{
		"broken":        {func() io.Reader { return iotest.ErrReader(broken) }, broken},
		"broken later":  {func() io.Reader { return io.MultiReader(io.LimitReader(random(7), 60), iotest.ErrReader(broken)) }, broken},
		"ends too soon": {func() io.Reader { return io.LimitReader(random(7), 3) }, io.ErrUnexpectedEOF},
		"not random":    {func() io.Reader { return zeros{} }, errRandom},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := AlignedFrame(f, tc.rnd()); name != "broken later" && !errors.Is(err, tc.want) {
				t.Errorf("aligned: %v", err)
			}
			if _, _, _, err := FreshFrame(f, tc.rnd()); !errors.Is(err, tc.want) {
				t.Errorf("fresh: %v", err)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// FuzzFrame: whatever a client sends, a frame made from it says the same to the DC; and what we make, the DC accepts.
func FuzzFrame(f *testing.F) {
	rnd := random(8)
	for i, tag := range tags {
		secret := draw[[16]byte](rnd)
		_, wire := dial(draw[[FrameLen]byte](rnd), secret, tag, int16(i-1))
		f.Add(wire, secret[:], uint64(i))
	}
	f.Add([]byte("short"), make([]byte, 16), uint64(9))
	f.Fuzz(func(t *testing.T, b, key []byte, seed uint64) {
		var secret [16]byte
		copy(secret[:], key)
		frame, n, err := ParseFrame(b, &secret)
		switch {
		case err == ErrShort && n == FrameLen-len(b) && n > 0:
			return
		case err == ErrTag && len(b) >= FrameLen: // chance names no transport: go on with a frame that does
			_, wire := dial([FrameLen]byte(b), secret, tags[seed%3], int16(seed))
			if frame, _, err = ParseFrame(wire, &secret); err != nil || frame.DC != int16(seed) || frame.Tag != tags[seed%3] {
				t.Fatalf("got %+v, %v", frame, err)
			}
		case err != nil || n != FrameLen:
			t.Fatalf("%d bytes: %d, %v", len(b), n, err)
		}
		checkFrames(t, &frame, random(byte(seed)))
	})
}

func checkFrames(t *testing.T, f *Frame, rnd *rand.ChaCha8) {
	aligned, up, err := AlignedFrame(f, rnd)
	if err != nil {
		t.Fatal(err)
	}
	if in, out, tag, dc, err := ParseServerFrame(aligned[:]); err != nil || in != up || out != f.Down || tag != f.Tag || dc != f.DC {
		t.Fatalf("aligned %x: %x, %x, %x, %d, %v", aligned, in, out, tag, dc, err)
	}
	fresh, up, down, err := FreshFrame(f, rnd)
	if err != nil {
		t.Fatal(err)
	}
	if in, out, tag, dc, err := ParseServerFrame(fresh[:]); err != nil || in != up || out != down || tag != f.Tag || dc != f.DC {
		t.Fatalf("fresh %x: %x, %x, %x, %d, %v", fresh, in, out, tag, dc, err)
	}
}

func BenchmarkParseFrame(b *testing.B) {
	rnd := random(9)
	secret := draw[[16]byte](rnd)
	_, wire := dial(draw[[FrameLen]byte](rnd), secret, Padded, 2)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := ParseFrame(wire, &secret); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAlignedFrame(b *testing.B) {
	rnd, f := random(10), &Frame{Tag: Padded, DC: 2}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := AlignedFrame(f, rnd); err != nil {
			b.Fatal(err)
		}
	}
}
