// Command profiled is the proxy with a profiler in it: the same engine and the same configuration as cmd/sluice, without its command
// line. It exists so that the product itself needs no way to be profiled. `make profile` builds and drives it:
//
//   - SIGUSR1 begins a CPU profile in the directory that PROFILE_DIR names,
//   - SIGUSR2 ends it, writes a heap profile of what is live beside it, and then the empty file "done",
//   - SIGTERM ends the process.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"syscall"

	"sluice/engine"
	"sluice/engine/config"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "profiled: error:", err)
		os.Exit(1)
	}
}

func run() error {
	dir := os.Getenv("PROFILE_DIR")
	if dir == "" {
		return errors.New("PROFILE_DIR is not set")
	}
	cfg, err := config.Load(os.Environ())
	if err != nil {
		return err
	}
	e, err := engine.New(cfg, slog.New(slog.NewTextHandler(os.Stderr, nil)), "profiled")
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTERM, os.Interrupt)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	var cpu *os.File
	for {
		select {
		case err := <-ended:
			return err
		case s := <-signals:
			switch s {
			case syscall.SIGUSR1:
				cpu, err = begin(dir)
			case syscall.SIGUSR2:
				err = end(dir, cpu)
			default:
				stop()
			}
			if err != nil {
				return err
			}
		}
	}
}

func begin(dir string) (*os.File, error) {
	f, err := os.Create(filepath.Join(dir, "cpu.pprof"))
	if err != nil {
		return nil, err
	}
	return f, pprof.StartCPUProfile(f)
}

func end(dir string, cpu *os.File) error {
	if cpu == nil {
		return errors.New("no CPU profile has been begun")
	}
	pprof.StopCPUProfile()
	err := cpu.Close()
	heap, createErr := os.Create(filepath.Join(dir, "heap.pprof"))
	if createErr != nil {
		return createErr
	}
	runtime.GC() // what is live, not what is garbage
	err = errors.Join(err, pprof.WriteHeapProfile(heap), heap.Close())
	return errors.Join(err, os.WriteFile(filepath.Join(dir, "done"), nil, 0o644))
}
