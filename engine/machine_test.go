package engine

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/bench/stand"
	"sluice/engine/config"
	"sluice/engine/edge"
	"sluice/obfs"
)

// machine is an engine whose state machine is fuzzed: it runs, with a data centre and a front that write down what they get.
type machine struct {
	*Engine
	name      string
	policy    config.Policy
	outward   int  // version of the PROXY header to the front; 0: none
	ranged    bool // only edgeAddr is the load balancer's; others are shown the front
	addr      netip.AddrPort
	dc, front *witness
	log       *logBuffer
	seen      map[[16]byte]bool // hellos that were answered; true: maybe, for their sender was reset
}

// models are the engines that the fuzzer has, by what a model has to know of them, and their settings.
var models = [4]struct {
	machine
	settings []string
}{
	{machine{name: "off", policy: config.Off}, nil},
	{
		machine{name: "required", policy: config.Required, outward: 2},
		[]string{"SLUICE_PROXY_PROTOCOL=required", "SLUICE_FRONT_PROXY_PROTOCOL=v2", "SLUICE_ALIGNED_DOWNLOADS=off"},
	},
	{
		machine{name: "optional", policy: config.Optional, outward: 1},
		[]string{"SLUICE_PROXY_PROTOCOL=optional", "SLUICE_FRONT_PROXY_PROTOCOL=v1"},
	},
	{
		machine{name: "ranges", policy: config.Required, ranged: true},
		[]string{
			"SLUICE_EDGE=custom", "SLUICE_EDGE_MODE=proxy", "SLUICE_EDGE_RANGES=127.0.0.2", "SLUICE_EDGE_OUTSIDERS=front",
			"SLUICE_ALIGNED_DOWNLOADS=off",
		},
	},
}

// modelOf is the machine that a plan is for, as a model alone.
func modelOf(p plan) *machine {
	m := models[p.machine()].machine
	return &m
}

// machines are started once in a process and serve every input.
func machines(t testing.TB) (all []*machine) {
	for i := range models {
		m := models[i].machine
		m.start(t, models[i].settings...)
		all = append(all, &m)
	}
	return all
}

func (m *machine) start(t testing.TB, settings ...string) {
	t.Helper()
	m.seen = map[[16]byte]bool{}
	m.log, m.dc, m.front = &logBuffer{}, newWitness(t, answerAsDC), newWitness(t, answerAsFront)
	m.front.teach(t)
	var secrets []string
	for _, s := range fuzzSecrets {
		secrets = append(secrets, s.String())
	}
	cfg, err := config.Load(append([]string{
		"SLUICE_LISTEN=127.0.0.1:0", "SLUICE_ADMIN_LISTEN=off", "SLUICE_SECRET=" + strings.Join(secrets, ","),
		"SLUICE_FRONT=" + m.front.addr().String(), "SLUICE_DRAIN_TIMEOUT=100ms", "SLUICE_STATE_DIR=" + t.TempDir(),
	}, settings...))
	if err != nil {
		t.Fatal(err)
	}
	cfg.DC = map[int][]netip.AddrPort{}
	for _, n := range labelledDCs { // all of the table's, so that no input leads to the internet
		cfg.DC[n] = []netip.AddrPort{m.dc.addr()}
	}
	if m.Engine, err = New(cfg, slog.New(slog.NewTextHandler(m.log, nil)), "test"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	select {
	case <-m.Ready():
	case err = <-ended:
		cancel()
		t.Fatal("the engine did not start: ", err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error("the engine ended with ", err)
		}
	})
	m.addr = m.Listening()[0]
	m.until(t, "it has learned the front's handshake", func() bool { return strings.Contains(m.log.String(), "learned the front's") })
	m.front.forget()
}

// until waits for what the engine does in its own time. The waits are short: the fuzzer makes thousands of them a second.
func (m *machine) until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	end := time.Now().Add(patience)
	for pause := 5 * time.Microsecond; !ok(); time.Sleep(pause) {
		if time.Now().After(end) {
			t.Fatal("never: ", what, "\n", m.log)
		}
		pause = min(2*pause, 5*time.Millisecond)
	}
}

// tally is how handshakes have ended so far, and relays, and what is over at the far ends of the connections opened to them.
type tally struct {
	handshakes    [causes]uint64
	relays, front uint64

	dcOpened, dcOver, frontOpened, frontOver uint64
}

func (m *machine) tally() (n tally) {
	for i, c := range m.handshakes {
		n.handshakes[i] = c.Value()
	}
	for i := range m.relaysClosed {
		n.relays += m.relaysClosed[i].Value()
		n.front += m.frontsClosed[i].Value()
	}
	for _, row := range m.dcDials {
		n.dcOpened += row[dialOK].Value()
	}
	n.frontOpened = m.frontDials[dialOK].Value()
	n.dcOver, n.frontOver = m.dc.over.Load(), m.front.over.Load()
	return n
}

// quiet are the causes that end a connection without a relay.
var quiet = []cause{looped, silent, health, badFrame, unknownDC, frameEnd}

// judged says whether one more handshake has ended since before, and the relay that it ended in, if any.
func (m *machine) judged(before tally, reset bool) bool {
	now := m.tally()
	for i := range causes {
		switch {
		case now.handshakes[i] == before.handshakes[i]:
		case i == accepted:
			return now.relays > before.relays
		case slices.Contains(quiet, i), i == helloEnd && reset:
			return true
		default:
			return now.front > before.front
		}
	}
	return false
}

// rest waits until the handshake that has come since before is over with all that it led to: the engine carries nothing, and its far ends
// have seen the end of what they were brought.
func (m *machine) rest(t testing.TB, before tally, reset bool) {
	t.Helper()
	m.until(t, "the handshake is judged", func() bool { return m.judged(before, reset) })
	m.until(t, "all is closed", func() bool { return m.budget.pending.Load() == 0 && m.budget.relayed() == m.idle() })
	if reset { // what was being opened for him may have been given up
		m.dc.settle(t)
		m.front.settle(t)
	}
	m.until(t, "the far ends have seen it", func() bool {
		now := m.tally()
		return m.dc.open.Load() == 0 && m.front.open.Load() == 0 &&
			now.dcOver-before.dcOver >= now.dcOpened-before.dcOpened && now.frontOver-before.frontOver >= now.frontOpened-before.frontOpened
	})
}

// idle is what the relay loops hold when they carry nothing: their pipes.
func (m *machine) idle() (n int64) {
	for _, l := range m.loops {
		n += 2 * l.Stats().PipesIdle.Load()
	}
	return n
}

// witness is a far end: it writes down what each connection brings until the end of the stream, and only then answers.
type witness struct {
	ln     net.Listener
	answer func(got []byte) []byte
	lesson atomic.Pointer[tls.Config]
	open   atomic.Int64
	over   atomic.Uint64 // connections that were

	mu     sync.Mutex
	visits []visit
}

// visit is a connection that has ended.
type visit struct {
	got   []byte
	whole bool // it ended in an orderly way, and was answered
}

func newWitness(t testing.TB, answer func([]byte) []byte) *witness {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &witness{ln: ln, answer: answer}
	go w.serve()
	t.Cleanup(func() { _ = ln.Close() })
	return w
}

func (w *witness) addr() netip.AddrPort { return addrPort(w.ln.Addr()) }

func (w *witness) serve() {
	for {
		c, err := w.ln.Accept()
		if err != nil {
			return
		}
		w.open.Add(1)
		go w.hear(c)
	}
}

func (w *witness) hear(c net.Conn) {
	defer w.open.Add(-1)
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if lesson := w.lesson.Load(); lesson != nil {
		_ = tls.Server(&headless{Conn: c}, lesson).Handshake()
		return
	}
	v := visit{}
	var err error
	v.got, err = io.ReadAll(c)
	if v.whole = err == nil; v.whole {
		_, _ = c.Write(w.answer(v.got))
	}
	_ = c.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	if string(v.got) != knock {
		w.over.Add(1)
		w.visits = append(w.visits, v)
	}
}

const knock = "is anybody before me?"

// settle waits until connections that were given up while they were being opened have been seen, too: whoever comes later is accepted later.
func (w *witness) settle(t testing.TB) {
	t.Helper()
	c, err := net.Dial("tcp", w.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(c, knock)
	_ = c.(*net.TCPConn).CloseWrite()
	if _, err := io.ReadAll(c); err != nil {
		t.Fatal(err)
	}
}

// teach has the witness behave as a web site until forget, so that the engine learns its handshake and does not come back for an hour.
func (w *witness) teach(t testing.TB) {
	t.Helper()
	certificate, err := stand.NewCertificate(secret.Host)
	if err != nil {
		t.Fatal(err)
	}
	w.lesson.Store(&tls.Config{Certificates: []tls.Certificate{certificate}})
}

func (w *witness) forget() { w.lesson.Store(nil) }

// take hands over what has been written down.
func (w *witness) take() []visit {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := w.visits
	w.visits = nil
	return v
}

// headless is a connection less the PROXY header at its start, if there is one.
type headless struct {
	net.Conn
	began bool
	held  []byte
}

func (h *headless) Read(b []byte) (int, error) {
	for !h.began {
		var one [1]byte
		if _, err := io.ReadFull(h.Conn, one[:]); err != nil {
			return 0, err
		}
		h.held = append(h.held, one[0])
		_, n, err := edge.ParseHeader(h.held)
		if h.began = err != edge.ErrShort; err == nil {
			h.held = h.held[n:]
		}
	}
	n := copy(b, h.held)
	if h.held = h.held[n:]; n > 0 {
		return n, nil
	}
	return h.Conn.Read(b)
}

const frontAnswer = "the front has heard it all"

func answerAsFront([]byte) []byte { return []byte(frontAnswer) }

const dcAnswer = "the data centre has heard it all, and answers with more than a word"

// answerAsDC answers in the stream that the frame asks for.
func answerAsDC(got []byte) []byte {
	_, out, _, _, err := obfs.ParseServerFrame(got)
	if err != nil {
		return nil
	}
	answer := []byte(dcAnswer)
	out.Stream(0).XORKeyStream(answer, answer)
	return answer
}
