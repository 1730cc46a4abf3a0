package stand

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"io"
	"slices"
)

// FrameLen is the length of an obfuscated2 frame, in bytes.
const FrameLen = 64

// serverFrame is a frame as a data centre understands it (protocol.md 3.2).
type serverFrame struct {
	in, out cipher.Stream // in goes on behind the frame, out starts at 0
	tag     uint32
	dc      int16
}

var (
	errReserved = errors.New("the frame begins like another protocol")
	errTag      = errors.New("the frame's tag is unknown")
)

// parseServerFrame derives both streams of a frame, and refuses what a data centre would take for another protocol.
func parseServerFrame(wire [FrameLen]byte) (serverFrame, error) {
	if reserved(wire) {
		return serverFrame{}, errReserved
	}
	reversed := slices.Clone(wire[8:56])
	slices.Reverse(reversed)
	f := serverFrame{in: ctr(wire[8:40], wire[40:56]), out: ctr(reversed[:32], reversed[32:])}
	var clear [FrameLen]byte
	f.in.XORKeyStream(clear[:], wire[:])
	f.tag = binary.LittleEndian.Uint32(clear[56:])
	f.dc = int16(binary.LittleEndian.Uint16(clear[60:]))
	switch f.tag {
	case 0xdddddddd, 0xeeeeeeee, 0xefefefef:
		return f, nil
	}
	return serverFrame{}, errTag
}

func reserved(wire [FrameLen]byte) bool {
	switch binary.LittleEndian.Uint32(wire[:]) {
	case 0x44414548, 0x54534f50, 0x20544547, 0x4954504f, 0x02010316, 0xdddddddd, 0xeeeeeeee:
		return true
	}
	return wire[0] == 0xef || binary.LittleEndian.Uint32(wire[4:]) == 0
}

func ctr(key, iv []byte) cipher.Stream {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // a key of another length is our own fault
	}
	return cipher.NewCTR(block, iv)
}

// streams is the clear side of an enciphered connection. One reader and one writer at a time.
type streams struct {
	conn    io.ReadWriter
	in, out cipher.Stream
	buf     []byte
}

func (s *streams) Read(b []byte) (int, error) {
	n, err := s.conn.Read(b)
	s.in.XORKeyStream(b[:n], b[:n])
	return n, err
}

func (s *streams) Write(b []byte) (int, error) {
	s.buf = append(s.buf[:0], b...)
	s.out.XORKeyStream(s.buf, s.buf)
	return s.conn.Write(s.buf)
}
