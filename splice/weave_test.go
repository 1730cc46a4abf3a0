package splice

import (
	"bytes"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/faketls"
)

// inRecords is b as it is to go to the wire.
func inRecords(b []byte) (out []byte) {
	for len(b) > 0 {
		size := min(len(b), recordPayload)
		var header [recordHeader]byte
		faketls.PutHeader(header[:], size)
		out, b = append(append(out, header[:]...), b[:size]...), b[size:]
	}
	return out
}

// What is woven is the burst in records, whatever its length and however many slots the half's pipe has; what it has no slots
// for follows in memory.
func TestWeave(t *testing.T) {
	for _, slots := range []int{1, 2, 3, 5, 8, 13, 32, 128} {
		for _, n := range []int{1, 4096, recordPayload - 1, recordPayload, recordPayload + 1, 3 * recordPayload, 100_000, burstSize} {
			t.Run(strconv.Itoa(slots)+" slots/"+strconv.Itoa(n), func(t *testing.T) {
				l, r := idleRelay(t, Aligned)
				x, body := &r.half[down], pattern(uint64(n), n)
				x.pipe = l.pipes.borrow(r, down, l.now)
				full := slots == 128
				if !full {
					if _, err := unix.FcntlInt(uintptr(x.pipe.w), unix.F_SETPIPE_SZ, slots*4096); err != nil {
						t.Fatal(err)
					}
				}
				piece := max(4000, n/64) // uneven slots, as segments from a network make them
				for at := 0; at < n; {
					k, err := unix.Write(int(l.loom.intake.w), body[at:min(n, at+piece)])
					if err != nil {
						t.Fatal(err)
					}
					at += k
				}
				l.weave(r, down, n)
				var got []byte
				switch {
				case r.state != open:
					t.Fatal("the relay was ended")
				case full && x.rest != nil:
					t.Fatal("a pipe of full size had no room")
				case x.rest != nil:
					if x.pipe != nil || len(l.pipes.idle) != 1 {
						t.Error("the pipe was not given back")
					}
					got = x.rest.b
				default:
					got = make([]byte, x.pipe.held)
					for at := 0; at < len(got); {
						k, e := sysRead(x.pipe.r, got[at:])
						if e != 0 {
							t.Fatalf("the pipe holds %d bytes, not %d", at, len(got))
						}
						at += k
					}
					x.pipe.held = 0
				}
				if !bytes.Equal(got, inRecords(body)) {
					t.Errorf("%d bytes that are not the %d in records", len(got), n)
				}
				if n, e := sysRead(l.loom.intake.r, make([]byte, 1)); e != unix.EAGAIN {
					t.Errorf("the intake still holds something: %d, %v", n, e)
				}
			})
		}
	}
}

// A loop whose pipes came out small, and one that cannot weave at all, deliver every byte.
func TestDownloadWithPoorPipes(t *testing.T) {
	const size = 20 << 20
	want := pattern(8, size)
	for name, spoil := range map[string]func(*Loop){
		"small pipes": func(l *Loop) {
			for _, p := range l.pipes.idle {
				_, _ = unix.FcntlInt(uintptr(p.w), unix.F_SETPIPE_SZ, 16<<10)
			}
		},
		"no loom": func(l *Loop) { l.loom.close() },
	} {
		t.Run(name, func(t *testing.T) {
			l, err := New(Config{Pipes: 2})
			if err != nil {
				t.Fatal(err)
			}
			spoil(l)
			runLoop(t, l)
			up := listen(t)
			s := newSession(t, l, up, Aligned)
			_ = s.dc.SetWriteDeadline(time.Now().Add(time.Minute))
			_ = s.client.SetReadDeadline(time.Now().Add(time.Minute))
			go func() {
				_, _ = s.dc.Write(want)
				_ = s.dc.Close()
			}()
			if got, err := s.received(Aligned); err != nil || !bytes.Equal(got, want) {
				t.Errorf("got %d of %d bytes, %v", len(got), len(want), err)
			}
			_ = s.client.Close()
			s.end(t)
			if l.Stats().HeldBytes.Load() != 0 || l.Stats().Panics.Load() != 0 {
				t.Errorf("%d bytes still held, %d panics", l.Stats().HeldBytes.Load(), l.Stats().Panics.Load())
			}
		})
	}
}

// A fault in the middle of weaving leaves nothing in the loom for the next relay.
func TestFaultLeavesNothingInTheLoom(t *testing.T) {
	l, r := idleRelay(t, Aligned)
	if _, err := unix.Write(int(l.loom.intake.w), []byte("somebody's bytes")); err != nil {
		t.Fatal(err)
	}
	func() {
		defer l.contain(r)
		panic("a fault")
	}()
	if !l.loom.ready() || r.state != free {
		t.Fatal("the loom is gone, or the relay is not")
	}
	if n, e := sysRead(l.loom.intake.r, make([]byte, 9)); e != unix.EAGAIN {
		t.Errorf("%d bytes are left, %v", n, e)
	}
}
