package load

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"sluice/bench/poll"
	"sluice/obfs"
)

// Wire facts of protocol.md 2, written a second time so that the proxy is not checked with its own code.
const (
	recordHeader    = 5
	randomAt        = 11
	randomEnd       = 43
	sessionAt       = 44
	maxRecord       = 16401
	maxFlightRecord = 10240
)

var (
	errEnd    = errors.New("the other side has ended the connection")
	errFlight = errors.New("the flight is not ServerHello, ChangeCipherSpec and one application record")
	errSigned = errors.New("the flight is not signed with the secret")
	errExtra  = errors.New("something follows the flight")
)

// sign makes the hello of one client from a prepared one: a session id of its own, and for FakeTLS the digest.
func (l *load) sign(g *group) []byte {
	hello := slices.Clone(g.hellos[l.rnd.Uint64()%uint64(len(g.hellos))])
	_, _ = l.rnd.Read(hello[sessionAt : sessionAt+32])
	_, _ = l.rnd.Read(hello[randomAt:randomEnd])
	if g.Kind != FakeTLS {
		return hello
	}
	clear(hello[randomAt:randomEnd])
	mac := hmac.New(sha256.New, g.secret.Key[:])
	mac.Write(hello)
	mac.Sum(hello[:randomAt])
	last := hello[randomEnd-4 : randomEnd]
	binary.LittleEndian.PutUint32(last, binary.LittleEndian.Uint32(last)^uint32(time.Now().Unix()))
	return hello
}

// checkFlight checks what a client is answered with, once all of it is there.
func checkFlight(b, hello []byte, key [16]byte) (whole bool, err error) {
	at := 0
	for i, kind := range [3]byte{0x16, 0x14, 0x17} {
		if len(b) < at+recordHeader {
			return false, nil
		}
		n := int(binary.BigEndian.Uint16(b[at+3:]))
		if b[at] != kind || b[at+1] != 3 || b[at+2] != 3 || i == 1 && n != 1 || i == 2 && n > maxFlightRecord {
			return false, errFlight
		}
		at += recordHeader + n
	}
	if len(b) < at {
		return false, nil
	}
	if len(b) > at {
		return false, errExtra
	}
	var random [32]byte
	copy(random[:], b[randomAt:randomEnd])
	clear(b[randomAt:randomEnd])
	mac := hmac.New(sha256.New, key[:])
	mac.Write(hello[randomAt:randomEnd])
	mac.Write(b)
	if !hmac.Equal(mac.Sum(nil), random[:]) {
		return false, errSigned
	}
	return true, nil
}

// makeFrame makes the 64 bytes that obfuscated2 begins with, and leaves them to be sent with what is said first. FakeTLS
// mixes the secret into the keys (protocol.md 3.1); without it they are a data centre's client's (3.2).
func (l *load) makeFrame(c *conn) {
	var f [obfs.FrameLen]byte
	for {
		_, _ = l.rnd.Read(f[:])
		if c.group.Kind == FakeTLS || !obfs.ReservedPrefix(f[:]) {
			break
		}
	}
	dc := 2
	if n := c.group.DCs; n > 0 {
		dc = 1 + c.group.started%n
	}
	binary.LittleEndian.PutUint32(f[56:], uint32(obfs.Padded))
	binary.LittleEndian.PutUint16(f[60:], uint16(dc))
	reversed := slices.Clone(f[8:56])
	slices.Reverse(reversed)
	c.up = c.group.keys(f[8:40], f[40:56])
	c.down = c.group.keys(reversed[:32], reversed[32:])
	c.upAt = 0
	ciphered := f
	c.encipher(ciphered[:])
	copy(f[56:], ciphered[56:])
	c.acc = f[:] // the frame goes out with the first words
}

func (g *group) keys(key, iv []byte) (k obfs.Keys) {
	copy(k.IV[:], iv)
	if g.Kind != FakeTLS {
		copy(k.Key[:], key)
		return k
	}
	k.Key = sha256.Sum256(append(slices.Clone(key), g.secret.Key[:]...))
	return k
}

func (c *conn) ciphered() bool { return c.group.Kind == FakeTLS || c.group.Kind == Direct }

// encipher enciphers the next bytes of the upload, in place.
func (c *conn) encipher(b []byte) {
	if c.ciphered() {
		if c.upCTR == nil {
			c.upCTR = c.up.Stream(c.upAt)
		}
		c.upCTR.XORKeyStream(b, b)
	}
	c.upAt += uint64(len(b))
}

// decipherAt deciphers bytes of the download, which begin at the given position of the stream.
func (c *conn) decipherAt(b []byte, at uint64) {
	if !c.ciphered() {
		return
	}
	if c.downCTR == nil {
		c.downCTR = c.down.Stream(at)
	}
	c.downCTR.XORKeyStream(b, b)
}

func appendHeader(dst []byte, n int) []byte { return append(dst, 0x17, 3, 3, byte(n>>8), byte(n)) }

// say appends enciphered payload to what is to be sent, in records where there are any; before the first of them goes
// a ChangeCipherSpec, and in the first the frame.
func (c *conn) say(b []byte) {
	head := c.acc
	c.acc = nil
	if c.group.Kind != FakeTLS {
		c.out = append(append(c.out, head...), b...)
		return
	}
	if head != nil {
		c.out = append(c.out, 0x14, 3, 3, 0, 1, 1)
		b = append(head, b...)
	}
	for len(b) > 0 {
		n := min(len(b), c.group.Record)
		c.out = append(appendHeader(c.out, n), b[:n]...)
		b = b[n:]
	}
}

// feed takes bytes off the wire: records for FakeTLS, of which only the payload goes on.
func (l *load) feed(c *conn, b []byte) {
	if c.group.Kind != FakeTLS {
		l.payload(c, b)
		return
	}
	for len(b) > 0 && l.conns[c.index] == c {
		if c.left == 0 {
			n := copy(c.frame[c.have:], b)
			b, c.have = b[n:], c.have+n
			if c.have < recordHeader {
				return
			}
			c.have = 0
			c.left = int(binary.BigEndian.Uint16(c.frame[3:]))
			if c.frame[0] != 0x17 || c.frame[1] != 3 || c.frame[2] != 3 || c.left == 0 || c.left > maxRecord {
				l.wrong(c, "a record that begins with %x", c.frame)
				return
			}
			continue
		}
		part := b[:min(len(b), c.left)]
		c.left -= len(part)
		b = b[len(part):]
		l.payload(c, part)
	}
}

// appendProxyHeader is what a load balancer says before a client does (protocol.md 6).
func (l *load) appendProxyHeader(dst []byte, c *conn) []byte {
	from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(c.index)}), uint16(1024+c.index%60000))
	to := c.group.Addr
	if !to.Addr().Is4() {
		to = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), to.Port())
	}
	if c.group.Header == 1 {
		return fmt.Appendf(dst, "PROXY TCP4 %v %v %d %d\r\n", from.Addr(), to.Addr(), from.Port(), to.Port())
	}
	dst = append(dst, "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"...)
	source, target := from.Addr().As4(), to.Addr().As4()
	dst = append(append(dst, source[:]...), target[:]...)
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(dst, from.Port()), to.Port())
}

// pump sends what is to be sent.
func (l *load) pump(c *conn) {
	for {
		if len(c.out) == 0 {
			c.out = c.out[:0]
			if !c.refill(l) {
				break
			}
		}
		n, e := poll.Send(c.fd, c.out)
		if e == unix.EAGAIN {
			l.watch(c, poll.In|poll.Out)
			return
		}
		if e != 0 {
			l.lost(c, e)
			return
		}
		c.out = c.out[n:]
	}
	switch {
	case c.phase == blindUp:
		l.pumpBlind(c)
	case c.phase != stalled:
		l.watch(c, poll.In)
	}
}
