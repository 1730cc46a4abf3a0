package client

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"
)

// Tags of obfuscated2: how the MTProto packets inside are framed (protocol.md 3.1).
const (
	Padded       uint32 = 0xdddddddd
	Intermediate uint32 = 0xeeeeeeee
	Abridged     uint32 = 0xefefefef
)

// frameLen is the length of a client's frame.
const frameLen = 64

// Config says how a client connects and behaves. The zero value of each field is what an official client does.
type Config struct {
	Addr   netip.AddrPort
	Local  netip.Addr // address to connect from
	Port   uint16     // port to connect from; zero is any
	Secret Secret
	Prefix []byte // sent before anything else: a PROXY header
	Hello  Hello  // its Host, if empty, is the secret's
	Raw    []byte // the hello's bytes as given, in place of Hello: a replay. Must be signed, one record
	DC     int16
	Tag    uint32 // zero is Padded

	// Cuts are positions in the hello at which one write ends and another begins, with Gap in between.
	Cuts []int
	Gap  time.Duration
	// HelloRecords splits the hello over so many TLS records; 0 is one.
	HelloRecords int

	// AloneFrame sends the 64-byte frame in a record of its own (gotd), not with the first data (tdlib).
	AloneFrame bool
	// MaxRecord is the payload of the longest record written; zero is 2,878 (tdlib). At most 65,535.
	MaxRecord int
	// ReceiveBuffer sets SO_RCVBUF if not zero.
	ReceiveBuffer int
	// Timeout bounds the connect and the handshake; zero is 20 seconds.
	Timeout time.Duration
}

// Conn is a client's session through the proxy. As with any net.Conn, one goroutine may read while another writes.
type Conn struct {
	*net.TCPConn
	// Flight is the proxy's answer to the hello.
	Flight Flight
	// HelloSent is the hello as one record, as it is signed: what a replay sends.
	HelloSent []byte

	cfg   Config
	up    cipher.Stream
	down  cipher.Stream
	frame []byte // still to be sent
	began bool   // ChangeCipherSpec has been sent

	record []byte // the record being read
	plain  []byte // of it, what has not been given out
	out    []byte
}

// Dial connects, shows the secret, and checks the answer. ErrNotOurs says that the front answered instead.
func Dial(ctx context.Context, cfg Config) (*Conn, error) {
	timeout := cfg.Timeout
	if timeout == 0 {
		timeout = 20 * time.Second
	}
	d := net.Dialer{Timeout: timeout}
	if cfg.Local.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(cfg.Local, cfg.Port))
	}
	nc, err := d.DialContext(ctx, "tcp", cfg.Addr.String())
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	c := &Conn{TCPConn: nc.(*net.TCPConn), cfg: cfg}
	_ = c.SetDeadline(time.Now().Add(timeout))
	if err := c.handshake(); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("client: %w", err)
	}
	_ = c.SetDeadline(time.Time{})
	return c, nil
}

func (c *Conn) handshake() error {
	if n := c.cfg.ReceiveBuffer; n > 0 {
		if err := c.SetReadBuffer(n); err != nil {
			return err
		}
	}
	c.HelloSent = c.cfg.Raw
	if c.HelloSent == nil {
		h := c.cfg.Hello
		if h.Host == "" {
			h.Host = c.cfg.Secret.Host
		}
		c.HelloSent = h.Sign(c.cfg.Secret.Key)
	}
	if err := c.sendHello(); err != nil {
		return err
	}
	var err error
	if c.Flight, err = readFlight(c.TCPConn, c.cfg.Secret.Key, c.HelloSent); err != nil {
		return err
	}
	c.makeFrame()
	if c.cfg.AloneFrame {
		return c.Flush()
	}
	return nil
}

// sendHello sends the prefix and the hello in one write, or cut where the configuration says so.
func (c *Conn) sendHello() error {
	wire := c.HelloSent
	if n := c.cfg.HelloRecords; n > 1 {
		wire = Records(wire, n)
	}
	pending, done := slices.Clone(c.cfg.Prefix), 0
	for _, cut := range append(slices.Clone(c.cfg.Cuts), len(wire)) {
		pending = append(pending, wire[done:cut]...)
		done = cut
		if len(pending) > 0 {
			if _, err := c.TCPConn.Write(pending); err != nil {
				return fmt.Errorf("hello: %w", err)
			}
		}
		pending = pending[:0]
		if done < len(wire) {
			time.Sleep(c.cfg.Gap)
		}
	}
	return nil
}

// makeFrame makes the client's frame and both streams (protocol.md 3.1).
func (c *Conn) makeFrame() {
	f := make([]byte, frameLen)
	_, _ = rand.Read(f)
	tag := c.cfg.Tag
	if tag == 0 {
		tag = Padded
	}
	binary.LittleEndian.PutUint32(f[56:], tag)
	binary.LittleEndian.PutUint16(f[60:], uint16(c.cfg.DC))
	reversed := slices.Clone(f[8:56])
	slices.Reverse(reversed)
	c.up = stream(f[8:40], f[40:56], c.cfg.Secret.Key)
	c.down = stream(reversed[:32], reversed[32:], c.cfg.Secret.Key)
	enciphered := make([]byte, frameLen)
	c.up.XORKeyStream(enciphered, f)
	copy(f[56:], enciphered[56:])
	c.frame = f
}

func stream(key, iv []byte, secret [16]byte) cipher.Stream {
	digest := sha256.Sum256(append(slices.Clone(key), secret[:]...))
	block, err := aes.NewCipher(digest[:])
	if err != nil {
		panic(err) // a digest is a key
	}
	return cipher.NewCTR(block, iv)
}

// Flush sends the frame if it has not been sent.
func (c *Conn) Flush() error {
	if c.frame == nil {
		return nil
	}
	_, err := c.Write(nil)
	return err
}

// Write sends b in records of at most the configured length, the frame before it if it has not been sent.
func (c *Conn) Write(b []byte) (int, error) {
	limit := c.cfg.MaxRecord
	if limit == 0 {
		limit = 2878
	}
	c.out = c.out[:0]
	if !c.began {
		c.out = append(c.out, changeRecord, 3, 3, 0, 1, 1)
		c.began = true
	}
	payload := b
	if c.frame != nil {
		payload = append(c.frame, b...)
		c.up.XORKeyStream(payload[frameLen:], b)
		c.frame = nil
	} else if len(b) > 0 {
		payload = make([]byte, len(b))
		c.up.XORKeyStream(payload, b)
	}
	for len(payload) > 0 {
		n := min(limit, len(payload))
		c.out = append(c.out, applicationRecord, 3, 3, byte(n>>8), byte(n))
		c.out = append(c.out, payload[:n]...)
		payload = payload[n:]
	}
	if _, err := c.TCPConn.Write(c.out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Read gives out the payload of records, a record at a time, and none before it is whole (protocol.md 2.2). Anything but
// application records, or one longer than a real server writes, is an error. A stream that ends inside a record ends with
// io.ErrUnexpectedEOF.
func (c *Conn) Read(b []byte) (int, error) {
	for len(c.plain) == 0 {
		if err := c.readRecord(); err != nil {
			return 0, err
		}
	}
	n := copy(b, c.plain)
	c.plain = c.plain[n:]
	return n, nil
}

func (c *Conn) readRecord() error {
	var header [recordHdr]byte
	if _, err := io.ReadFull(c.TCPConn, header[:]); err != nil {
		return err
	}
	if header[0] != applicationRecord || header[1] != 3 || header[2] != 3 {
		return fmt.Errorf("client: a record that begins with %x", header)
	}
	n := int(binary.BigEndian.Uint16(header[3:]))
	if n == 0 || n > maxRecord {
		return fmt.Errorf("client: a record of %d bytes", n)
	}
	if cap(c.record) < n {
		c.record = make([]byte, maxRecord)
	}
	c.plain = c.record[:n]
	if _, err := io.ReadFull(c.TCPConn, c.plain); err != nil {
		c.plain = nil
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	c.down.XORKeyStream(c.plain, c.plain)
	return nil
}

// ReadFrom and WriteTo would send or read past the session; they are hidden behind its own Read and Write.
func (c *Conn) ReadFrom(r io.Reader) (int64, error) { return io.Copy(struct{ io.Writer }{c}, r) }

// WriteTo reads the session to its end.
func (c *Conn) WriteTo(w io.Writer) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{c}, make([]byte, maxRecord))
}

// Abort resets the connection.
func (c *Conn) Abort() {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// Waiting says whether bytes have come that have not been read. Before the client's first word there must be none.
func (c *Conn) Waiting() bool { return waiting(c.TCPConn) }
