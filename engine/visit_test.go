package engine

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"sluice/engine/edge"
	"sluice/faketls"
	"sluice/obfs"
	"sluice/splice"
)

// visit says b to the engine in the given cuts and compares what becomes of it with what has to.
func (m *machine) visit(t *testing.T, p plan, b, cuts []byte) {
	began, before := time.Now(), m.tally()
	c := m.enter(t, p)
	defer c.Close()
	want := m.foretell(b, addrPort(c.LocalAddr()))
	if want.flight {
		m.seen[[16]byte(want.hello.Random)] = p.reset()
	}
	if want.unsure {
		_ = c.Close()
		m.rest(t, before, false)
		m.dc.take()
		m.front.take()
		return
	}
	said := say(c, b, cuts)
	var heard []byte
	var err error
	if p.reset() {
		_ = c.SetLinger(0)
		_ = c.Close()
	} else {
		_ = c.CloseWrite()
		heard, err = io.ReadAll(c)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the engine does not end it (%v)\n%s", want.why, m.log)
	}
	m.rest(t, before, p.reset())
	got := result{
		heard: heard, err: err, said: said, slow: time.Since(began) > moment/2, reset: p.reset(), local: addrPort(c.RemoteAddr()),
		dc: m.dc.take(), front: m.front.take(), before: before, after: m.tally(),
	}
	if fault := m.compare(&want, &got); fault != "" {
		t.Fatalf("%s, door %s, %d bytes, cuts %v: %s\nthe front: %d visits, the DC: %d visits, heard %d bytes, %v\n%x\n%s",
			want.why, m.name, len(b), cuts, fault, len(got.front), len(got.dc), len(heard), err, b, m.log)
	}
}

// enter connects to the engine.
func (m *machine) enter(t *testing.T, p plan) *net.TCPConn {
	var d net.Dialer
	switch {
	case m.ranged && p.outside():
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(outAddr, 0))
	case m.ranged:
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(edgeAddr, 0))
	}
	c, err := d.Dial("tcp", m.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

// say writes b in pieces, each cut at a length that two bytes of cuts give, and returns how much was taken.
func say(c *net.TCPConn, b, cuts []byte) (said int) {
	for len(cuts) > 1 && len(b) > 0 {
		at := min(int(binary.BigEndian.Uint16(cuts)), len(b))
		n, err := c.Write(b[:at])
		if said += n; err != nil {
			return said
		}
		b, cuts = b[at:], cuts[2:]
		time.Sleep(20 * time.Microsecond) // for the engine to read what came so far; nothing depends on whether it does
	}
	n, _ := c.Write(b)
	return said + n
}

// result is what has become of a visit.
type result struct {
	heard         []byte
	err           error
	said          int
	slow          bool // it took so long that the front may have been called while the hello was on its way
	reset         bool
	local         netip.AddrPort
	dc, front     []visit
	before, after tally
}

// compare says what is not as it has to be.
func (m *machine) compare(want *outcome, got *result) string {
	if m.panics.Load() != 0 || m.sum(func(s *splice.Stats) int64 { return int64(s.Panics.Load()) })() != 0 {
		return "a panic"
	}
	total, counted := uint64(0), accepted
	for i := range causes {
		if n := got.after.handshakes[i] - got.before.handshakes[i]; n > 0 {
			total, counted = total+n, i
		}
	}
	switch {
	case total != 1:
		return fmt.Sprintf("%d handshakes are counted", total)
	case got.reset:
		return m.compareReset(want, got)
	case counted != want.why && !want.mayCount(counted):
		return "counted as " + counted.String()
	case want.toFront != nil:
		return m.compareFront(want, got)
	}
	for _, v := range got.front {
		if !got.slow || v.whole {
			return "the front was called"
		}
	}
	if want.why == accepted {
		return compareDC(want, got)
	}
	if len(got.dc) > 0 {
		return "the DC was called"
	}
	rest, fault := want.checkFlight(got.heard)
	if fault == "" && len(rest) > 0 {
		fault = "there is something behind the flight"
	}
	return fault
}

// atFront is what the front is to get.
func (m *machine) atFront(o *outcome, local netip.AddrPort) (b []byte) {
	if m.outward != 0 {
		b = edge.AppendHeader(nil, m.outward, o.client, local, append(o.marks, m.marker[:]...))
	}
	return append(b, o.toFront...)
}

func (m *machine) compareFront(want *outcome, got *result) string {
	switch {
	case len(got.dc) > 0:
		return "the DC was called"
	case len(got.front) != 1:
		return "the front was not called once"
	case !bytes.Equal(got.front[0].got, m.atFront(want, got.local)):
		return fmt.Sprintf("the front got %d bytes, want %d:\n%x", len(got.front[0].got), len(m.atFront(want, got.local)), got.front[0].got)
	case string(got.heard) != frontAnswer || got.err != nil:
		return "what is heard is not what the front said"
	}
	return ""
}

// compareReset: who resets may have been heard or not, in part or whole. What was begun on his behalf is what has to be, as far as it went.
func (m *machine) compareReset(want *outcome, got *result) string {
	switch {
	case len(got.front)+len(got.dc) > 1:
		return "several far ends were called"
	case len(got.front) == 1 && !bytes.HasPrefix(m.atFront(want, got.local), got.front[0].got) && !got.slow:
		return fmt.Sprintf("the front got other bytes: %x", got.front[0].got)
	case len(got.front) == 1 && want.toFront == nil && !got.slow:
		return "the front was called"
	case len(got.dc) == 1 && want.why != accepted:
		return "the DC was called"
	case len(got.dc) == 1 && len(got.dc[0].got) >= obfs.FrameLen:
		return want.checkDC(got.dc[0].got, bytes.HasPrefix)
	}
	return ""
}

func compareDC(want *outcome, got *result) string {
	rest, fault := want.checkFlight(got.heard)
	switch {
	case fault != "":
		return fault
	case want.fault:
		if len(got.dc) == 1 && len(got.dc[0].got) >= obfs.FrameLen {
			return want.checkDC(got.dc[0].got, bytes.HasPrefix)
		}
		return ""
	case len(got.dc) != 1 || !got.dc[0].whole:
		return "the DC was not called once and to the end"
	}
	if fault := want.checkDC(got.dc[0].got, bytes.Equal); fault != "" {
		return fault
	}
	var d faketls.Deframer
	n, err := d.Deframe(rest)
	answer := rest[:n]
	want.frame.Down.Stream(0).XORKeyStream(answer, answer)
	if err != nil || string(answer) != dcAnswer || got.err != nil {
		return "what is heard is not what the DC said"
	}
	return ""
}

// checkDC deciphers what came to the DC.
func (o *outcome) checkDC(got []byte, same func(want, got []byte) bool) string {
	in, _, tag, dc, err := obfs.ParseServerFrame(got)
	if err != nil || tag != o.frame.Tag || dc != o.frame.DC {
		return fmt.Sprintf("the DC's frame says %x, %d, %v", tag, dc, err)
	}
	payload := got[obfs.FrameLen:]
	in.Stream(obfs.FrameLen).XORKeyStream(payload, payload)
	if !same(o.payload, payload) {
		return fmt.Sprintf("the DC got %x, want %x", payload, o.payload)
	}
	return ""
}

// checkFlight checks the flight, if there is to be one, and returns what follows it.
func (o *outcome) checkFlight(b []byte) (rest []byte, fault string) {
	if !o.flight {
		return b, ""
	}
	end := 0
	for _, kind := range []byte{0x16, 0x14, 0x17} {
		if len(b) < end+5 || b[end] != kind || len(b) < end+5+int(binary.BigEndian.Uint16(b[end+3:])) {
			return nil, fmt.Sprintf("no flight: %x", b)
		}
		end += 5 + int(binary.BigEndian.Uint16(b[end+3:]))
	}
	zeroed := bytes.Clone(b[:end])
	clear(zeroed[11:43])
	mac := hmac.New(sha256.New, o.user.Key[:])
	mac.Write(o.hello.Random)
	mac.Write(zeroed)
	if !bytes.Equal(mac.Sum(nil), b[11:43]) {
		return nil, "the flight is not signed"
	}
	return b[end:], ""
}
