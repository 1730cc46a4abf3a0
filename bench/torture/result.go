package main

import (
	"fmt"
	"time"
)

// result is what a trial found.
type result struct {
	name      string
	moved     [3]int    // sessions that carried bytes before, during and after
	during    [2]visits // clients, strangers that came meanwhile
	lost      int
	recovered time.Duration // until the first newcomers of both kinds were served
	before    figures
	after     figures
	took      time.Duration
	problems  []string
	notes     []string
	log       string
}

// visits is how many newcomers were served, and how many were not.
type visits struct{ ok, failed int64 }

func (v visits) String() string { return fmt.Sprintf("%d/%d", v.ok, v.failed) }

const rowFormat = "%-20s %-12s %4s  %-10s %-10s %8s  %-9s %-9s %-7s %-7s %6s  %s"

func header() string {
	return fmt.Sprintf(rowFormat, "fault", "sessions", "lost", "clients", "strangers", "recovery", "MiB", "fds", "pipes", "gorout.", "took", "verdict") + "\n" +
		fmt.Sprintf(rowFormat, "", "bef/dur/aft", "", "ok/not", "ok/not", "", "", "", "", "", "", "")
}

func (r *result) row() string {
	pair := func(a, b int) string { return fmt.Sprintf("%d→%d", a, b) }
	verdict := "ok"
	if len(r.problems) > 0 {
		verdict = "FAILED"
	}
	return fmt.Sprintf(rowFormat, r.name, fmt.Sprintf("%d/%d/%d", r.moved[0], r.moved[1], r.moved[2]), fmt.Sprint(r.lost),
		r.during[0].String(), r.during[1].String(),
		r.recovered.Round(time.Millisecond).String(),
		pair(int(r.before.resident/mib), int(r.after.resident/mib)), pair(r.before.descriptors, r.after.descriptors),
		pair(r.before.pipes, r.after.pipes), pair(r.before.goroutines, r.after.goroutines), fmt.Sprintf("%.1fs", r.took.Seconds()), verdict)
}
