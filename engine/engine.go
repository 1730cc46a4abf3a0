// Package engine is the proxy: it accepts connections on gnet's loops, takes them through their handshake, and hands each to
// the relay loop of the same core, on its way to a DC or to the front. It wires the rooms below it and is the only place that
// classifies, counts and logs what happens.
package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/engine/access"
	"sluice/engine/admin"
	"sluice/engine/config"
	"sluice/engine/dc"
	"sluice/engine/edge"
	"sluice/engine/front"
	"sluice/engine/replay"
	"sluice/faketls"
	"sluice/splice"
)

const (
	replayCapacity = 1 << 21
	hintEvery      = 30 * time.Second
)

// Engine is the running proxy. New, Run once, then Reload as often as wanted.
type Engine struct {
	log     *slog.Logger
	limited *limited
	version string
	epoch   time.Time

	keepAlive     time.Duration // of sockets, as the engine was started; 0 is never
	behind, ahead time.Duration // the clock window that the replay table covers

	live      atomic.Pointer[live]
	replay    *replay.Table
	budget    *budget
	loops     []*splice.Loop
	builtin   *front.Site     // a trial's, or nil
	places    *front.Places   // for strangers, across reloads
	unlearned faketls.Shape   // of our handshake, as long as a front's is not known
	looks     looks           // at fronts
	journal   *replay.Journal // nil without a place for it
	marker    [edge.MarkerLen]byte

	counters
	watchdog watchdog

	listening  []netip.AddrPort
	ready      chan struct{}
	state      atomic.Int32
	restarts   atomic.Uint64
	handler    atomic.Pointer[handler] // of the gnet engine that runs
	reloading  sync.Mutex
	run        context.Context         // ends with Run; fronts' resolvers and the keepers of ranges hang on it
	asked      []netip.AddrPort        // to listen on, at the start
	guarding   sync.Mutex              // of the listeners
	guardPast  [2]uint64               // segments dropped by guards that are gone: IPv4, IPv6
	guardNext  int64                   // ticker only: not before this
	guardTries int                     // ticker only
	guardedFor atomic.Pointer[handler] // whose listeners all have their guard
	doors      map[netip.AddrPort]int  // the listeners' places in live.doors, from when the ports are known
}

// The states of an engine.
const (
	starting int32 = iota
	serving
	draining
)

// live is the configuration in force with what is made of it: immutable, swapped by Reload.
type live struct {
	cfg   *config.Config
	users *access.Table
	dcs   *dc.Book
	sites sites
	doors []door             // of cfg.Listen
	stop  context.CancelFunc // of what is done for the sites
}

// New makes an engine of a configuration. It opens no socket but, in a trial, the built-in site's on loopback.
func New(cfg *config.Config, log *slog.Logger, version string) (*Engine, error) {
	e := &Engine{log: log, version: version, epoch: time.Now(), asked: cfg.Listen, ready: make(chan struct{})}
	loops := cores()
	e.initCounters(loops)
	e.limited = newLimited(log, hintEvery, func() { e.logDropped.Inc(e.offLoop()) })
	limit, err := raiseDescriptors()
	if err != nil {
		log.Warn("the limit of descriptors cannot be raised", slog.Int64("limit", limit), slog.String("error", err.Error()))
	}
	pipes := pipesOf(loops)
	e.budget = newBudget(limit, loops, pipes*loops, cfg.MaxConnections)
	if want := int64(cfg.MaxConnections); want > e.budget.connections {
		log.Warn("SLUICE_MAX_CONNECTIONS is more than the limit of descriptors allows (LimitNOFILE= in a unit, --ulimit nofile in a container): it counts as what does fit",
			slog.Int64("asked", want), slog.Int64("connections_limit", e.budget.connections), slog.Int64("fds_limit", limit))
	}
	e.budget.relayed = e.sum((*splice.Stats).Descriptors)
	e.budget.relays = e.sum(func(s *splice.Stats) int64 {
		return s.Relays[splice.ToDC].Load() + s.Relays[splice.ToFront].Load() - s.Shadows.Load()
	})
	e.behind, e.ahead = cfg.ClockBehind, cfg.ClockAhead
	e.keepAlive = cfg.KeepAlive
	e.replay = replay.New(cfg.ClockBehind+cfg.ClockAhead, replayCapacity)
	e.unlearned, e.places = unlearned(), newPlaces(e.budget.connections)
	e.budget.waiting = func() int64 { return int64(e.places.Waiting()) }
	_, _ = rand.Read(e.marker[:]) // never fails
	l, err := e.makeLive(cfg)
	if err != nil {
		e.discard()
		return nil, err
	}
	e.live.Store(l)
	for range loops {
		loop, err := splice.New(splice.Config{Idle: cfg.IdleTimeout, KeepAlive: cfg.KeepAlive, NoKeepAlive: cfg.KeepAlive == 0, Pipes: pipes})
		if err != nil {
			e.discard()
			return nil, err
		}
		e.loops = append(e.loops, loop)
	}
	e.noteCopies()
	e.registerGauges()
	return e, nil
}

// discard gives back what a New or a Run that failed has made.
func (e *Engine) discard() {
	for _, l := range e.loops {
		l.Close()
		_ = l.Run()
	}
	if l := e.live.Load(); l != nil {
		for _, k := range l.keepers() {
			k.closeGuard()
		}
	}
	if e.builtin != nil {
		_ = e.builtin.Close()
	}
}

func (e *Engine) makeLive(cfg *config.Config) (*live, error) {
	users := make([]access.User, len(cfg.Secrets))
	for i, s := range cfg.Secrets {
		users[i] = access.User{Key: s.Key, Host: s.Host}
	}
	s, err := e.makeSites(cfg, e.live.Load())
	if err != nil {
		return nil, err
	}
	doors, err := e.makeDoors(cfg) // last: it may hold descriptors
	if err != nil {
		return nil, err
	}
	return &live{
		cfg: cfg, users: access.NewTable(users), sites: s, doors: doors,
		dcs: dc.NewBook(cfg.DC, dc.Preference(cfg.IPPreference)),
	}, nil
}

// Ready is closed when every listener is open.
func (e *Engine) Ready() <-chan struct{} { return e.ready }

// Listening are the addresses clients are accepted on, with the port the kernel chose where 0 was asked for. Valid after Ready.
func (e *Engine) Listening() []netip.AddrPort { return e.listening }

// clock is the engine's monotonic clock, in nanoseconds.
func (e *Engine) clock() int64 { return int64(time.Since(e.epoch)) }

// Run listens and carries connections until ctx ends; then it drains: no new clients, those in their handshake finish, relays
// go on for the configured time. It returns nil after a drain, whether or not relays had to be cut.
func (e *Engine) Run(ctx context.Context) error {
	tuneCollector()
	addrs, held, err := reservePorts(e.live.Load().cfg.Listen)
	if err != nil {
		e.discard()
		return err
	}
	defer held.release()
	e.listening = addrs
	e.indexDoors()
	run, cancel := context.WithCancel(context.Background())
	defer cancel()
	e.run = run

	var relays sync.WaitGroup
	for _, l := range e.loops {
		relays.Go(func() {
			if err := l.Run(); err != nil {
				e.log.Error("a relay loop ended", slog.String("error", err.Error()))
			}
		})
	}
	defer func() {
		e.places.Close()
		for _, l := range e.loops {
			l.Close()
		}
		relays.Wait()
		for _, k := range e.live.Load().keepers() {
			k.closeGuard()
		}
		if e.builtin != nil {
			_ = e.builtin.Close()
		}
	}()

	defer e.keepJournal()()
	adm, err := e.startAdmin()
	if err != nil {
		return err
	}
	if adm != nil {
		defer func() {
			grace, done := context.WithTimeout(context.Background(), time.Second)
			defer done()
			_ = adm.Shutdown(grace)
		}()
	}
	accepting := make(chan error, 1)
	go func() { accepting <- e.accept(ctx) }()
	select {
	case <-e.ready:
	case err := <-accepting:
		return err
	}
	e.startUpkeep()
	go e.ticker(run)
	go e.watch(run)
	select {
	case <-ctx.Done():
	case err := <-accepting:
		return err
	}
	e.drain(accepting)
	return nil
}

// startAdmin serves metrics and health, if that is wanted.
func (e *Engine) startAdmin() (*admin.Server, error) {
	addr := e.live.Load().cfg.AdminListen
	if addr == config.AdminOff {
		return nil, nil
	}
	a, err := admin.New(addr, admin.Handlers{
		Metrics: e.writeMetrics, Healthy: e.healthy, Ready: e.isReady,
		Token: func() string { return string(e.live.Load().cfg.AdminToken) },
	})
	if err != nil {
		return nil, fmt.Errorf("SLUICE_ADMIN_LISTEN: %w", err)
	}
	go func() {
		if err := a.Serve(); err != nil {
			e.log.Error("the admin address is no longer served", slog.String("error", err.Error()))
		}
	}()
	return a, nil
}

var (
	errNotListening = errors.New("not accepting connections")
	errDraining     = errors.New("draining")
	errNoFront      = errors.New("the front has no address")
)

func (e *Engine) healthy() error {
	if e.state.Load() == starting || (e.state.Load() == serving && e.handler.Load() == nil) {
		return errNotListening
	}
	_, err := e.Alive()
	return err
}

func (e *Engine) isReady() error {
	if e.state.Load() == draining {
		return errDraining
	}
	if err := e.healthy(); err != nil {
		return err
	}
	if _, _, ok := e.live.Load().sites.all[0].Target(); !ok {
		return errNoFront
	}
	return nil
}

// drain waits for what is under way, within the configured time: handshakes first, while new clients are refused; then the
// listeners close and relays go on.
func (e *Engine) drain(accepting <-chan error) {
	e.state.Store(draining)
	limit := e.live.Load().cfg.DrainTimeout
	e.log.Info("draining", slog.Int64("handshakes", e.budget.pending.Load()), slog.Int64("relays", e.budget.relays()),
		slog.Duration("limit", limit))
	deadline := time.Now().Add(limit)
	handshakes := time.Now().Add(min(limit, drainHandshakes))
	e.waitUntil(handshakes, func() bool { return e.budget.pending.Load() == 0 })
	e.stopGnet()
	<-accepting
	e.waitUntil(deadline, func() bool { return e.budget.relays() == 0 })
	e.log.Info("drained", slog.Int64("relays_cut", e.budget.relays()))
}

const (
	drainHandshakes = 2 * time.Second
	drainLook       = 20 * time.Millisecond
)

func (e *Engine) waitUntil(deadline time.Time, done func() bool) {
	for !done() && time.Now().Before(deadline) {
		time.Sleep(drainLook)
	}
}

// startUpkeep begins what only happens once we listen: looking names and lists up.
func (e *Engine) startUpkeep() {
	e.reloading.Lock()
	defer e.reloading.Unlock()
	l := e.live.Load()
	if l.stop != nil {
		return // a reload came first
	}
	e.startSites(l)
	e.startKeepers(l, nil)
}

// Reload puts another configuration in force for connections to come: secrets, front, DCs, the handshake's time, the PROXY
// policy. On error everything stays as it was. Sessions are never touched. Listeners, the admin address, the limit of
// connections, relays' idle time, keep-alive and the clock window (which the replay table is made for) stay until the next start; Reload
// says so in the log when they differ.
func (e *Engine) Reload(cfg *config.Config) error {
	e.reloading.Lock()
	defer e.reloading.Unlock()
	l, err := e.makeLive(cfg)
	if err != nil {
		return err
	}
	old := e.live.Load()
	if e.run != nil {
		e.startKeepers(l, old)
	}
	e.live.Store(l)
	if old.stop != nil {
		old.stop()
	}
	if e.run != nil {
		e.startSites(l) // now, and not before: a look that comes back is to meet its own front, not the last one
		e.guardedFor.Store(nil)
		e.guardListeners() // and the ticker looks again
	}
	e.retireKeepers(l, old)
	e.noteFixed(old.cfg, cfg)
	return nil
}

// noteFixed says which changed settings a reload cannot put in force.
func (e *Engine) noteFixed(old, now *config.Config) {
	for _, s := range []struct {
		name    string
		changed bool
	}{
		{"SLUICE_LISTEN (and until then everything about its edges)", !slices.Equal(e.asked, now.Listen)},
		{"SLUICE_ADMIN_LISTEN", old.AdminListen != now.AdminListen},
		{"SLUICE_MAX_CONNECTIONS", old.MaxConnections != now.MaxConnections},
		{"SLUICE_IDLE_TIMEOUT", old.IdleTimeout != now.IdleTimeout},
		{"SLUICE_KEEPALIVE", old.KeepAlive != now.KeepAlive},
		{"SLUICE_CLOCK_SKEW", old.ClockBehind != now.ClockBehind || old.ClockAhead != now.ClockAhead},
	} {
		if s.changed {
			e.log.Warn("this setting needs a restart to change", slog.String("variable", s.name))
		}
	}
}
