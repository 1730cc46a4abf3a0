package engine

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"sluice/bench/client"
	"sluice/engine/config"
	"sluice/engine/dc"
	"sluice/engine/edge"
	"sluice/faketls"
	"sluice/obfs"
)

// fuzzSecrets are those that the fuzzed engines know: our own, and the one of the hellos in faketls/testdata.
var fuzzSecrets = []client.Secret{
	secret,
	{Key: [16]byte{0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}, Host: "front.exam.test"},
}

// outcome is what has to become of a connection that says certain bytes and then ends its direction. It does not depend on how the bytes
// are cut, nor on when they come.
type outcome struct {
	why     cause
	client  netip.AddrPort
	marks   []byte // of the proxies that it has passed
	toFront []byte // what the front gets, after a PROXY header of ours; nil: it is not asked
	user    *client.Secret
	hello   faketls.Hello // of an answered one; with it there is a flight
	flight  bool
	frame   obfs.Frame // of an accepted one
	payload []byte     // what the DC gets after its frame, deciphered
	fault   bool       // the client's records break off in an offence, and the DC gets part of the payload or nothing
	unsure  bool       // it hangs on a moment: the clock is at an edge of its window, or who came with this hello before was reset
}

// foretell says what has to become of the bytes b of a connection from peer. It reads all of them at once, where the engine sees one cut
// after another; the parsers are the engine's own, and have fuzz targets of their own.
func (m *machine) foretell(b []byte, peer netip.AddrPort) (o outcome) {
	o.client = peer
	outside := m.ranged && peer.Addr() != edgeAddr
	if m.policy != config.Off && !outside {
		if b, o = m.foretellHeader(b, o); o.why != accepted {
			return o
		}
	}
	h, n, err := faketls.ParseHello(b, make([]byte, faketls.MaxHello))
	switch {
	case err == faketls.ErrShort && len(b) == 0:
		return m.nothingSaid(o, peer)
	case err == faketls.ErrShort:
		o.why = helloEnd
	case err != nil:
		o.why = helloCause(err)
	case outside:
		o.why = outsider
	default:
		o.judge(&h, m.seen)
	}
	if o.why != accepted {
		o.toFront = b
		return o
	}
	o.hello, o.flight = h, true
	o.foretellFrame(b[n:])
	return o
}

// mayCount: a hello that is wrong in two ways is wrong in the one that is seen first, which depends on how much of it has come.
func (o *outcome) mayCount(why cause) bool {
	if _, _, err := faketls.ParseHello(o.toFront, make([]byte, faketls.MaxHello)); err == nil || err == faketls.ErrShort || helloCause(err) != o.why {
		return false
	}
	for n := range o.toFront {
		_, _, err := faketls.ParseHello(o.toFront[:n], make([]byte, faketls.MaxHello))
		if err != nil && err != faketls.ErrShort && helloCause(err) == why {
			return true
		}
	}
	return false
}

func (m *machine) nothingSaid(o outcome, peer netip.AddrPort) outcome {
	o.why = silent
	if m.ranged && peer.Addr() == edgeAddr && o.client.Addr() == edgeAddr {
		o.why = health
	}
	return o
}

func (m *machine) foretellHeader(b []byte, o outcome) ([]byte, outcome) {
	h, n, err := edge.ParseHeader(b)
	o.marks = h.Marks[:len(h.Marks)/edge.MarkerLen*edge.MarkerLen]
	most := (maxPassed - 1) * edge.MarkerLen
	if len(o.marks) > most && !m.ranged {
		o.marks = o.marks[len(o.marks)-most:]
	}
	switch {
	case len(o.marks) > most:
		o.why = looped
	case err == nil && !h.Local:
		o.client = netip.AddrPortFrom(h.Source.Addr().Unmap(), h.Source.Port())
	case err == nil, err == edge.ErrNone && m.policy == config.Optional:
	case err == edge.ErrShort && len(b) == 0:
		o = m.nothingSaid(o, o.client)
	case err == edge.ErrShort:
		o.why, o.toFront = headerEnd, b
	case err == edge.ErrNone:
		o.why, o.toFront = headerMissing, b
	default:
		o.why, o.toFront = badHeader, b
	}
	if err == nil {
		b = b[n:]
	}
	return b, o
}

// judge checks name, digest, clock and novelty of a hello, by crypto/hmac.
func (o *outcome) judge(h *faketls.Hello, seen map[[16]byte]bool) {
	name := bytes.ToLower(h.Name)
	known := slices.ContainsFunc(fuzzSecrets, func(s client.Secret) bool { return s.Host == string(name) })
	if !known {
		o.why = unknownName
		return
	}
	o.why = badDigest
	for i, s := range fuzzSecrets {
		sum := digest(s.Key, h.Message)
		if s.Host != string(name) || !bytes.Equal(sum[:28], h.Random[:28]) {
			continue
		}
		o.user = &fuzzSecrets[i]
		at := time.Unix(int64(binary.LittleEndian.Uint32(sum[28:])^binary.LittleEndian.Uint32(h.Random[28:])), 0)
		o.why, o.unsure = judgeTime(time.Since(at))
	}
	if maybe, had := seen[[16]byte(h.Random)]; had && o.why == accepted {
		o.why, o.unsure = replayed, o.unsure || maybe
	}
}

// The clock window that the engines of these tests have: the default.
const (
	fuzzBehind = 5 * time.Minute
	fuzzAhead  = 30 * time.Second
)

func judgeTime(behind time.Duration) (why cause, unsure bool) {
	near := func(limit time.Duration) bool { return (behind - limit).Abs() < 5*time.Second }
	if behind > fuzzBehind || behind < -fuzzAhead {
		why = clockSkew
	}
	return why, near(fuzzBehind) || near(-fuzzAhead)
}

// digest is the HMAC of a hello of one record, with zeros for its random.
func digest(key [16]byte, hello []byte) []byte {
	zeroed := bytes.Clone(hello)
	clear(zeroed[11:43])
	mac := hmac.New(sha256.New, key[:])
	mac.Write(zeroed)
	return mac.Sum(nil)
}

func (o *outcome) foretellFrame(b []byte) {
	var d faketls.Deframer
	payload := bytes.Clone(b)
	n, err := d.Deframe(payload)
	payload = payload[:n]
	if n < obfs.FrameLen {
		if o.why = frameEnd; err != nil {
			o.why = badFrame
		}
		return
	}
	f, _, wrong := obfs.ParseFrame(payload, &o.user.Key)
	switch {
	case wrong != nil:
		o.why = badFrame
	case !slices.Contains(labelledDCs, dc.Number(f.DC)):
		o.why = unknownDC
	default:
		o.frame, o.fault = f, err != nil
		o.payload = payload[obfs.FrameLen:]
		f.Up.Stream(obfs.FrameLen).XORKeyStream(o.payload, o.payload)
	}
}
