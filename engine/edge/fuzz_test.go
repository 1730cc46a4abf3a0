package edge

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"

	proxyproto "github.com/pires/go-proxyproto"

	"sluice/bench/leak"
)

func TestMain(m *testing.M) {
	// The library's switch for nginx's mixed line, which is to be set before any parsing.
	proxyproto.V1AcceptIPv4InTCP6 = true
	os.Exit(leak.Check(m).Run())
}

func seed(f *testing.F) {
	f.Helper()
	f.Add([]byte("PROXY UNKNOWN\r\r\n"))
	f.Add([]byte("PROXY UNKNOWN \r\r\n"))
	for _, v := range vectors(f) {
		f.Add(v.wire)
		f.Add(append(v.wire[:len(v.wire):len(v.wire)], "\x16\x03\x01"...))
	}
}

// FuzzOracle compares with go-proxyproto. Where the two are meant to differ:
//   - the library does not look into TLVs: our Malformed and BadCRC may be its success;
//   - it rejects PROXY with UNSPEC, which we take as Local, as proxy-protocol.txt 2.2 allows;
//   - it takes PROXY with UDP and UNIX, which we reject;
//   - LOCAL with a family: it invents addresses, we have none;
//   - it cannot tell a cut header from none, so only what we do not call short is compared.
func FuzzOracle(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := ParseHeader(b)
		if errors.Is(err, ErrShort) {
			return
		}
		in := bufio.NewReaderSize(bytes.NewReader(b), MaxHeader)
		want, wantErr := proxyproto.Read(in)
		switch {
		case err == nil && wantErr != nil:
			if h.Version != 2 || !h.Local || b[12] != v2Proxy || b[13] != famUnspec {
				t.Fatalf("%q: we read %+v, the library %v", cut(b), h, wantErr)
			}
		case err == nil:
			if rest, err := io.ReadAll(in); err != nil || len(rest) != len(b)-n {
				t.Fatalf("%q: we consume %d bytes of %d, the library leaves %d, %v", cut(b), n, len(b), len(rest), err)
			}
			compare(t, b, &h, want)
		case wantErr == nil:
			if !differs(b, err, want) {
				t.Fatalf("%q: we say %v, the library %+v", cut(b), err, want)
			}
		case errors.Is(err, ErrNone) && wantErr != proxyproto.ErrNoProxyProtocol && !bytes.HasPrefix(b, []byte("PROXY")):
			t.Fatalf("%q: we say %v, the library %v", cut(b), err, wantErr)
		}
	})
}

// cut shortens what a failure prints.
func cut(b []byte) []byte { return b[:min(len(b), 200)] }

// differs reports whether a header that only the library takes is one of the documented differences.
func differs(b []byte, err error, h *proxyproto.Header) bool {
	if h.Version != 2 || h.Command != proxyproto.PROXY {
		return false
	}
	switch err {
	case BadFamily:
		return h.TransportProtocol != proxyproto.TCPv4 && h.TransportProtocol != proxyproto.TCPv6
	case Malformed:
		return !tlvsSound(h)
	case BadCRC:
		return bytes.Contains(b, []byte{tlvCRC32C, 0, 4})
	}
	return false
}

func tlvsSound(h *proxyproto.Header) bool {
	tlvs, err := h.TLVs()
	sums := 0
	for _, v := range tlvs {
		if v.Type == proxyproto.PP2_TYPE_CRC32C {
			sums++
			if len(v.Value) != 4 {
				return false
			}
		}
	}
	return err == nil && sums <= 1
}

func compare(t *testing.T, b []byte, h *Header, want *proxyproto.Header) {
	t.Helper()
	if h.Version != want.Version || h.Local != want.Command.IsLocal() {
		t.Fatalf("%q: we read %+v, the library %+v", cut(b), h, want)
	}
	if h.Local {
		return
	}
	if !same(h.Source, want.SourceAddr) || !same(h.Dest, want.DestinationAddr) {
		t.Fatalf("%q: we read %v to %v, the library %v to %v", cut(b), h.Source, h.Dest, want.SourceAddr, want.DestinationAddr)
	}
	tlvs, err := want.TLVs()
	if err != nil {
		t.Fatalf("%q: accepted with unsound TLVs: %v", cut(b), err)
	}
	var id []byte
	for _, v := range tlvs {
		if v.Type == proxyproto.PP2_TYPE_UNIQUE_ID {
			id = v.Value
		}
	}
	if !bytes.Equal(id, h.UniqueID) {
		t.Fatalf("%q: id %q, the library's %q", cut(b), h.UniqueID, id)
	}
}

func same(a netip.AddrPort, b net.Addr) bool {
	tcp, ok := b.(*net.TCPAddr)
	return ok && tcp.AddrPort().Addr().Unmap() == a.Addr().Unmap() && tcp.AddrPort().Port() == a.Port()
}

// FuzzIncremental feeds each input byte by byte: what is short stays short until at least as many bytes came as were asked for, and any
// other verdict is that of the whole input.
func FuzzIncremental(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		b = b[:min(len(b), 2*MaxHeader)]
		h, n, err := ParseHeader(b)
		whole := outcome(&h, n, err)
		for i := 0; i < len(b); i++ {
			h, n, err := ParseHeader(b[:i:i])
			if !errors.Is(err, ErrShort) {
				if got := outcome(&h, n, err); got != whole {
					t.Fatalf("%q: %s, but its first %d bytes: %s", cut(b), whole, i, got)
				}
				return
			}
			if n < 1 {
				t.Fatalf("%q: short of %d bytes", cut(b[:i]), n)
			}
			// Inside what was asked for no header may be complete.
			if end := i + n - 1; end <= len(b) {
				if h, n, err := ParseHeader(b[:end:end]); err == nil {
					t.Fatalf("%q: at %d bytes %d more were needed, at %d it is %s", cut(b), i, i+n, end, outcome(&h, n, err))
				}
			}
		}
	})
}

// FuzzRoundTrip writes a header and reads it back.
func FuzzRoundTrip(f *testing.F) {
	f.Add(true, []byte("\xcb\x00\x71\x07\xc0\x00\x02\x09\xc8\x22\x01\xbb"))
	f.Add(false, []byte("\xcb\x00\x71\x07\xc0\x00\x02\x09\xc8\x22\x01\xbb"))
	f.Add(true, bytes.Repeat([]byte{0x20, 0x01}, 18))
	f.Add(false, bytes.Repeat([]byte{0x20, 0x01}, MaxHeader)) // as many marks as fit, and more
	f.Add(false, append(append(make([]byte, 10), 0xff, 0xff, 1, 2, 3, 4), bytes.Repeat([]byte{0x20, 0x01}, 10)...))
	f.Fuzz(func(t *testing.T, v1 bool, b []byte) {
		var src, dst netip.AddrPort
		switch {
		case len(b) >= addrLen6:
			src = addrPort(netip.AddrFrom16([16]byte(b)), b[32:])
			dst = addrPort(netip.AddrFrom16([16]byte(b[16:])), b[34:])
		case len(b) >= addrLen4:
			src = addrPort(netip.AddrFrom4([4]byte(b)), b[8:])
			dst = addrPort(netip.AddrFrom4([4]byte(b[4:])), b[10:])
		default:
			return
		}
		version := 2
		if v1 {
			version = 1
		}
		marks := b[:0:0]
		if version == 2 {
			fit := v2MaxBody - addrLen6 - 3 // a header with more is one that nobody may send, and that ParseHeader refuses
			marks = b[:min(len(b), fit)/MarkerLen*MarkerLen]
		}
		wire := AppendHeader(nil, version, src, dst, marks)
		h, n, err := ParseHeader(wire)
		if err != nil || n != len(wire) || h.Local || int(h.Version) != version {
			t.Fatalf("%q: %+v, %d, %v", wire, h, n, err)
		}
		if !bytes.Equal(h.Marks, marks) {
			t.Fatalf("%q: marks %q became %q", wire, marks, h.Marks)
		}
		if h.Source.Addr().Unmap() != src.Addr().Unmap() || h.Dest.Addr().Unmap() != dst.Addr().Unmap() || h.Source.Port() != src.Port() || h.Dest.Port() != dst.Port() {
			t.Fatalf("%v to %v became %v to %v", src, dst, h.Source, h.Dest)
		}
		if version == 2 && int(binary.BigEndian.Uint16(wire[14:])) != len(wire)-v2Fixed {
			t.Fatalf("%q: wrong length", wire)
		}
	})
}
