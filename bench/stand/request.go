package stand

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"time"
)

// Op is what a Request asks for.
type Op uint8

// The operations. After those that end neither in a close nor in silence, the next request may follow.
const (
	Echo      Op = iota + 1 // send back whatever comes until the end of the stream, then end ours
	Down                    // send Size bytes of the pattern of Seed
	DownClose               // the same, then close
	Up                      // take Size bytes and answer with a Receipt
	UpToEnd                 // take whatever comes until the end of the stream, answer with a Receipt, and close
	Hold                    // neither read nor write until the connection breaks or the stand-in closes
	Hangup                  // close at once
	Reset                   // reset at once
	Finish                  // end our direction only, and take what comes until the end of the stream; no receipt is sent
)

// Request asks a stand-in to do something. On the wire it is RequestLen bytes.
type Request struct {
	Op   Op
	Size uint64 // bytes
	Seed uint64
}

// RequestLen is the length of a request on the wire, in bytes.
const RequestLen = 24

// magic is no TLS record, no PROXY header and no HTTP: a proxy that sees it in the clear sends it to the front.
var magic = [4]byte{'S', 'L', 'R', 'Q'}

var errNoRequest = errors.New("no request")

// Append appends the wire form of r to dst.
func (r Request) Append(dst []byte) []byte {
	dst = append(dst, magic[:]...)
	dst = append(dst, byte(r.Op), 0, 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, r.Size)
	return binary.LittleEndian.AppendUint64(dst, r.Seed)
}

// Bytes is the wire form of r.
func (r Request) Bytes() []byte { return r.Append(nil) }

func parseRequest(b []byte) (Request, error) {
	if [4]byte(b) != magic {
		return Request{}, errNoRequest
	}
	return Request{Op: Op(b[4]), Size: binary.LittleEndian.Uint64(b[8:]), Seed: binary.LittleEndian.Uint64(b[16:])}, nil
}

// Receipt says what an Up or UpToEnd has taken. On the wire it is ReceiptLen bytes.
type Receipt struct {
	Size   uint64 // bytes
	Digest [sha256.Size]byte
}

// ReceiptLen is the length of a receipt on the wire, in bytes.
const ReceiptLen = 8 + sha256.Size

// ParseReceipt reads a receipt from the first ReceiptLen bytes of b.
func ParseReceipt(b []byte) Receipt {
	return Receipt{Size: binary.LittleEndian.Uint64(b), Digest: [sha256.Size]byte(b[8:ReceiptLen])}
}

// ReadReceipt reads a receipt from r.
func ReadReceipt(r io.Reader) (Receipt, error) {
	var b [ReceiptLen]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return Receipt{}, err
	}
	return ParseReceipt(b[:]), nil
}

// PatternReceipt is the receipt for size bytes of the pattern of seed.
func PatternReceipt(seed uint64, size int64) Receipt {
	h := sha256.New()
	_, _ = io.CopyN(h, NewPattern(seed), size)
	return Receipt{Size: uint64(size), Digest: [sha256.Size]byte(h.Sum(nil))}
}

func (r Receipt) bytes() []byte {
	return append(binary.LittleEndian.AppendUint64(nil, r.Size), r.Digest[:]...)
}

// worker serves the requests of one connection. rw is the clear side of conn.
type worker struct {
	conn    *net.TCPConn
	rw      io.ReadWriter
	receipt func(Receipt) // hears of all that was taken
	closing <-chan struct{}
}

// copyBuffer is what a worker moves at a time: larger than a TLS record, and no multiple of one.
const copyBuffer = 60_000

// serve answers requests until one ends the connection, or something goes wrong.
func (w *worker) serve() {
	var b [RequestLen]byte
	for {
		if _, err := io.ReadFull(w.rw, b[:]); err != nil {
			return
		}
		r, err := parseRequest(b[:])
		if err != nil {
			return
		}
		if more := w.do(r); !more {
			return
		}
	}
}

func (w *worker) do(r Request) (more bool) {
	switch r.Op {
	case Echo:
		_, _ = io.CopyBuffer(w.rw, readerOnly{w.rw}, make([]byte, copyBuffer))
		_ = w.conn.CloseWrite()
	case Down, DownClose:
		source := io.LimitReader(NewPattern(r.Seed), int64(r.Size))
		_, err := io.CopyBuffer(writerOnly{w.rw}, source, make([]byte, min(copyBuffer, r.Size+1)))
		return r.Op == Down && err == nil
	case Up:
		return w.take(io.LimitReader(w.rw, int64(r.Size)), r.Size)
	case UpToEnd:
		w.take(w.rw, 0)
	case Hold:
		w.hold()
	case Reset:
		_ = w.conn.SetLinger(0)
	case Finish:
		_ = w.conn.CloseWrite()
		w.swallow(w.rw, 0)
	}
	return false
}

// take swallows all of r and answers with what it was.
func (w *worker) take(r io.Reader, atLeast uint64) bool {
	receipt, ok := w.swallow(r, atLeast)
	if !ok {
		return false
	}
	_, err := w.rw.Write(receipt.bytes())
	return err == nil
}

// swallow reads all of r, which must come to an orderly end after so many bytes, and notes what it was.
func (w *worker) swallow(r io.Reader, atLeast uint64) (Receipt, bool) {
	h := sha256.New()
	n, err := io.CopyBuffer(h, readerOnly{r}, make([]byte, copyBuffer))
	if err != nil || uint64(n) < atLeast {
		return Receipt{}, false
	}
	receipt := Receipt{Size: uint64(n), Digest: [sha256.Size]byte(h.Sum(nil))}
	if w.receipt != nil {
		w.receipt(receipt)
	}
	return receipt, true
}

// hold keeps the connection as it is. Its break is noticed without reading: the kernel refuses to write to it.
func (w *worker) hold() {
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-w.closing:
			return
		case <-t.C:
			if broken(w.conn) {
				return
			}
		}
	}
}

// readerOnly and writerOnly hide the other methods of a connection, so that io.Copy uses the given buffer.
type (
	readerOnly struct{ io.Reader }
	writerOnly struct{ io.Writer }
)
