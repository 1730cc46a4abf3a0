// Package obfs is obfuscated2, the transport that MTProto speaks inside FakeTLS and towards a data centre (DC): 64-byte frames that carry
// the keys of two AES-256-CTR streams. The wire is described in protocol.md 3.
//
//	client ──── Up ────▶ proxy ──── up ────▶ DC        keys of Up, Down: the client's frame and the secret
//	client ◀─── Down ─── proxy ◀─── down ─── DC        keys of up, down: our frame alone
//
// In an aligned frame ([AlignedFrame]) down is Down: the proxy passes what the DC sends on without touching it.
//
// Everything here is pure: randomness comes in as a parameter, nothing is kept.
package obfs

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
)

// FrameLen is the length in bytes of a frame, the client's and ours.
const FrameLen = 64

// Offsets into a frame.
const (
	keyOffset = 8
	ivOffset  = 40
	tagOffset = 56
	dcOffset  = 60
)

var (
	// ErrShort says that a frame is not whole yet.
	ErrShort = errors.New("obfs: frame incomplete")
	// ErrTag says that a frame, once decrypted, names no transport we know: it was made with another secret, or is none.
	ErrTag = errors.New("obfs: frame names no known transport")
	// ErrReserved says that a frame begins like another protocol ([ReservedPrefix]): a DC would not take it for a frame.
	ErrReserved = errors.New("obfs: frame begins like another protocol")

	errRandom = errors.New("obfs: random bytes are not random")
)

// Tag is the MTProto transport that a frame asks for. We pass it on to the DC; what it means for the bytes that follow is between the
// client and the DC.
type Tag uint32

const (
	// Abridged: lengths in words, of one byte or four.
	Abridged Tag = 0xefefefef
	// Intermediate: lengths of four bytes.
	Intermediate Tag = 0xeeeeeeee
	// Padded: intermediate, with padding. The one that FakeTLS clients ask for.
	Padded Tag = 0xdddddddd
)

func (t Tag) known() bool { return t == Padded || t == Intermediate || t == Abridged }

// Keys are those of one AES-256-CTR stream.
type Keys struct {
	Key [32]byte
	IV  [16]byte
}

// keysAt reads the 48 bytes at the start of b.
func keysAt(b []byte) (k Keys) {
	copy(k.IV[:], b[copy(k.Key[:], b):])
	return k
}

// Stream returns the stream, positioned offset bytes after its start, so that one that was dropped can be taken up again. It costs
// about 1 KiB of memory; what passes through it costs none.
func (k *Keys) Stream(offset uint64) cipher.Stream {
	block, err := aes.NewCipher(k.Key[:])
	if err != nil {
		panic(err) // the key has the right length
	}
	var counter [aes.BlockSize]byte
	high, low := binary.BigEndian.Uint64(k.IV[:8]), binary.BigEndian.Uint64(k.IV[8:])
	sum := low + offset/aes.BlockSize
	if sum < low {
		high++
	}
	binary.BigEndian.PutUint64(counter[:8], high)
	binary.BigEndian.PutUint64(counter[8:], sum)
	stream := cipher.NewCTR(block, counter[:])
	if into := offset % aes.BlockSize; into > 0 {
		stream.XORKeyStream(counter[:into], counter[:into])
	}
	return stream
}
