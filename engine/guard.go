package engine

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"sluice/bpf"
	"sluice/engine/config"
)

// The guard: where it may, the kernel drops the SYNs of who is not in a door's ranges, so that they are not answered at all.
// Where it may not, such connections are closed after accept (OnOpen), which is also what happens in the moment before the
// guard is on a new listener.

const noGuardHint = "the kernel does not guard the listeners: connections from outside the ranges are closed after they are accepted, " +
	"which a scanner can tell from a closed port. Give the process CAP_BPF and CAP_NET_ADMIN, or close the port in the firewall (sluice ranges --format nft)"

// loadGuard gives k a guard, if one is wanted and can be had.
func (e *Engine) loadGuard(cfg *config.Config, k *keeper) error {
	if cfg.EdgeGuard == config.GuardOff || cfg.Edge.Outsiders == config.ToFront {
		return nil
	}
	g, err := bpf.NewGuard()
	if err == nil {
		k.guard.Store(g)
		err = k.arm()
	}
	if err == nil {
		return nil
	}
	k.closeGuard()
	if cfg.EdgeGuard == config.GuardRequired {
		return fmt.Errorf("SLUICE_EDGE_GUARD=required: %w", err)
	}
	e.limited.line("no_guard", slog.LevelWarn, noGuardHint, slog.String("error", err.Error()))
	return nil
}

// arm gives the guard the ranges in force.
func (k *keeper) arm() error {
	k.guarding.Lock()
	defer k.guarding.Unlock()
	g := k.guard.Load()
	if g == nil {
		return nil
	}
	v4, v6 := k.Set().Prefixes()
	return g.Set(slices.Concat(v4, v6))
}

// dropped is what the guard has turned away.
func (k *keeper) dropped() (v4, v6 uint64) {
	k.guarding.Lock()
	defer k.guarding.Unlock()
	if g := k.guard.Load(); g != nil {
		v4, v6, _ = g.Dropped()
	}
	return v4, v6
}

func (k *keeper) closeGuard() {
	k.guarding.Lock()
	defer k.guarding.Unlock()
	if g := k.guard.Swap(nil); g != nil {
		_ = g.Close()
	}
}

// attach puts the guard on a listener; false says that there is none.
func (k *keeper) attach(fd int) (bool, error) {
	k.guarding.Lock()
	defer k.guarding.Unlock()
	g := k.guard.Load()
	if g == nil {
		return false, nil
	}
	return true, g.Attach(fd)
}

// guarded says whether the kernel judges who comes in by d. It is asked for every connection, and waits for nobody.
func (d *door) guarded() bool { return d.keeper != nil && d.keeper.guard.Load() != nil }

// guardListeners puts each door's guard on its listeners, or takes a former one off. gnet opens a listener for each loop and
// keeps it to itself, hence the search. It returns how many listeners are as they should be.
func (e *Engine) guardListeners() (done int) {
	e.guarding.Lock()
	defer e.guarding.Unlock()
	l := e.live.Load()
	for _, fd := range openDescriptors() {
		own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0) // so that it stays what we find it to be
		if err != nil {
			continue
		}
		if i, ok := e.listenerDoor(own); ok && i < len(l.doors) {
			if err := l.doors[i].guardListener(own); err == nil {
				done++
			} else {
				e.limited.line("no_guard", slog.LevelWarn, noGuardHint, slog.String("error", err.Error()))
			}
		}
		_ = unix.Close(own)
	}
	return done
}

func (d *door) guardListener(fd int) error {
	if d.keeper != nil {
		if ok, err := d.keeper.attach(fd); ok {
			return err
		}
	}
	bpf.Detach(fd)
	return nil
}

// listenerDoor says which door a descriptor listens at, if it does.
func (e *Engine) listenerDoor(fd int) (int, bool) {
	if on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || on == 0 {
		return 0, false
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return 0, false
	}
	i, ok := e.doors[anyAddress(socketAddr(sa))]
	return i, ok
}

func openDescriptors() (fds []int) {
	d, err := os.Open("/proc/self/fd")
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	for _, n := range names {
		if fd, err := strconv.Atoi(n); err == nil {
			fds = append(fds, fd)
		}
	}
	return fds
}

// guardSoon is how often the search is tried at the ticker's pace, before it is tried once a second.
const guardSoon = 20

// keepGuarded is the ticker's call: listeners that gnet has opened since get their guard.
func (e *Engine) keepGuarded() {
	h := e.handler.Load()
	if h == nil || e.guardedFor.Load() == h || e.clock() < e.guardNext {
		return
	}
	if e.guardListeners() >= len(e.loops)*len(e.listening) {
		e.guardedFor.Store(h)
	} else if e.state.Load() == serving && e.guardTries > guardSoon {
		e.guardNext = e.clock() + int64(time.Second)
	}
	e.guardTries++
}

// guardState is 1 when the kernel judges at every door that has ranges, 0 when it does not; ok is false without such a door.
func (e *Engine) guardState() (value float64, ok bool) {
	if h := e.handler.Load(); h != nil && e.guardedFor.Load() == h {
		value = 1
	}
	for _, d := range e.live.Load().doors {
		if d.keeper == nil {
			continue
		}
		ok = true
		if !d.guarded() {
			value = 0
		}
	}
	return value, ok
}

// guardDropped is what all guards together have turned away, those that are gone included.
func (e *Engine) guardDropped() (v4, v6 uint64) {
	e.guarding.Lock()
	defer e.guarding.Unlock()
	v4, v6 = e.guardPast[0], e.guardPast[1]
	for _, k := range e.live.Load().keepers() {
		a, b := k.dropped()
		v4, v6 = v4+a, v6+b
	}
	return v4, v6
}

// retire ends a keeper that no door has any more.
func (e *Engine) retire(k *keeper) {
	if k.stop != nil {
		k.stop()
	}
	e.guarding.Lock()
	defer e.guarding.Unlock()
	v4, v6 := k.dropped()
	e.guardPast[0], e.guardPast[1] = e.guardPast[0]+v4, e.guardPast[1]+v6
	k.closeGuard()
}

// keepers are those of l's doors, each once.
func (l *live) keepers() (all []*keeper) {
	for _, d := range l.doors {
		if d.keeper != nil && !slices.Contains(all, d.keeper) {
			all = append(all, d.keeper)
		}
	}
	return all
}
