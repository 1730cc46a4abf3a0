package obfs

import (
	"crypto/sha256"
	"encoding/binary"
	"io"
	"slices"
)

// Frame is what a client's frame says.
type Frame struct {
	// Up is the client's stream to us. Its position 0 is the frame's first byte: the payload goes on at FrameLen.
	Up Keys
	// Down is our stream to the client. Its position 0 is the first byte we send.
	Down Keys
	// Tag is the transport the client speaks.
	Tag Tag
	// DC is the data centre it wants: n, -n for media, 10000 more on the test servers, 0 when it does not say. It is passed on as it is.
	DC int16
}

// ParseFrame reads a client's frame at the start of b, which is left as it is; secret is the secret's key. With a nil error n is FrameLen,
// with [ErrShort] how many bytes are missing. FakeTLS clients do not filter a frame's first bytes, so any are accepted.
func ParseFrame(b []byte, secret *[16]byte) (f Frame, n int, err error) {
	if len(b) < FrameLen {
		return Frame{}, FrameLen - len(b), ErrShort
	}
	up, down := bothKeys(b)
	f = Frame{Up: up.salted(secret), Down: down.salted(secret)}
	if f.Tag, f.DC = f.Up.trailer(b); !f.Tag.known() {
		return Frame{}, 0, ErrTag
	}
	return f, FrameLen, nil
}

// ParseServerFrame reads a frame as a DC does: the other end of [AlignedFrame] and [FreshFrame]. In is the stream of what the DC gets and goes
// on at FrameLen, out that of what it sends, from 0. It is for stand-ins and tests, and as strict as it can be.
func ParseServerFrame(wire []byte) (in, out Keys, tag Tag, dc int16, err error) {
	if len(wire) < FrameLen {
		return in, out, 0, 0, ErrShort
	}
	if ReservedPrefix(wire) {
		return in, out, 0, 0, ErrReserved
	}
	in, out = bothKeys(wire)
	if tag, dc = in.trailer(wire); !tag.known() {
		return Keys{}, Keys{}, 0, 0, ErrTag
	}
	return in, out, tag, dc, nil
}

// AlignedFrame makes our frame to the DC for a client whose frame was f, such that the DC's stream is the client's own: what the DC sends
// is f.Down's ciphertext, and can go to the client untouched (protocol.md 3.3). Up is our stream to the DC and goes on at FrameLen. An error is
// always rnd's.
func AlignedFrame(f *Frame, rnd io.Reader) (wire [FrameLen]byte, up Keys, err error) {
	keys := wire[keyOffset:tagOffset]
	copy(keys, f.Down.Key[:])
	copy(keys[len(f.Down.Key):], f.Down.IV[:])
	slices.Reverse(keys)
	up, err = complete(&wire, f, wire[:keyOffset], rnd)
	return wire, up, err
}

// FreshFrame makes our frame to the DC with keys of its own, for a client whose frame was f. Up is our stream to the DC and goes on at
// FrameLen; down is the DC's to us, from 0, to be encrypted again with f.Down. An error is always rnd's.
func FreshFrame(f *Frame, rnd io.Reader) (wire [FrameLen]byte, up, down Keys, err error) {
	if up, err = complete(&wire, f, wire[:tagOffset], rnd); err != nil {
		return wire, Keys{}, Keys{}, err
	}
	_, down = bothKeys(wire[:])
	return wire, up, down, nil
}

// complete draws the bytes of chance, the start of wire, until they look like no other protocol, and adds the encrypted end. A draw
// is turned down once in 240 times or so.
func complete(wire *[FrameLen]byte, f *Frame, chance []byte, rnd io.Reader) (up Keys, err error) {
	const tries = 64
	for range tries {
		if _, err = io.ReadFull(rnd, chance); err != nil {
			return Keys{}, err
		}
		if ReservedPrefix(wire[:]) {
			err = errRandom
			continue
		}
		break
	}
	if err != nil {
		return Keys{}, err
	}
	end := wire[tagOffset:]
	if _, err = io.ReadFull(rnd, end); err != nil {
		return Keys{}, err
	}
	binary.LittleEndian.PutUint32(end, uint32(f.Tag))
	binary.LittleEndian.PutUint16(end[dcOffset-tagOffset:], uint16(f.DC))
	up, _ = bothKeys(wire[:])
	up.Stream(tagOffset).XORKeyStream(end, end)
	return up, nil
}

// bothKeys reads a frame's keys: those of the stream it begins, and, from the same bytes backwards, those of the stream that
// answers it.
func bothKeys(frame []byte) (forth, back Keys) {
	var b [tagOffset - keyOffset]byte
	copy(b[:], frame[keyOffset:tagOffset])
	forth = keysAt(b[:])
	slices.Reverse(b[:])
	return forth, keysAt(b[:])
}

// salted mixes a secret into the key.
func (k Keys) salted(secret *[16]byte) Keys {
	var b [32 + 16]byte
	copy(b[copy(b[:], k.Key[:]):], secret[:])
	k.Key = sha256.Sum256(b[:])
	return k
}

// trailer decrypts the end of a frame.
func (k *Keys) trailer(frame []byte) (Tag, int16) {
	var b [FrameLen - tagOffset]byte
	k.Stream(tagOffset).XORKeyStream(b[:], frame[tagOffset:FrameLen])
	return Tag(binary.LittleEndian.Uint32(b[:])), int16(binary.LittleEndian.Uint16(b[dcOffset-tagOffset:]))
}

// ReservedPrefix says whether wire, at least eight bytes as they go to a DC in clear TCP, begins like another protocol or another
// transport of MTProto, which the DC would take it for (protocol.md 3.2).
func ReservedPrefix(wire []byte) bool {
	first, second := binary.LittleEndian.Uint32(wire), binary.LittleEndian.Uint32(wire[4:8])
	switch first {
	case 0x44414548, // HEAD
		0x54534f50,                           // POST
		0x20544547,                           // GET
		0x4954504f,                           // OPTI
		0x02010316,                           // a TLS record
		uint32(Padded), uint32(Intermediate): // a transport without a frame
		return true
	}
	return wire[0] == 0xef || second == 0
}
