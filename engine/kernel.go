package engine

import (
	"errors"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"sluice/splice"
)

// What the kernel, or the filter of a container, may keep from us, where we can do without.

// splices says whether the kernel moves downloads on every loop.
func (e *Engine) splices() bool {
	return !slices.ContainsFunc(e.loops, func(l *splice.Loop) bool { return !l.Stats().Splices.Load() })
}

// noteCopies says once that downloads will cost more than they need to.
func (e *Engine) noteCopies() {
	if !e.splices() {
		e.log.Warn("downloads are copied, which costs more processor time: the kernel, or a filter on system calls, does not let us have "+
			"splice and tee and pipes of 512 KiB", slog.Int64("pipe_capacity_bytes", e.loops[0].Stats().PipeSize.Load()))
	}
}

// tuned are the options of a listener's connections that can be had here. gnet does not listen at all when one is refused, hence the trial.
func (e *Engine) tuned() (options []gnet.Option) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil // whoever listens next will say why
	}
	defer unix.Close(fd)
	set := func(level, option, value int) error {
		return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, level, option, value))
	}
	noDelay := set(unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if noDelay != nil { // it is on by itself
		options = append(options, gnet.WithTCPNoDelay(gnet.TCPDelay))
	}
	var keepAlive error
	if e.keepAlive > 0 {
		every := splice.KeepAliveAgain(e.keepAlive)
		keepAlive = errors.Join(set(unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1), set(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(e.keepAlive/time.Second)),
			set(unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(every/time.Second)), set(unix.IPPROTO_TCP, unix.TCP_KEEPCNT, splice.KeepAliveCount))
		if keepAlive == nil {
			options = append(options, gnet.WithTCPKeepAlive(e.keepAlive), gnet.WithTCPKeepInterval(every), gnet.WithTCPKeepCount(splice.KeepAliveCount))
		}
	}
	if err := errors.Join(noDelay, keepAlive); err != nil {
		e.limited.line("sockets", slog.LevelWarn, "a socket option cannot be had, and connections go without: answers may take longer, or dead clients be noticed later",
			slog.Bool("no_delay", noDelay == nil), slog.Bool("keep_alive", keepAlive == nil), slog.String("error", err.Error()))
	}
	return options
}
