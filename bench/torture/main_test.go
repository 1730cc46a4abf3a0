package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"sluice/bench/stand"
)

// echoServer answers one connection as told and returns the client's side.
func echoServer(t *testing.T, serve func(c *net.TCPConn)) *net.TCPConn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		c, err := l.Accept()
		if err == nil {
			serve(c.(*net.TCPConn))
			_ = c.Close()
		}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(*net.TCPConn)
}

// A session notices every way to lose something, and nothing else.
func TestSession(t *testing.T) {
	request := func(c *net.TCPConn) { _, _ = io.ReadFull(c, make([]byte, stand.RequestLen)) }
	for name, tt := range map[string]struct {
		serve func(c *net.TCPConn)
		whole bool
	}{
		"echo": {func(c *net.TCPConn) { request(c); _, _ = io.Copy(c, c) }, true},
		"a bit flips": {func(c *net.TCPConn) {
			request(c)
			b := make([]byte, 100)
			n, _ := c.Read(b)
			b[n/2] ^= 1
			_, _ = c.Write(b[:n])
			_, _ = io.Copy(c, c)
		}, false},
		"a byte is missing at the end": {func(c *net.TCPConn) {
			request(c)
			all, _ := io.ReadAll(c)
			_, _ = c.Write(all[:len(all)-1])
		}, false},
		"it ends early":   {func(c *net.TCPConn) { request(c); _, _ = io.CopyN(c, c, 10) }, false},
		"it is reset":     {func(c *net.TCPConn) { request(c); _, _ = io.CopyN(c, c, 10); abort(c) }, false},
		"it stands still": {func(c *net.TCPConn) { request(c); time.Sleep(time.Second) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := startSession(echoServer(t, tt.serve), usualPace, 1)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(200 * time.Millisecond)
			if err := s.finish(patience); (err == nil) != tt.whole {
				t.Errorf("whole should be %v: %v", tt.whole, err)
			}
		})
	}
}

// Newcomers are counted in the phase they came in.
func TestNewcomers(t *testing.T) {
	fails := errors.New("not served")
	now := make(chan error)
	n := startNewcomers(1, func() error { return <-now })
	now <- nil
	now <- fails // whose visitor comes after the first was counted
	if after, ok := n.awaitServed(patience); !ok || after <= 0 {
		t.Errorf("nobody was served: %v", after)
	}
	now <- fails
	first := n.next()
	now <- nil // he came before
	now <- nil
	_, ok := n.awaitServed(patience)
	go n.end()
	for range 2 {
		select {
		case now <- nil:
		case <-n.stop:
		}
	}
	if total := first.ok.Load() + first.failed.Load(); total < 3 || !ok || !errors.Is(*first.why.Load(), fails) {
		t.Errorf("%d visits in the first phase, served in the second: %v", total, ok)
	}
}

func TestFiguresSame(t *testing.T) {
	before := figures{resident: 100 * mib, descriptors: 50, pipes: 20, goroutines: 10}
	with := func(change func(*figures)) figures {
		f := before
		change(&f)
		return f
	}
	for name, tt := range map[string]struct {
		now  figures
		same bool
	}{
		"the same":            {before, true},
		"fewer pipes":         {with(func(f *figures) { f.pipes, f.descriptors = 0, 30 }), true},
		"a descriptor more":   {with(func(f *figures) { f.descriptors++ }), false},
		"a pipe for a socket": {with(func(f *figures) { f.pipes++ }), false},
		"a goroutine more":    {with(func(f *figures) { f.goroutines++ }), false},
		"a connection":        {with(func(f *figures) { f.connections++ }), false},
		"memory at the limit": {with(func(f *figures) { f.resident = 130 * mib }), true},
		"memory beyond it":    {with(func(f *figures) { f.resident = 130*mib + 1 }), false},
	} {
		if err := tt.now.same(before); (err == nil) != tt.same {
			t.Errorf("%s: %v", name, err)
		}
	}
	small := figures{resident: 10 * mib}
	if err := (figures{resident: 26 * mib}).same(small); err != nil {
		t.Error(err)
	}
	if err := (figures{resident: 26*mib + 1}).same(small); err == nil {
		t.Error("more than 16 MiB is not noticed")
	}
}

func TestChoose(t *testing.T) {
	all := []fault{{name: "a"}, {name: "b", long: true}, {name: "c"}}
	names := func(o options) string {
		chosen, err := choose(all, o)
		if err != nil {
			return err.Error()
		}
		var b strings.Builder
		for _, f := range chosen {
			b.WriteString(f.name)
		}
		return b.String()
	}
	for want, o := range map[string]options{
		"ac": {}, "abc": {long: true}, "b": {only: []string{"b"}}, "ab": {only: []string{"b", "a"}},
		`there is no fault "d": -list shows them`: {only: []string{"d", "a"}},
	} {
		if got := names(o); got != want {
			t.Errorf("%+v: %s, want %s", o, got, want)
		}
	}
}

// Every fault has a name of its own, says what it is, and does something.
func TestFaults(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range faults() {
		if seen[f.name] || f.name == "" || f.about == "" || f.strike == nil && f.meanwhile == nil {
			t.Errorf("%q: %q", f.name, f.about)
		}
		seen[f.name] = true
	}
	if len(seen) < 40 {
		t.Errorf("only %d faults", len(seen))
	}
}

func TestNameAnswer(t *testing.T) {
	question := func(kind string) []byte {
		b, err := hex.DecodeString("abcd01000001000000000000" + "0566726f6e74" + "0474657374" + "00" + kind + "0001")
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	a := nameAnswer(question("0001"))
	if !bytes.HasPrefix(a, []byte{0xab, 0xcd, 0x81, 0x80, 0, 1, 0, 1}) || !bytes.HasSuffix(a, []byte{0, 4, 127, 0, 0, 1}) {
		t.Errorf("A: %x", a)
	}
	if a := nameAnswer(question("001c")); !bytes.HasPrefix(a, []byte{0xab, 0xcd, 0x81, 0x80, 0, 1, 0, 0}) || len(a) != len(question("001c")) {
		t.Errorf("AAAA: %x", a)
	}
	q := question("0001")
	for n := range len(q) {
		if a := nameAnswer(q[:n]); a != nil {
			t.Errorf("%d bytes of a question are answered with %x", n, a)
		}
	}
}

// Wrong headers are the same at every run, and hardly any is right by chance.
func TestMutated(t *testing.T) {
	good, unchanged := goodHeaders(), 0
	for i := range 10_000 {
		one := mutated(rand.New(rand.NewPCG(uint64(i), 7)), good[i%len(good)])
		if !bytes.Equal(one, mutated(rand.New(rand.NewPCG(uint64(i), 7)), good[i%len(good)])) {
			t.Fatalf("header %d is another the second time", i)
		}
		if bytes.Equal(one, good[i%len(good)]) {
			unchanged++
		}
	}
	if unchanged > 300 {
		t.Errorf("%d of 10,000 are unchanged", unchanged)
	}
}
