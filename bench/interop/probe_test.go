package interop

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// A step is something a prober does: say something, or end its direction, after a pause.
type step struct {
	after time.Duration
	say   []byte
	fin   bool
}

func says(b []byte) []step         { return []step{{say: b}} }
func saysThenEnds(b []byte) []step { return []step{{say: b}, {fin: true}} }

// drip says b in n pieces over a time.
func drip(b []byte, n int, over time.Duration) []step {
	var steps []step
	for i := range n {
		s := step{say: b[len(b)*i/n : len(b)*(i+1)/n]}
		if i > 0 {
			s.after = over / time.Duration(n-1)
		}
		steps = append(steps, s)
	}
	return steps
}

// ending is how a connection ended, as a prober sees it.
type ending string

const (
	finished ending = "FIN"
	reset    ending = "RST"
	stays    ending = "stays open"
)

// sight is what a prober sees of a server.
type sight struct {
	got   []byte
	first time.Duration // when the first byte came, counted from the connect; 0 if none did
	end   ending
	after time.Duration // when the end came
}

// look connects, does the steps, and watches until the end or for as long as limit.
func look(addr netip.AddrPort, steps []step, limit time.Duration) (sight, error) {
	c, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(addr))
	if err != nil {
		return sight{}, err
	}
	defer c.Close()
	began := time.Now()
	_ = c.SetDeadline(began.Add(limit))
	seen := make(chan sight, 1)
	go func() { seen <- watch(c, began) }()
	for _, s := range steps {
		select {
		case v := <-seen: // the server has ended it; what we would still say does not matter
			return v, nil
		case <-time.After(s.after):
		}
		if len(s.say) > 0 {
			_, _ = c.Write(s.say)
		}
		if s.fin {
			_ = c.CloseWrite()
		}
	}
	return <-seen, nil
}

func watch(c net.Conn, began time.Time) sight {
	var s sight
	b := make([]byte, 64<<10)
	for {
		n, err := c.Read(b)
		if n > 0 && s.first == 0 {
			s.first = time.Since(began)
		}
		s.got = append(s.got, b[:n]...)
		if err == nil {
			continue
		}
		s.after = time.Since(began)
		var n2 net.Error
		switch {
		case errors.Is(err, io.EOF):
			s.end = finished
		case errors.As(err, &n2) && n2.Timeout():
			s.end = stays
		case errors.Is(err, syscall.ECONNRESET):
			s.end = reset
		default:
			s.end = ending(err.Error())
		}
		return s
	}
}

// shape is what two sights of the same server have in common whatever was random in them: the records of TLS with their
// lengths, ServerHello's choices, alerts in clear; or the bytes themselves, dates aside.
func (s sight) shape() string {
	var b strings.Builder
	rest, hello := s.got, false
	for len(rest) >= 5 && rest[0] >= 0x14 && rest[0] <= 0x17 && rest[1] == 3 {
		n := int(binary.BigEndian.Uint16(rest[3:]))
		if len(rest) < 5+n {
			break
		}
		body := rest[5 : 5+n]
		fmt.Fprintf(&b, "%d:%d ", rest[0], n)
		switch {
		case rest[0] == 0x16 && n > 44 && body[0] == 2 && !hello:
			hello = true
			fmt.Fprintf(&b, "(ServerHello %x) ", serverHelloChoices(body))
		case rest[0] == 0x15 && n == 2:
			fmt.Fprintf(&b, "(alert %d) ", body[1])
		}
		rest = rest[5+n:]
	}
	for line := range bytes.Lines(rest) {
		if !bytes.HasPrefix(line, []byte("Date:")) {
			fmt.Fprintf(&b, "%q ", line)
		}
	}
	return b.String()
}

// serverHelloChoices is a ServerHello less its random, its session id and its key share.
func serverHelloChoices(b []byte) []byte {
	session := int(b[38])
	if len(b) < 39+session+5 {
		return b
	}
	choices := bytes.Clone(b[39+session : 39+session+3])
	rest := b[39+session+5:]
	for len(rest) >= 4 {
		n := int(binary.BigEndian.Uint16(rest[2:]))
		if len(rest) < 4+n {
			break
		}
		choices = append(choices, rest[:4]...)
		choices = append(choices, rest[4:4+min(n, 4)]...)
		rest = rest[4+n:]
	}
	return choices
}

// compare says in what through differs from direct beyond a tolerance of time.
func compare(direct, through sight, tolerance time.Duration) error {
	var errs []error
	if a, b := direct.shape(), through.shape(); a != b {
		errs = append(errs, fmt.Errorf("the front says  %s\n\tthe proxy says  %s", a, b))
	}
	if direct.end != through.end {
		errs = append(errs, fmt.Errorf("the front's end: %s, the proxy's: %s", direct.end, through.end))
	}
	if d := (direct.after - through.after).Abs(); d > tolerance {
		errs = append(errs, fmt.Errorf("the front's end after %v, the proxy's after %v", direct.after, through.after))
	}
	if d := (direct.first - through.first).Abs(); d > tolerance {
		errs = append(errs, fmt.Errorf("the front's first byte after %v, the proxy's after %v", direct.first, through.first))
	}
	return errors.Join(errs...)
}

// lookTwice looks at the front and at the proxy at the same time, so that both have the same load on the machine.
func lookTwice(direct, through netip.AddrPort, steps []step, limit, tolerance time.Duration) (a, b sight, err error) {
	failed := make(chan error, 1)
	go func() {
		var err error
		b, err = look(through, steps, limit)
		failed <- err
	}()
	a, err = look(direct, steps, limit)
	if other := <-failed; err == nil {
		err = other
	}
	if err == nil {
		err = compare(a, b, tolerance)
	}
	return a, b, err
}
