package e2e

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sluice/bench/client"
	"sluice/bench/deny"
	"sluice/bench/stand"
)

// A lack is something that the kernel, or a container's filter, may keep from the proxy, and what is to be seen of it.
type lack struct {
	name     string
	rules    []deny.Rule
	prefix   []string // of the command
	settings env
	splices  float64 // sluice_splice_supported
	noPipes  bool
	log      string  // words of the one line above info that there is to be; none when empty
	fds      float64 // sluice_fds_limit, if it is to be something
}

// guarded is a door with ranges, which the kernel is asked to guard.
var guarded = env{"SLUICE_EDGE": "custom", "SLUICE_EDGE_MODE": "opaque", "SLUICE_EDGE_RANGES": "127.0.0.0/8"}

const (
	noSplice   = "downloads are copied"
	noGuard    = "does not guard"
	noLimit    = "limit of descriptors"
	noKeepLive = "socket option"
)

func tcp(option int) deny.Rule { return deny.Option(unix.IPPROTO_TCP, option, unix.ENOPROTOOPT) }

// lacks are every kernel fact that the proxy can do without.
var lacks = []lack{
	{name: "nothing", splices: 1},
	{name: "splice is not there", rules: []deny.Rule{deny.Always("splice", unix.ENOSYS)}, noPipes: true, log: noSplice},
	{name: "splice is forbidden", rules: []deny.Rule{deny.Always("splice", unix.EPERM)}, noPipes: true, log: noSplice},
	{name: "splice is of no use", rules: []deny.Rule{deny.Always("splice", unix.EINVAL)}, noPipes: true, log: noSplice},
	{name: "tee is not there", rules: []deny.Rule{deny.Always("tee", unix.ENOSYS)}, log: noSplice},
	{name: "no pipes", rules: []deny.Rule{deny.Always("pipe2", unix.EMFILE)}, noPipes: true, log: noSplice},
	{name: "no large pipes", rules: []deny.Rule{deny.Fcntl(unix.F_SETPIPE_SZ, unix.EPERM)}, log: noSplice},
	{name: "pipes of unknown size", rules: []deny.Rule{deny.Fcntl(unix.F_GETPIPE_SZ, unix.EINVAL)}, noPipes: true, log: noSplice},
	{name: "no bpf", rules: []deny.Rule{deny.Always("bpf", unix.EPERM)}, settings: guarded, splices: 1, log: noGuard},
	{name: "no bpf in the kernel", rules: []deny.Rule{deny.Always("bpf", unix.ENOSYS)}, settings: guarded, splices: 1, log: noGuard},
	{
		name: "no filter on sockets", rules: []deny.Rule{deny.Option(unix.SOL_SOCKET, unix.SO_ATTACH_BPF, unix.EPERM)},
		settings: guarded, splices: 1, log: noGuard,
	},
	{name: "no filter off sockets", rules: []deny.Rule{deny.Option(unix.SOL_SOCKET, unix.SO_DETACH_FILTER, unix.EPERM)}, splices: 1},
	{name: "no pidfd", rules: []deny.Rule{deny.Always("pidfd_open", unix.ENOSYS), deny.Always("pidfd_send_signal", unix.ENOSYS)}, splices: 1},
	{
		name: "no limits to be read", splices: 1, log: noLimit,
		rules: []deny.Rule{deny.Always("prlimit64", unix.EPERM), deny.Always("getrlimit", unix.EPERM), deny.Always("setrlimit", unix.EPERM)}, fds: 1024 - 64,
	},
	{
		name: "no limits to be raised", splices: 1, prefix: []string{"prlimit", "--nofile=500:1000"},
		rules: []deny.Rule{deny.Always("prlimit64", unix.EPERM), deny.Always("setrlimit", unix.EPERM)}, log: noLimit, fds: 999 - 64, // the wrapper is a Go program: its runtime has raised all but one, before the filter was on
	},
	{name: "no TCP_NOTSENT_LOWAT", rules: []deny.Rule{tcp(unix.TCP_NOTSENT_LOWAT)}, splices: 1},
	{name: "no TCP_NODELAY", rules: []deny.Rule{tcp(unix.TCP_NODELAY)}, splices: 1, log: noKeepLive},
	{name: "no SO_KEEPALIVE", rules: []deny.Rule{deny.Option(unix.SOL_SOCKET, unix.SO_KEEPALIVE, unix.ENOPROTOOPT)}, splices: 1, log: noKeepLive},
	{
		name: "no times for keepalive", splices: 1, log: noKeepLive,
		rules: []deny.Rule{tcp(unix.TCP_KEEPIDLE), tcp(unix.TCP_KEEPINTVL), tcp(unix.TCP_KEEPCNT)},
	},
	{name: "no SO_LINGER", rules: []deny.Rule{deny.Option(unix.SOL_SOCKET, unix.SO_LINGER, unix.ENOPROTOOPT)}, splices: 1},
	{name: "no SIOCOUTQ", rules: []deny.Rule{{Call: "ioctl", Args: []deny.Arg{{Index: 1, Value: unix.TIOCOUTQ}}, Errno: unix.ENOTTY}}, splices: 1},
	{name: "no IPv6", rules: []deny.Rule{{Call: "socket", Args: []deny.Arg{{Value: unix.AF_INET6}}, Errno: unix.EAFNOSUPPORT}}, settings: env{"SLUICE_LISTEN": "[::]:0"}, splices: 1},
	{name: "no getrandom", rules: []deny.Rule{deny.Always("getrandom", unix.ENOSYS)}, splices: 1},
	{name: "no count of processors", rules: []deny.Rule{deny.Always("sched_getaffinity", unix.EPERM)}, splices: 1},
}

// allLacks is everything at once. What was forbidden in several ways is forbidden in the first.
func allLacks() (all lack) {
	all = lack{name: "everything at once", settings: guarded.with(env{"SLUICE_LISTEN": "[::]:0"}), noPipes: true}
	for _, l := range lacks {
		all.rules = append(all.rules, l.rules...)
	}
	return all
}

// Without any of what it can do without, and without all of it, the proxy carries every byte, shows strangers the front, tells
// the truth about itself, and ends in good order.
func TestKernelLacks(t *testing.T) {
	for _, l := range append(lacks, allLacks()) {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			for _, aligned := range []string{"on", "off"} {
				r := startRig(t, l.settings.with(env{"SLUICE_ALIGNED_DOWNLOADS": aligned}), append(slices.Clone(l.prefix), deny.Argv(l.rules, binary)...)...)
				l.serves(t, r)
				l.says(t, r.proxy)
			}
		})
	}
}

// serves: sessions and strangers, with enough bytes for pipes, and each way of ending.
func (l *lack) serves(t *testing.T, r *rig) {
	t.Helper()
	const much = 4 << 20
	c := r.dial(t, client.Config{})
	for name, err := range map[string]error{"down": down(c, much), "up": up(c, much), "down again": down(c, much)} {
		if err != nil {
			t.Fatalf("a session, %s: %v", name, err)
		}
	}
	s := stranger(t, r.proxy.Addr())
	for name, err := range map[string]error{"down": down(s, much), "up": up(s, much)} {
		if err != nil {
			t.Fatalf("a stranger, %s: %v", name, err)
		}
	}
	tail := r.dial(t, client.Config{})
	request(t, tail, stand.Request{Op: stand.DownClose, Size: 300_000, Seed: 9})
	if err := stand.CheckRest(tail, 9, 300_000); err != nil {
		t.Errorf("a session's end: %v", err)
	}
	// What was sent before a reset comes, though it has not left yet when the reset does.
	slow := r.dial(t, client.Config{ReceiveBuffer: 8 << 10})
	const late = 60_000
	request(t, slow, stand.Request{Op: stand.Down, Size: late, Seed: 4})
	request(t, slow, stand.Request{Op: stand.Reset})
	eventually(t, "the data centre's reset", func() error { return wantNone(r.dc.Open() - 1) })
	if err := stand.CheckStream(slow, 4, late); err != nil {
		t.Errorf("before a reset: %v", err)
	}
	gone := r.dial(t, client.Config{})
	request(t, gone, stand.Request{Op: stand.Reset})
	if n, err := io.Copy(io.Discard, gone); n > 0 {
		t.Errorf("after a reset: %d bytes, %v", n, err)
	}
	for _, c := range []io.Closer{c, s, tail, slow, gone} {
		_ = c.Close()
	}
	for _, state := range []string{"handshake", "relay", "front"} {
		wantMetric(t, r.proxy, fmt.Sprintf("sluice_connections{state=%q}", state), 0)
	}
}

// says: the metrics and the log.
func (l *lack) says(t *testing.T, p *stand.Proxy) {
	t.Helper()
	wantMetric(t, p, "sluice_splice_supported", l.splices)
	if l.noPipes {
		wantMetric(t, p, `sluice_pipes{state="idle"}`, 0)
	}
	if l.splices == 0 {
		page, err := p.Page("/metrics")
		if spliced := regexp.MustCompile(`(?m)^sluice_relay_bytes_total\{direction="down",edge="\w+",path="splice"\} (.*)$`).FindAllStringSubmatch(page, -1); err != nil ||
			len(spliced) != 1 || spliced[0][1] != "0" {
			t.Errorf("downloads by splice: %q, %v", spliced, err)
		}
	}
	if l.fds != 0 {
		wantMetric(t, p, "sluice_fds_limit", l.fds)
	}
	if l.log == noGuard {
		wantMetric(t, p, "sluice_edge_guard", 0)
	}
	if l.name == "everything at once" {
		for _, want := range []string{noSplice, noGuard, noLimit, noKeepLive} {
			l.onceInLog(t, p, want)
		}
		return
	}
	l.onceInLog(t, p, l.log)
}

// onceInLog: one line above info says it, and no other says anything.
func (l *lack) onceInLog(t *testing.T, p *stand.Proxy, want string) {
	t.Helper()
	n := 0
	for _, line := range p.Lines() {
		msg := line.Get("msg")
		switch {
		case !slices.Contains([]string{"WARN", "ERROR"}, line.Get("level")), strings.Contains(msg, "could not be learned"):
		case l.log == noLimit && strings.Contains(msg, "core dumps"): // the same call forbids them
		case want != "" && strings.Contains(msg, want):
			n++
		case l.name != "everything at once":
			t.Errorf("logged: %v", line)
		}
	}
	if want != "" && n != 1 {
		t.Errorf("%q is logged %d times", want, n)
	}
}

// What the proxy cannot do without it names, and does not start.
func TestKernelMusts(t *testing.T) {
	for _, l := range []lack{
		{name: "no SO_REUSEPORT", rules: []deny.Rule{deny.Option(unix.SOL_SOCKET, unix.SO_REUSEPORT, unix.ENOPROTOOPT)}, log: "listen on"},
		{
			name: "a guard that is required", rules: []deny.Rule{deny.Always("bpf", unix.EPERM)},
			settings: guarded.with(env{"SLUICE_EDGE_GUARD": "required"}), log: "SLUICE_EDGE_GUARD=required",
		},
	} {
		settings := env{"SLUICE_SECRET": secret.String()}.with(l.settings)
		p, err := stand.StartProxy(shortDir(t), settings, deny.Argv(l.rules, binary)...)
		if err == nil {
			p.Kill()
			t.Errorf("%s: it starts", l.name)
		} else if !strings.Contains(err.Error(), l.log) {
			t.Errorf("%s: %v", l.name, err)
		}
	}
}
