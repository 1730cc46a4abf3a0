package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sluice/engine"
	"sluice/engine/admin"
	"sluice/engine/config"
)

const (
	// lastWords is how long the end may take for what is still to be logged.
	lastWords = time.Second
	// stopTime is what the end may take at most, besides the time that sessions are given.
	stopTime = 10 * time.Second
)

// run carries clients until SIGTERM or SIGINT, and reloads on SIGHUP.
func (a *app) run(c *command, args []string) error {
	if err := a.noArguments(c, args); err != nil {
		return err
	}
	cfg, err := config.Load(a.environ)
	if err != nil {
		return err
	}
	level := new(slog.LevelVar)
	level.Set(cfg.LogLevel)
	out := newSink(a.err, sinkBytes)
	defer out.close(lastWords)
	log := newLogger(cfg, level, out, underJournal(os.Getenv("JOURNAL_STREAM"), os.Stderr))
	slog.SetDefault(log) // what libraries say by themselves (of metrics they cannot read, say) goes the same way, in the same format
	if a.cores != nil {
		log.Warn("core dumps stay possible, and would hold keys", slog.String("error", a.cores.Error()))
	}
	s := &service{app: a, log: log, level: level, notify: os.Getenv("NOTIFY_SOCKET")}
	s.cfg = s.complete(cfg)
	s.engine, err = engine.New(s.cfg, log, versionText())
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	s.engine.CountLostLines(out.lost.Load)
	return withBindHint(s.serve())
}

// service is one run of the proxy under signals. Only serve's goroutine touches it.
type service struct {
	*app
	log    *slog.Logger
	level  *slog.LevelVar
	notify string // the value of NOTIFY_SOCKET
	cfg    *config.Config
	kept   *keptSecret
	engine *engine.Engine
	looks  uint64 // at the loops, when the service manager was last told
}

// complete gives a trial its secret, the same one at every reload.
func (s *service) complete(cfg *config.Config) *config.Config {
	for _, w := range cfg.Warnings {
		s.log.Warn(w.Text, attributes(w)...)
	}
	if !cfg.Trial {
		return cfg
	}
	if s.kept == nil {
		kept := trialSecret(cfg.StateDir)
		s.kept = &kept
		if kept.problem != nil {
			s.log.Warn("the trial's secret cannot be kept: the next start will have another, and today's links end with this run",
				slog.String("error", kept.problem.Error()))
		}
	}
	return cfg.WithSecret(s.kept.secret)
}

// serve runs the engine and hears signals until the engine has ended.
func (s *service) serve() error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- s.engine.Run(ctx) }()

	ready, reloadDue := s.engine.Ready(), false
	var due <-chan time.Time
	if pause := watchdogPause(os.Getenv("WATCHDOG_USEC"), os.Getenv("WATCHDOG_PID")); pause > 0 && s.notify != "" {
		t := time.NewTicker(pause)
		defer t.Stop()
		due = t.C
	}
	for {
		select {
		case <-due:
			s.beat()
		case err := <-ended:
			return err
		case <-ready:
			ready = nil
			s.opened()
			if reloadDue {
				s.reload()
			}
		case sig := <-signals:
			switch {
			case sig == syscall.SIGHUP && ready != nil:
				reloadDue = true
			case sig == syscall.SIGHUP && ctx.Err() == nil:
				s.reload()
			case sig == syscall.SIGHUP: // the end is near
			case ctx.Err() != nil:
				return errors.New("stopped at once by a second signal")
			default:
				s.tell(admin.Stopping(s.cfg.DrainTimeout + stopTime))
				stop()
			}
		}
	}
}

// opened says that clients can come.
func (s *service) opened() {
	for _, addr := range s.engine.Listening() {
		s.log.Info("listening", slog.String("address", addr.String()))
	}
	if s.cfg.Trial {
		s.welcome()
	}
	s.tell(admin.Ready)
}

// attributes are whose problem it is, and what to do about it.
func attributes(p config.Problem) (attrs []any) {
	attrs = append(attrs, slog.String("variable", p.Variable))
	if p.Hint != "" {
		attrs = append(attrs, slog.String("hint", p.Hint))
	}
	return attrs
}

// reload reads the configuration again, files included, and keeps the one in force on any error.
func (s *service) reload() {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err == nil {
		s.tell(admin.Reloading(time.Duration(now.Nano())))
	}
	defer s.tell(admin.Ready)
	cfg, err := config.Load(s.environ)
	var problems config.Problems
	if errors.As(err, &problems) {
		for _, p := range problems {
			s.log.Error("reload refused, everything stays as it was", append(attributes(p), slog.String("error", p.Text))...)
		}
		return
	}
	cfg = s.complete(cfg)
	if err := s.engine.Reload(cfg); err != nil {
		s.log.Error("reload refused, everything stays as it was", slog.String("error", err.Error()))
		return
	}
	s.level.Set(cfg.LogLevel)
	s.noteFixed(cfg)
	s.cfg = cfg
	s.log.Info("reloaded")
}

// noteFixed names the settings of this package that only a start reads; the engine names its own.
func (s *service) noteFixed(now *config.Config) {
	if now.LogFormat != s.cfg.LogFormat {
		s.log.Warn("this setting needs a restart to change", slog.String("variable", "SLUICE_LOG_FORMAT"))
	}
	if now.StateDir != s.cfg.StateDir {
		s.log.Warn("this setting needs a restart to change", slog.String("variable", "SLUICE_STATE_DIR"))
	}
}

func (s *service) tell(state string) {
	if err := admin.Notify(s.notify, state); err != nil {
		s.log.Warn("the service manager was not told", slog.String("error", err.Error()))
	}
}

// welcome shows the link of a trial and what to do for a real proxy.
func (s *service) welcome() {
	to := endpoint{host: s.cfg.PublicHost, port: s.cfg.PublicPort}
	if to.host == "" {
		to.host = trialHost
	}
	if listening := s.engine.Listening(); to.port == 0 && len(listening) > 0 {
		to.port = listening[0].Port()
	}
	fmt.Fprint(s.out, "\nSluice is running for trying out: no SLUICE_SECRET is set, so it made one for itself.\nOpen this link in Telegram:\n\n")
	to.print(s.out, s.kept.secret, true)
	if to.host == trialHost {
		fmt.Fprintf(s.out, "Only Telegram on this machine can use it while the link says %s: set SLUICE_PUBLIC_HOST.\n", trialHost)
	}
	fmt.Fprint(s.out, realSettings)
}

const realSettings = `For a proxy that looks like a web site to everybody else, set

  SLUICE_SECRET       a secret for that site's name: sluice secret HOST
  SLUICE_FRONT        the site itself, if it is not at HOST, port 443
  SLUICE_PUBLIC_HOST  the name or address that clients connect to
  SLUICE_LISTEN       :443, where web sites are

`

// withBindHint adds what to do when a listening address could not be had.
func withBindHint(err error) error {
	var op *net.OpError
	switch {
	case errors.Is(err, syscall.EACCES) && errors.As(err, &op) && op.Net == "unix":
		return hinted{err, "this user must be able to write in the folder of SLUICE_ADMIN_LISTEN's socket"}
	case errors.Is(err, syscall.EACCES):
		return hinted{err, "ports below 1024 need root or CAP_NET_BIND_SERVICE; 8443 does not (SLUICE_LISTEN, SLUICE_ADMIN_LISTEN)"}
	case errors.Is(err, syscall.EADDRINUSE):
		return hinted{err, "another program has that port: stop it, or change SLUICE_LISTEN or SLUICE_ADMIN_LISTEN"}
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return hinted{err, "SLUICE_LISTEN and SLUICE_ADMIN_LISTEN must name an address of this machine, or none: :8443"}
	case errors.Is(err, syscall.ENOENT) && errors.As(err, &op) && op.Net == "unix":
		return hinted{err, "the folder of SLUICE_ADMIN_LISTEN's socket must be there"}
	}
	return err
}
