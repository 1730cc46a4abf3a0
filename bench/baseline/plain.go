package baseline

import (
	"bufio"
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"

	"sluice/faketls"
	"sluice/obfs"
)

const (
	plainBuffer  = 16 << 10
	helloTimeout = 10 * time.Second
)

// PlainConfig is what Plain is run with.
type PlainConfig struct {
	Listen, DC, Front netip.AddrPort
	Key               [16]byte
}

// Plain serves FakeTLS clients the usual way. It returns on errors only.
func Plain(c PlainConfig) error {
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(c.Listen))
	if err != nil {
		return err
	}
	for {
		conn, err := l.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err == nil {
			go c.serve(conn)
		}
	}
}

func (c *PlainConfig) serve(client *net.TCPConn) {
	defer client.Close()
	_ = client.SetDeadline(time.Now().Add(helloTimeout))
	hello, ok := c.handshake(client)
	if !ok {
		c.front(client, hello)
		return
	}
	in := &recordReader{r: bufio.NewReader(client)}
	var wire [obfs.FrameLen]byte
	if _, err := io.ReadFull(in, wire[:]); err != nil {
		return
	}
	frame, _, err := obfs.ParseFrame(wire[:], &c.Key)
	if err != nil {
		return
	}
	ours, toDC, fromDC, err := obfs.FreshFrame(&frame, rand.Reader)
	if err != nil {
		return
	}
	dc, err := net.Dial("tcp", c.DC.String())
	if err != nil {
		return
	}
	defer dc.Close()
	if _, err := dc.Write(ours[:]); err != nil {
		return
	}
	_ = client.SetDeadline(time.Time{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		upload(dc.(*net.TCPConn), in, frame.Up.Stream(obfs.FrameLen), toDC.Stream(obfs.FrameLen))
	}()
	download(client, dc, fromDC.Stream(0), frame.Down.Stream(0))
	<-done
}

// handshake answers a hello that the key has signed; of any other it returns the bytes.
func (c *PlainConfig) handshake(client *net.TCPConn) ([]byte, bool) {
	hello := make([]byte, 0, 2048)
	for {
		if len(hello) == cap(hello) {
			hello = append(hello, 0)[:len(hello)]
		}
		n, err := client.Read(hello[len(hello):cap(hello)])
		hello = hello[:len(hello)+n]
		if err != nil {
			return hello, false
		}
		h, used, err := faketls.ParseHello(hello, nil)
		if err == faketls.ErrShort {
			continue
		}
		mac := faketls.NewMAC()
		if err != nil || used != len(hello) {
			return hello, false
		}
		if _, ok := mac.Verify(&c.Key, &h); !ok {
			return hello, false
		}
		flight, err := faketls.AppendFlight(nil, mac, &c.Key, &h, faketls.Shape{}, rand.Reader)
		if err != nil {
			return hello, false
		}
		_, err = client.Write(flight)
		return nil, err == nil
	}
}

// front copies both ways through buffers: peers wrap their connections, which keeps Go from splicing.
func (c *PlainConfig) front(client *net.TCPConn, hello []byte) {
	site, err := net.Dial("tcp", c.Front.String())
	if err != nil {
		return
	}
	defer site.Close()
	_ = client.SetDeadline(time.Time{})
	if _, err := site.Write(hello); err != nil {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.CopyBuffer(writerOnly{site}, readerOnly{client}, make([]byte, plainBuffer))
		_ = site.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.CopyBuffer(writerOnly{client}, readerOnly{site}, make([]byte, plainBuffer))
	_ = client.CloseWrite()
	<-done
}

// upload takes records apart one by one, each read, deciphered, enciphered and sent on.
func upload(dc *net.TCPConn, in *recordReader, client, server cipher.Stream) {
	buf := make([]byte, plainBuffer)
	for {
		n, err := in.Read(buf)
		client.XORKeyStream(buf[:n], buf[:n])
		server.XORKeyStream(buf[:n], buf[:n])
		if n > 0 {
			if _, err := dc.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			_ = dc.CloseWrite()
			return
		}
	}
}

// download makes a record of whatever one read brings.
func download(client *net.TCPConn, dc net.Conn, server, own cipher.Stream) {
	buf := make([]byte, plainBuffer)
	for {
		n, err := dc.Read(buf[5:])
		if n > 0 {
			b := buf[5 : 5+n]
			server.XORKeyStream(b, b)
			own.XORKeyStream(b, b)
			faketls.PutHeader(buf, n)
			if _, err := client.Write(buf[:5+n]); err != nil {
				return
			}
		}
		if err != nil {
			_ = client.CloseWrite()
			return
		}
	}
}

// recordReader reads the payload of a client's records.
type recordReader struct {
	r    *bufio.Reader
	left int
}

var errRecord = errors.New("not an application record")

func (r *recordReader) Read(b []byte) (int, error) {
	for r.left == 0 {
		var header [5]byte
		if _, err := io.ReadFull(r.r, header[:]); err != nil {
			return 0, err
		}
		n := int(binary.BigEndian.Uint16(header[3:]))
		switch {
		case header[0] == 0x14:
			if _, err := r.r.Discard(n); err != nil {
				return 0, err
			}
		case header[0] != 0x17 || !bytes.Equal(header[1:3], []byte{3, 3}):
			return 0, errRecord
		default:
			r.left = n
		}
	}
	n, err := io.ReadFull(r.r, b[:min(len(b), r.left)])
	r.left -= n
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}

type (
	readerOnly struct{ io.Reader }
	writerOnly struct{ io.Writer }
)
