package faketls

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"hash"
)

// keyLen is the length of a secret's key in bytes.
const keyLen = 16

// MAC computes HMAC-SHA256 (RFC 2104) for one secret after the other without allocating, which crypto/hmac, bound to one key, cannot.
// Make it with [NewMAC]. One goroutine at a time: one per loop.
type MAC struct {
	inner, outer hash.Hash
	block        [sha256.BlockSize]byte
	sum          [sha256.Size]byte
}

// NewMAC returns a MAC for any number of uses.
func NewMAC() *MAC { return &MAC{inner: sha256.New(), outer: sha256.New()} }

// begin starts a digest under key.
func (m *MAC) begin(key *[keyLen]byte) {
	m.pad(m.inner, key, 0x36)
	m.pad(m.outer, key, 0x5c)
}

func (m *MAC) pad(h hash.Hash, key *[keyLen]byte, fill byte) {
	for i := range m.block {
		m.block[i] = fill
	}
	subtle.XORBytes(m.block[:], m.block[:], key[:])
	h.Reset()
	h.Write(m.block[:])
}

// message adds b with zeros in place of its random.
func (m *MAC) message(b []byte) {
	m.inner.Write(b[:randomOffset])
	m.inner.Write(noRandom[:])
	m.inner.Write(b[randomOffset+randomLen:])
}

var noRandom [randomLen]byte

// finish returns the digest, which lives until the next use of m.
func (m *MAC) finish() *[sha256.Size]byte {
	m.outer.Write(m.inner.Sum(m.sum[:0]))
	m.outer.Sum(m.sum[:0])
	return &m.sum
}

// Verify says whether whoever sent h, a hello that [ParseHello] has accepted, knows key, and if so what time it is there, in unix
// seconds: the digest of the hello is its random, but for the last four bytes, which the time is mixed into (protocol.md 2.1). It takes
// the same time for a wrong digest as for a right one. Whether the time is near, and the hello new, is for the caller to judge.
func (m *MAC) Verify(key *[keyLen]byte, h *Hello) (clientTime uint32, ok bool) {
	m.begin(key)
	m.message(h.Message)
	sum := m.finish()
	subtle.XORBytes(sum[:], sum[:], h.Random)
	const zeros = randomLen - 4
	if subtle.ConstantTimeCompare(sum[:zeros], noRandom[:zeros]) != 1 {
		return 0, false
	}
	return binary.LittleEndian.Uint32(sum[zeros:]), true
}
