package doctor

import (
	"bytes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"sluice/obfs"
)

// The first question of a key exchange, req_pq_multi, and its answer, resPQ (core.telegram.org/mtproto/auth_key). Both go without
// a key: eight zero bytes, a message id, a length, the body.
const (
	reqPQMulti = 0xbe7e8ef1
	resPQ      = 0x05162463
	nonceLen   = 16
	headLen    = 8 + 8 + 4
	maxPacket  = 4096
)

var (
	errNonce  = errors.New("the answer is to another question")
	errNotPQ  = errors.New("the answer is no resPQ")
	errLength = errors.New("the answer has an impossible length")
)

// askPQ asks a data centre over conn for the start of a key exchange, in obfuscated2 with the padded transport, as clients do. It returns the
// time that the data centre's clock shows: it is in the high half of the answer's message id.
func askPQ(conn io.ReadWriter, dc int, now time.Time, rnd io.Reader) (time.Time, error) {
	wire, up, down, err := obfs.FreshFrame(&obfs.Frame{Tag: obfs.Padded, DC: int16(dc)}, rnd)
	if err != nil {
		return time.Time{}, err
	}
	var nonce [nonceLen]byte
	if _, err := io.ReadFull(rnd, nonce[:]); err != nil {
		return time.Time{}, err
	}
	packet := question(nonce, now)
	up.Stream(obfs.FrameLen).XORKeyStream(packet, packet)
	if _, err := conn.Write(append(wire[:], packet...)); err != nil {
		return time.Time{}, err
	}
	body, err := readPacket(cipher.StreamReader{S: down.Stream(0), R: conn})
	if err != nil {
		return time.Time{}, err
	}
	return parsePQ(body, nonce)
}

// question is a packet of the padded transport that asks for pq.
func question(nonce [nonceLen]byte, now time.Time) []byte {
	p := binary.LittleEndian.AppendUint32(nil, headLen+4+nonceLen)
	p = binary.LittleEndian.AppendUint64(p, 0)
	p = binary.LittleEndian.AppendUint64(p, uint64(now.Unix())<<32|uint64(now.Nanosecond())&^3)
	p = binary.LittleEndian.AppendUint32(p, 4+nonceLen)
	p = binary.LittleEndian.AppendUint32(p, reqPQMulti)
	return append(p, nonce[:]...)
}

// readPacket reads a packet of the padded or the intermediate transport, with its padding.
func readPacket(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, fmt.Errorf("no answer: %w", err)
	}
	n := binary.LittleEndian.Uint32(head[:]) &^ (1 << 31) // the highest bit asks for an acknowledgement
	if n < 4 || n > maxPacket {
		return nil, errLength
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, fmt.Errorf("half an answer: %w", err)
	}
	return body, nil
}

// parsePQ reads a resPQ. What is shorter than a message is an error's number, with padding behind.
func parsePQ(body []byte, nonce [nonceLen]byte) (time.Time, error) {
	if len(body) < headLen {
		return time.Time{}, fmt.Errorf("the data centre refuses: error %d", int32(binary.LittleEndian.Uint32(body)))
	}
	content := body[headLen:]
	switch {
	case binary.LittleEndian.Uint64(body) != 0 || len(content) < 4+nonceLen || binary.LittleEndian.Uint32(content) != resPQ:
		return time.Time{}, errNotPQ
	case !bytes.Equal(content[4:4+nonceLen], nonce[:]):
		return time.Time{}, errNonce
	}
	id := binary.LittleEndian.Uint64(body[8:])
	return time.Unix(int64(id>>32), int64((id&0xffffffff)*1e9>>32)), nil
}
