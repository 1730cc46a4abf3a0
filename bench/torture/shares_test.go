package main

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestSumTicks(t *testing.T) {
	fields := strings.Fields("cpu 10 20 30 x")
	for _, tt := range []struct {
		at   []int
		want time.Duration
		ok   bool
	}{
		{[]int{1, 3}, 400 * time.Millisecond, true},
		{[]int{2}, 200 * time.Millisecond, true},
		{[]int{4}, 0, false},
		{[]int{5}, 0, false},
	} {
		if got, err := sumTicks(fields, tt.at...); got != tt.want || (err == nil) != tt.ok {
			t.Errorf("%v: %v, %v", tt.at, got, err)
		}
	}
}

// Who works is seen to, and a process that there is not is an error.
func TestShares(t *testing.T) {
	s := newShares(map[string]int{"own": os.Getpid()})
	before, err := processTime(os.Getpid())
	for now := before; err == nil && now < before+50*time.Millisecond; {
		now, err = processTime(os.Getpid())
	}
	if err != nil {
		t.Fatal(err)
	}
	if text, err := s.text(); err != nil || !strings.HasPrefix(text, "own 0.") && !strings.HasPrefix(text, "own 1.") || !strings.Contains(text, ", all else ") {
		t.Errorf("%q, %v", text, err)
	}
	if now, err := s.used(); err != nil || now["own"]-s.before["own"] < 50*time.Millisecond || now[whole] <= s.before[whole] {
		t.Errorf("%v, then %v, %v", s.before, now, err)
	}
	if text, err := newShares(map[string]int{"nobody": 1 << 30}).text(); err == nil {
		t.Errorf("%q", text)
	}
}
