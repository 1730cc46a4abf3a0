package obfs

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func random(seed byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{seed}) }

func draw[T [16]byte | [FrameLen]byte](rnd *rand.ChaCha8) (b T) {
	switch p := any(&b).(type) {
	case *[16]byte:
		rnd.Read(p[:])
	case *[FrameLen]byte:
		rnd.Read(p[:])
	}
	return b
}

// peer is an end of an obfuscated2 connection, written from protocol.md 3.1 and 3.2 alone: a client when it has a secret, a DC when not.
type peer struct{ send, receive cipher.Stream }

func ctr(key, iv []byte) cipher.Stream {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	return cipher.NewCTR(block, iv)
}

// dial is a client that sends noise, with tag and dc in place, as its frame.
func dial(noise [FrameLen]byte, secret [16]byte, tag Tag, dc int16) (*peer, []byte) {
	frame := noise[:]
	binary.LittleEndian.PutUint32(frame[56:], uint32(tag))
	binary.LittleEndian.PutUint16(frame[60:], uint16(dc))
	rev := slices.Clone(frame[8:56])
	slices.Reverse(rev)
	forth := sha256.Sum256(append(slices.Clone(frame[8:40]), secret[:]...))
	back := sha256.Sum256(append(slices.Clone(rev[:32]), secret[:]...))
	c := &peer{send: ctr(forth[:], frame[40:56]), receive: ctr(back[:], rev[32:48])}
	sealed := make([]byte, FrameLen)
	c.send.XORKeyStream(sealed, frame)
	return c, append(slices.Clone(frame[:56]), sealed[56:]...)
}

// accept is a DC that has got wire.
func accept(wire [FrameLen]byte) (dc *peer, tag Tag, n int16) {
	rev := slices.Clone(wire[8:56])
	slices.Reverse(rev)
	dc = &peer{receive: ctr(wire[8:40], wire[40:56]), send: ctr(rev[:32], rev[32:48])}
	clear := make([]byte, FrameLen)
	dc.receive.XORKeyStream(clear, wire[:])
	return dc, Tag(binary.LittleEndian.Uint32(clear[56:])), int16(binary.LittleEndian.Uint16(clear[60:]))
}

func through(s cipher.Stream, b []byte) []byte {
	out := bytes.Clone(b)
	s.XORKeyStream(out, out)
	return out
}
