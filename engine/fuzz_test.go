package engine

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"sluice/bench/client"
	"sluice/obfs"
)

// plan says how a visit's parts are put together: a field of bits of the fuzzer's.
type plan uint64

// field is n bits of the plan from bit i on.
func (p plan) field(i, n int) int { return int(p>>i) & (1<<n - 1) }

func (p plan) machine() int  { return p.field(0, 2) }  // which engine
func (p plan) sign() bool    { return p&(1<<2) != 0 }  // the hello is made to be new and is signed
func (p plan) other() bool   { return p&(1<<3) != 0 }  // with the second secret
func (p plan) late() int     { return p.field(4, 3) }  // an index into clocks
func (p plan) records() int  { return p.field(7, 3) }  // so many more records for the hello
func (p plan) frame() bool   { return p&(1<<10) != 0 } // the tail is the payload behind a frame, not raw bytes
func (p plan) tag() int      { return p.field(11, 2) } // an index into tags
func (p plan) cipher() bool  { return p&(1<<13) != 0 } // a change of cipher spec goes first
func (p plan) size() int     { return p.field(14, 3) } // of the records, an index into sizes
func (p plan) reset() bool   { return p&(1<<17) != 0 } // it ends with a RST, not a FIN
func (p plan) twice() bool   { return p&(1<<18) != 0 } // the same bytes once more: a replay
func (p plan) outside() bool { return p&(1<<19) != 0 } // from an address that is not the load balancer's
func (p plan) cut() int      { return p.field(20, 4) } // so many bytes less at the end
func (p plan) dc() int16     { return int16(p >> 24) }
func (p plan) wrong() bool   { return p&(1<<40) != 0 } // the frame is made with another secret

var (
	clocks = []time.Duration{0, -4 * time.Minute, 20 * time.Second, -6 * time.Minute, 40 * time.Second, -time.Hour, 24 * time.Hour, time.Second}
	tags   = []obfs.Tag{obfs.Padded, obfs.Intermediate, obfs.Abridged, 0x12345678}
	sizes  = []int{2878, 1, 63, 64, 65, 500, 16384, 65535}
)

// nonce tells visits apart: no two hellos that are signed here are the same.
var nonce atomic.Uint64

// hello is raw as the plan wants it. What is to be signed gets a session id of its own first.
func (p plan) hello(raw []byte) []byte {
	const random, session = 11, 44
	b := bytes.Clone(raw)
	if p.sign() && len(b) >= session+32 {
		s := fuzzSecrets[0]
		if p.other() {
			s = fuzzSecrets[1]
		}
		binary.LittleEndian.PutUint64(b[session:], nonce.Add(1))
		binary.LittleEndian.PutUint64(b[session+8:], uint64(time.Now().UnixNano())) // two processes may share an engine's life
		sum := digest(s.Key, b)
		at := uint32(time.Now().Add(clocks[p.late()]).Unix())
		binary.LittleEndian.PutUint32(sum[28:], binary.LittleEndian.Uint32(sum[28:])^at)
		copy(b[random:], sum)
	}
	if n := p.records(); n > 0 && len(b) > 5 {
		b = client.Records(b, n+1)
	}
	return b
}

// tail is what follows the hello.
func (p plan) tail(raw []byte) (b []byte) {
	if !p.frame() {
		return raw
	}
	s := fuzzSecrets[0]
	if p.other() != p.wrong() {
		s = fuzzSecrets[1]
	}
	payload := append(frameOf(s.Key, tags[p.tag()], p.dc(), uint64(p)), raw...)
	up := obfs.Keys{Key: sha256.Sum256(append(bytes.Clone(payload[8:40]), s.Key[:]...)), IV: [16]byte(payload[40:56])}
	up.Stream(obfs.FrameLen).XORKeyStream(payload[obfs.FrameLen:], payload[obfs.FrameLen:])
	if p.cipher() {
		b = append(b, 0x14, 3, 3, 0, 1, 1)
	}
	for len(payload) > 0 {
		n := min(sizes[p.size()], len(payload))
		b = append(b, 0x17, 3, 3, byte(n>>8), byte(n))
		b, payload = append(b, payload[:n]...), payload[n:]
	}
	return b
}

// frameOf makes a client's frame (protocol.md 3.1).
func frameOf(key [16]byte, tag obfs.Tag, dc int16, seed uint64) []byte {
	f := make([]byte, obfs.FrameLen)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	_, _ = r.Read(f)
	up := obfs.Keys{Key: sha256.Sum256(append(bytes.Clone(f[8:40]), key[:]...)), IV: [16]byte(f[40:56])}
	binary.LittleEndian.PutUint32(f[56:], uint32(tag))
	binary.LittleEndian.PutUint16(f[60:], uint16(dc))
	up.Stream(56).XORKeyStream(f[56:], f[56:])
	return f
}

// FuzzHandshake has a running engine judge a connection: the fuzzer gives the parts of what it says, how they are put together, and where it is
// cut into segments. The model says from the bytes alone what must become of it. In every case: the front gets every byte or none,
// and the DC none but the payload of who has shown the secret; a flight only answers a good hello; nobody is at both; each handshake is
// counted once, under its cause; nothing panics; no descriptor stays.
func FuzzHandshake(f *testing.F) {
	addSeeds(f)
	all := machines(f)
	f.Fuzz(func(t *testing.T, bits uint64, header, hello, tail, cuts []byte) {
		if len(header) > 5000 || len(hello) > 17_000 || len(tail) > 4000 || len(cuts) > 16 {
			return
		}
		p := plan(bits)
		b := bytes.Join([][]byte{header, p.hello(hello), p.tail(tail)}, nil)
		b = b[:len(b)-min(p.cut(), len(b))]
		all[p.machine()].visit(t, p, b, cuts)
		if p.twice() {
			all[p.machine()].visit(t, p, b, cuts)
		}
	})
}
