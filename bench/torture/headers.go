package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
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
		name: "headers", floods: true, about: "100,000 PROXY headers, 300,000 others in the long form, each wrong in a way of its own, before a hello",
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

// mutateHeaders sends wrong headers; a right one must be understood all the time.
func mutateHeaders(t *trial) error {
	addr, good := t.headerAddr(), goodHeaders()
	if !addr.IsValid() {
		return errors.New("the proxy does not listen for headers")
	}
	hello := foreign()
	began := time.Now()
	n, seed := 100_000, uint64(7)
	if t.long {
		n, seed = 300_000, 8
	}
	err := atOnce(12, n, func(i int) error {
		if i%1000 == 0 {
			c, err := t.clientAs(client.Config{Addr: addr, Prefix: good[i/1000%len(good)]})
			if err != nil {
				return fmt.Errorf("a right header: %w", err)
			}
			return visit(c)
		}
		return t.wrongHeader(addr, rand.New(rand.NewPCG(uint64(i), seed)), hello) // the same ones every time
	})
	closed, _ := t.proxy.SumMetric("sluice_front_refused_total")
	t.notef("%.0f a second; %v of them found no place at the front", float64(n)/time.Since(began).Seconds(), closed)
	return err
}

// wrongHeader sends a header that was tampered with, often a hello behind it, and leaves in one way or another.
func (t *trial) wrongHeader(addr netip.AddrPort, r *rand.Rand, hello []byte) error {
	good := goodHeaders()
	say := mutated(r, good[r.IntN(len(good))])
	if r.IntN(2) == 0 {
		say = append(say, hello...)
	}
	c, err := t.approach(addr, say)
	if err != nil {
		return err
	}
	if r.IntN(20) > 0 {
		abort(c)
		return nil
	}
	_ = c.CloseWrite()
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	_, _ = io.Copy(io.Discard, struct{ io.Reader }{c})
	return c.Close()
}
