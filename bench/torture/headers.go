package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sluice/bench/client"
)

// headerListener is where connections begin with a PROXY header.
const headerListener = "127.0.0.3:0=haproxy"

var headerFaults = []fault{
	{
		name: "headers", floods: true, calm: true, about: "100,000 PROXY headers, four times as many in the long form, each wrong in a way of its own, before a hello",
		prepare:   func(*trial) (env, error) { return env{"SLUICE_LISTEN": "127.0.0.1:0," + headerListener}, nil },
		meanwhile: mutateHeaders,
	},
}

// headerAddr is that listener's address.
func (t *trial) headerAddr() netip.AddrPort {
	for _, l := range t.proxy.Lines() {
		if a := l.Get("address"); l.Get("msg") == "listening" && strings.HasPrefix(a, "127.0.0.3:") {
			return netip.MustParseAddrPort(a)
		}
	}
	return netip.AddrPort{}
}

// goodHeaders are what load balancers send.
func goodHeaders() [][]byte {
	v2 := func(text string) []byte {
		b, err := hex.DecodeString("0d0a0d0a000d0a515549540a" + text)
		if err != nil {
			panic(err)
		}
		return b
	}
	return [][]byte{
		[]byte("PROXY TCP4 192.0.2.1 192.0.2.2 5555 443\r\n"),
		[]byte("PROXY TCP6 2001:db8::1 2001:db8::2 5555 443\r\n"),
		[]byte("PROXY UNKNOWN\r\n"),
		v2("2111000c" + "c0000201" + "c0000202" + "15b3" + "01bb"),
		v2("21210024" + strings.Repeat("20010db8000000000000000000000001", 2) + "15b3" + "01bb"),
		v2("20000000"),
		v2("2111004d" + "c0000201" + "c0000202" + "15b3" + "01bb" + "04003e" + strings.Repeat("00", 62)),
	}
}

// mutated is a header with some of it changed, cut out, doubled or put in.
func mutated(r *rand.Rand, header []byte) []byte {
	b := slices.Clone(header)
	for range 1 + r.IntN(3) {
		if len(b) == 0 {
			break
		}
		at := r.IntN(len(b))
		switch r.IntN(6) {
		case 0:
			b[at] ^= 1 << r.IntN(8)
		case 1:
			b[at] = byte(r.Uint32())
		case 2:
			b = b[:at]
		case 3:
			b = slices.Insert(b, at, byte(r.Uint32()))
		case 4:
			b = slices.Delete(b, at, min(at+1+r.IntN(4), len(b)))
		default:
			b = slices.Insert(b, at, b[at:min(at+r.IntN(40), len(b))]...)
		}
	}
	return b
}

// headerSource says wrong headers, the same ones with the same seed, often with a hello behind them, and leaves in one way or another.
func headerSource(seed uint64) source {
	good, hello, n := goodHeaders(), foreign(), uint64(0)
	return func(time.Time) ([]byte, parting) {
		r := rand.New(rand.NewPCG(n, seed))
		n++
		say := mutated(r, good[r.IntN(len(good))])
		if r.IntN(2) == 0 {
			say = append(say, hello...)
		}
		if r.IntN(20) > 0 {
			return say, hasty
		}
		return say, halfClosed
	}
}

const (
	wrongHeaders  = 100_000 // of one seed
	headersAtMost = 20_000  // a second
)

// seeds are those of the wrong headers: one is for everyday.
func (t *trial) seeds() []uint64 {
	if t.long {
		return []uint64{7, 8, 9, 10}
	}
	return []uint64{7}
}

// mutateHeaders sends wrong headers; a right one must be understood all the time.
func mutateHeaders(t *trial) error {
	addr := t.headerAddr()
	if !addr.IsValid() {
		return errors.New("the proxy does not listen for headers")
	}
	sender, err := t.other(senderWord)
	if err != nil {
		return err
	}
	var all hits
	sent := make(chan error, 1)
	go func() {
		for _, seed := range t.seeds() {
			var h hits
			o := salvo{To: addr, Kind: headerKind, Seed: seed, Rate: headersAtMost, Span: time.Minute, Count: wrongHeaders}
			if err := sender.Call("send", o, &h, o.Span+patience); err != nil {
				sent <- err
				return
			}
			all.Sent, all.Took = all.Sent+h.Sent, all.Took+h.Took
		}
		sent <- nil
	}()
	if err := t.rightHeaders(addr, sent); err != nil {
		return err
	}
	judged, err := t.proxy.SumMetric("sluice_proxy_headers_total")
	if err != nil {
		return err
	}
	t.notef("%d sent, %.0f a second; %.0f were judged, the rest ended before they were whole", all.Sent, float64(all.Sent)/all.Took.Seconds(), judged)
	if want := wrongHeaders * len(t.seeds()); all.Sent < want || judged < float64(want)/2 {
		return fmt.Errorf("of %d headers %d were sent and %.0f judged", want, all.Sent, judged)
	}
	return nil
}

// rightHeaders sends right ones until done says something, and a hundred at least.
func (t *trial) rightHeaders(addr netip.AddrPort, done <-chan error) (err error) {
	good := goodHeaders()
	for i, over := 0, false; i < 100 || !over; i++ {
		c, e := t.clientAs(client.Config{Addr: addr, Prefix: good[i%len(good)]})
		if e == nil {
			e = visit(c)
		}
		if e != nil {
			return fmt.Errorf("a right header: %w", errors.Join(e, err))
		}
		select {
		case err = <-done:
			over = true
		case <-time.After(20 * time.Millisecond):
		}
	}
	return err
}
