package doctor

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sluice/engine/config"
	"sluice/engine/edge"
	choices "sluice/engine/front"
)

// front is one of the places where strangers are sent to, with what is asked of it once. Any goroutine may use it.
type front struct {
	to     config.Front
	label  string // as SLUICE_FRONT has it
	number string // what the running proxy's metrics call it
	name   string // what it is asked for
	// names are those that it is known to be asked for: the secrets' that lead to it, and the one that it is set for.
	names  []string
	client bool // one of them is a secret's
	addrs  func() ([]netip.Addr, error)
	answer func() (answer, error) // to a browser that asks for name
}

const (
	// frontSteps is how many steps there are for asking all fronts: a look-up, a connection and a handshake, and the others' turns.
	frontSteps = 3
	// atOnce is how many fronts are asked at a time.
	atOnce = 128
)

var (
	errLoop = errors.New("it leads back to this proxy")
	errLate = errors.New("could not be asked in the time there was")
)

// makeFronts finds the fronts that the configuration has, and by which names they are asked.
func (x *exam) makeFronts(ctx context.Context) {
	x.until, x.turns = time.Now().Add(frontSteps*x.world.Step), make(chan struct{}, atOnce)
	all := append([]config.FrontFor{{Front: x.cfg.Front}}, x.cfg.FrontsFor...)
	for i, c := range all {
		f := &front{to: c.Front, label: c.Front.String(), number: strconv.Itoa(i + 1)}
		f.addrs = sync.OnceValues(func() ([]netip.Addr, error) { return x.lookUp(ctx, f.to.Host) })
		f.answer = sync.OnceValues(func() (answer, error) { return x.visitFront(ctx, f, f.name, true) })
		x.fronts = append(x.fronts, f)
		if i == 0 {
			x.choice = choices.NewChoice(f)
			continue
		}
		f.label = c.String()
		x.choice.Add(c.Name, f)
	}
	for i, f := range x.fronts {
		x.nameFront(f, all[i].Name)
	}
}

// nameFront finds the names that lead to a front, which is set for one of them, for all below one, or for all others.
func (x *exam) nameFront(f *front, set string) {
	f.names = x.choice.Names(f, x.hosts())
	f.client = len(f.names) > 0
	if set != "" && !strings.HasPrefix(set, "*") && !f.client {
		f.names = []string{set}
	}
	f.name = x.choice.AskedBy(f, set, x.hosts())
	switch {
	case f.name != "":
	case f.to.Named() && len(x.fronts) > 1:
		f.name = f.to.Host
	default:
		f.name = x.frontName()
	}
}

// several says whether it has to be said which front is meant.
func (x *exam) several() bool { return len(x.fronts) > 1 }

// frontFor is where who asks for a name is sent to.
func (x *exam) frontFor(name string) *front { return x.choice.For([]byte(name)) }

// onward are those of a front's addresses that do not lead back here, as the proxy takes them.
func (x *exam) onward(f *front, addrs []netip.Addr) (on []netip.Addr) {
	var public []netip.Addr
	if f.to.Port == x.cfg.PublicPort && x.cfg.PublicHost != "" {
		public, _ = x.publicAddrs() // without them nothing can be said
	}
	for _, a := range addrs {
		if !x.isListener(a, f.to.Port) && !slices.Contains(public, a) {
			on = append(on, a)
		}
	}
	return on
}

// isListener says whether a connection there would come to the proxy.
func (x *exam) isListener(a netip.Addr, port uint16) bool {
	return slices.ContainsFunc(x.cfg.Listen, func(l netip.AddrPort) bool {
		return l.Port() == port && (l.Addr() == a || l.Addr().IsUnspecified() && x.isOwn(a))
	})
}

// cameBack says whether the running proxy has seen its own connections to a front come back.
func (x *exam) cameBack(f *front) bool {
	p, err := x.page()
	return err == nil && p.by("sluice_front_looped", "front")[f.number] > 0
}

func (x *exam) isHere(f *front) bool {
	if f.to.Network == "unix" {
		return true
	}
	addrs, err := f.addrs()
	return err == nil && !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return !x.isLocal(a) })
}

// dialFront connects to a front as the proxy does, with the PROXY header that it sends.
func (x *exam) dialFront(ctx context.Context, f *front) (conn net.Conn, err error) {
	if f.to.Network == "unix" {
		conn, err = x.dial(ctx, "unix", f.to.Host)
	} else {
		addrs, lookErr := f.addrs()
		if lookErr != nil {
			return nil, lookErr
		}
		on := x.onward(f, addrs)
		if len(on) == 0 && len(addrs) > 0 {
			return nil, errLoop
		}
		conn, err = x.dialAny(ctx, on, f.to.Port)
	}
	if err != nil || x.cfg.FrontProxyProtocol == 0 {
		return conn, err
	}
	if _, err = conn.Write(edge.AppendHeader(nil, x.cfg.FrontProxyProtocol, addrPort(conn.LocalAddr()), addrPort(conn.RemoteAddr()), nil)); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort()
	}
	return netip.AddrPort{}
}

// inTurn asks a front when it is its turn, if that comes in time.
func (x *exam) inTurn(ctx context.Context, ask func(context.Context) error) error {
	ctx, done := context.WithDeadline(ctx, x.until)
	defer done()
	select {
	case <-ctx.Done():
		return errLate
	case x.turns <- struct{}{}:
	}
	defer func() { <-x.turns }()
	if ctx.Err() != nil {
		return errLate
	}
	return ask(ctx)
}

func (x *exam) visitFront(ctx context.Context, f *front, name string, page bool) (a answer, err error) {
	err = x.inTurn(ctx, func(ctx context.Context) error {
		conn, err := x.dialFront(ctx, f)
		if err == nil {
			a, err = x.visitTLS(ctx, conn, name, page)
		}
		return err
	})
	return a, err
}
