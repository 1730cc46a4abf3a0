package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// Everything that is logged comes out, in order, line by line, whoever logs.
func TestSink(t *testing.T) {
	var out bytes.Buffer // written to by one goroutine, read after close
	s := newSink(&out, sinkBytes)
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for i := range 200 {
				fmt.Fprintf(s, "%d %d\n", w, i)
			}
		})
	}
	writers.Wait()
	s.close(patience)
	next := [8]int{}
	for line := range strings.Lines(out.String()) {
		var w, i int
		if _, err := fmt.Sscanf(line, "%d %d\n", &w, &i); err != nil || i != next[w] {
			t.Fatalf("line %q, want the %dth of its writer: %v", line, next[w], err)
		}
		next[w]++
	}
	if next != [8]int{200, 200, 200, 200, 200, 200, 200, 200} || s.lost.Load() != 0 {
		t.Errorf("lines %v, %d lost", next, s.lost.Load())
	}
}

// A reader that stands still stops nobody: as many bytes wait as may, the rest is counted, and all that waited comes in the end.
func TestSinkIsBounded(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	const limit, lines = 10_000, 3000
	s := newSink(w, limit)
	line := strings.Repeat("x", 99) + "\n"
	for range lines {
		if n, err := io.WriteString(s, line); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
	}
	if n := s.lost.Load(); n == 0 || n > lines-limit/100 {
		t.Errorf("%d of %d lines lost, with room for %d beside the pipe's", n, lines, limit/100)
	}
	s.close(10 * time.Millisecond) // it does not wait for ever
	got := make(chan int, 1)
	go func() {
		b, _ := io.ReadAll(r)
		got <- bytes.Count(b, []byte(line))
	}()
	<-s.done
	_ = w.Close()
	if n := <-got; n+int(s.lost.Load()) != lines {
		t.Errorf("%d lines came and %d were lost, of %d", n, s.lost.Load(), lines)
	}
	before := s.lost.Load()
	_, _ = io.WriteString(s, line)
	if s.lost.Load() != before+1 {
		t.Error("a line after the end is not counted as lost")
	}
}

// What fits exactly is kept; a byte more is not.
func TestSinkLimit(t *testing.T) {
	gate := make(chan struct{})
	var out bytes.Buffer
	s := newSink(writerFunc(func(b []byte) (int, error) { <-gate; return out.Write(b) }), 10)
	for _, line := range []string{"12345", "67890", "x"} {
		_, _ = io.WriteString(s, line)
	}
	close(gate)
	s.close(patience)
	if out.String() != "1234567890" || s.lost.Load() != 1 {
		t.Errorf("%q, %d lost", out.String(), s.lost.Load())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
