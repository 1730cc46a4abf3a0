package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sluice/bench/client"
)

// soak is one run.
type soak struct {
	opts    options
	rig     *rig
	ledger  *ledger
	lag     lag
	longest time.Duration // life of a session
	between time.Duration // faults
	short   time.Duration // how long a fault lasts
	load    sync.WaitGroup
	loading chan struct{} // closed when the load begins

	reloads int // disturb's

	mu      sync.Mutex
	faults  []fault
	samples []sample
}

// record is all that is kept of a run, but for the samples. Everything that is said of the run is made of the two.
type record struct {
	Date     string         `json:"date"`
	Machine  string         `json:"machine"`
	Version  string         `json:"version"`
	Seed     uint64         `json:"seed"`
	Rate     float64        `json:"rate"`
	Asked    float64        `json:"asked"`  // seconds of load
	Lasted   float64        `json:"lasted"` // of them there were
	Every    float64        `json:"every"`  // seconds between samples
	Idle     float64        `json:"idle"`   // seconds of idle time
	Before   rest           `json:"before"`
	After    rest           `json:"after"`
	Good     map[string]int `json:"good"`
	Cut      int            `json:"cut"` // still there when the load was over
	Bytes    int64          `json:"bytes"`
	Ends     []end          `json:"ends"`
	Faults   []fault        `json:"faults"`
	Errors   []string       `json:"errors"` // that the proxy has logged, each message once
	ExitedBy string         `json:"exit"`   // how the proxy ended; "" is in good order
}

// rest is what the proxy holds while it carries nothing; what could not be seen is -1.
type rest struct {
	Descriptors map[string]int `json:"descriptors"`
	Pipes       float64        `json:"pipes"` // idle
	Busy        float64        `json:"busy"`  // pipes
	Goroutines  float64        `json:"goroutines"`
	Connections float64        `json:"connections"`
	Far         int            `json:"far"` // connections that the data centres still have
	Resident    float64        `json:"resident"`
}

func clamp[T ~int64](d, least, most T) T { return max(least, min(d, most)) }

// soakInto runs a soak and leaves its record in the directory of the options.
func soakInto(ctx context.Context, o options, out io.Writer) error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	s, err := newSoak(o)
	defer s.rig.close()
	if err != nil {
		return err
	}
	r, err := s.run(ctx, out)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, s.rig.proxy.Log())
	}
	return s.save(r)
}

// newSoak starts what a soak needs. Its rig must be closed, after a failure too.
func newSoak(o options) (*soak, error) {
	s := &soak{
		opts: o, loading: make(chan struct{}), longest: clamp(o.time/3, shortest, 4*time.Minute),
		between: clamp(o.time/20, 500*time.Millisecond, 45*time.Second),
	}
	s.short = clamp(s.between/8, 300*time.Millisecond, 4*time.Second)
	var err error
	s.rig, err = newRig(o.binary, clamp(o.time/6, 10*time.Second, 90*time.Second))
	return s, err
}

// run warms the proxy up, loads it, lets it come to rest and stops it.
func (s *soak) run(ctx context.Context, out io.Writer) (*record, error) {
	if err := s.warm(ctx); err != nil {
		return nil, fmt.Errorf("warming up: %w", err)
	}
	r := &record{
		Date: time.Now().UTC().Format("2006-01-02 15:04 MST"), Machine: machine(), Version: version(s.opts.binary), Seed: s.opts.seed, Rate: s.opts.rate,
		Asked: s.opts.time.Seconds(), Every: s.opts.every.Seconds(), Idle: s.rig.idle.Seconds(), Before: s.rig.atRest(ctx, nil),
	}
	fmt.Fprintf(out, "soak: %v of load on process %d until about %s, a fault every %v\n",
		s.opts.time, s.rig.proxy.PID(), time.Now().Add(s.opts.time).UTC().Format("15:04:05 MST"), s.between)
	s.ledger = newLedger()
	sampling, enough := context.WithCancel(context.WithoutCancel(ctx))
	var sampler sync.WaitGroup
	begun := *r
	sampler.Go(func() { s.sampler(sampling, begun) })

	loaded, unload := context.WithTimeout(ctx, s.opts.time)
	defer unload()
	s.watch(loaded)
	close(s.loading)
	s.load.Go(func() { s.disturb(loaded, ctx) })
	s.churn(loaded)
	s.load.Wait()
	r.Lasted = s.ledger.now()
	fmt.Fprintln(out, "soak: the load is over; waiting for the proxy to come to rest")
	r.After = s.rig.atRest(context.WithoutCancel(ctx), &r.Before)
	enough()
	sampler.Wait()

	s.enter(r)
	if err := s.rig.proxy.Stop(patience); err != nil {
		r.ExitedBy = err.Error()
	}
	return r, nil
}

// enter puts what is known so far into a record.
func (s *soak) enter(r *record) {
	s.ledger.enter(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	r.Faults = slices.Clone(s.faults)
	r.Errors = s.rig.errors()
}

// warm has the proxy make what it makes once: pipes, buffers, its page.
func (s *soak) warm(ctx context.Context) error {
	var all sync.WaitGroup
	errs := make(chan error, 40)
	for i := range cap(errs) {
		all.Go(func() { errs <- s.warmOne(ctx, i) })
	}
	all.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	for range 100 {
		if _, err := s.rig.proxy.Page("/metrics"); err != nil {
			return err
		}
	}
	return s.rig.tryFront(ctx)
}

func (s *soak) warmOne(ctx context.Context, i int) error {
	x := &session{ctx: ctx, rig: s.rig, rnd: rand.New(rand.NewPCG(s.opts.seed, uint64(i)))}
	if err := x.open(client.Config{DC: []int16{steadyDC, lameDC}[i%2]}); err != nil {
		return err
	}
	return x.work(func(x *session) error {
		if err := x.down(2 << 20); err != nil {
			return err
		}
		return x.up(512 << 10)
	})
}

// settling bounds the wait for the proxy to come to rest, beside its idle time.
const settling = 30 * time.Second

// atRest looks until nothing is carried and the same is seen several times, or, given what was before, no more than that. The
// last look counts.
func (r *rig) atRest(ctx context.Context, before *rest) (last rest) {
	deadline := time.Now().Add(r.idle + settling)
	for same := 0; ; {
		now := r.lookAtRest()
		if now.quiet() && (before == nil && now.like(last) || before != nil && len(now.more(*before)) == 0) {
			same++
		} else {
			same = 0
		}
		last = now
		if same == 5 || r.gone() || time.Now().After(deadline) || !sleep(ctx, 200*time.Millisecond) {
			return last
		}
	}
}

// gone says whether the proxy has ended.
func (r *rig) gone() bool {
	select {
	case <-r.proxy.Exited():
		return true
	default:
		return false
	}
}

func (r *rig) lookAtRest() rest {
	v := r.look()
	held, _ := r.proxy.Descriptors()
	return rest{
		Descriptors: held, Pipes: known(v[colPipesIdle]), Busy: known(v[colPipesBusy]), Goroutines: known(v[colGoroutines]),
		Connections: known(v[colHandshakes] + v[colRelays] + v[colFronts]), Far: r.farOpen(), Resident: known(v[colResident]),
	}
}

// known is v for JSON, which has no NaN.
func known(v float64) float64 {
	if math.IsNaN(v) {
		return -1
	}
	return v
}

// errors are the messages of the errors that the proxy has logged, each once, and all that is not in the log's format.
func (r *rig) errors() (all []string) {
	for _, l := range r.proxy.Lines() {
		msg := l.Get("msg") + l.Get("text")
		if level := l.Get("level"); (level == "ERROR" || level == "") && !slices.Contains(all, msg) {
			all = append(all, msg)
		}
	}
	return all
}

const (
	recordFile  = "record.json"
	samplesFile = "samples.csv"
)

func (s *soak) save(r *record) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.opts.out, recordFile), append(b, '\n'), 0o644); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(s.opts.out, samplesFile))
	if err != nil {
		return err
	}
	defer f.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	return writeSamples(f, s.samples)
}

func machine() string {
	var u unix.Utsname
	_ = unix.Uname(&u)
	return fmt.Sprintf("%d CPUs, kernel %s, %s", runtime.NumCPU(), unix.ByteSliceToString(u.Release[:]), runtime.Version())
}
