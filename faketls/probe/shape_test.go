package probe

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"sluice/faketls"
)

func TestShape(t *testing.T) {
	flight := func(records ...int) Flight {
		return Flight{Version: tls.VersionTLS13, Cipher: 0x1302, Group: tls.X25519, Records: records}
	}
	with := func(f Flight, change func(*Flight)) Flight {
		change(&f)
		return f
	}
	cases := []struct {
		name   string
		flight Flight
		record int
		match  Match
		text   []string
	}{
		{"one record", flight(2413), 2413, Exact, []string{"TLS_AES_256_GCM_SHA384", "X25519", "one record of 2413 bytes"}},
		{"one record, as long as can be", flight(10240), 10240, Exact, nil},
		{"one record, too long", flight(10241), 10240, Over, []string{"10241", "10240"}},
		{"four records", flight(32, 819, 281, 69), 1201, Sum, []string{"4 records of 32+819+281+69 = 1201 bytes", "all together"}},
		{"four records, too long together", flight(32, 9000, 1200, 69), 10240, Over, []string{"10301"}},
		{"hybrid", with(flight(2413), func(f *Flight) { f.Group, f.Hybrid = tls.X25519MLKEM768, true }), 2413, Exact, []string{"X25519MLKEM768"}},
		{"key share first", with(flight(2413), func(f *Flight) { f.KeyShareFirst = true }), 2413, Exact, nil},
		{"retry", with(flight(2413), func(f *Flight) { f.Retry, f.Group = true, tls.CurveP256 }), 2413, Sum, []string{"asked for another key share"}},
		{"other group", with(flight(2413), func(f *Flight) { f.Group = tls.CurveP256 }), 2413, Sum, []string{"CurveP256"}},
		{"TLS 1.2", with(flight(), func(f *Flight) { f.Version = tls.VersionTLS12 }), 0, NotTLS13, []string{"TLS 1.2"}},
		{"nothing", Flight{}, 0, NotTLS13, nil},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			shape, match, text := tc.flight.Shape()
			want := faketls.Shape{}
			if match != NotTLS13 {
				want = faketls.Shape{Cipher: 0x1302, Hybrid: tc.flight.Hybrid, KeyShareFirst: tc.flight.KeyShareFirst, Record: tc.record}
			}
			if shape != want || match != tc.match {
				t.Errorf("got %+v, %v; want %+v, %v", shape, match, want, tc.match)
			}
			for _, part := range tc.text {
				if !strings.Contains(text, part) {
					t.Errorf("%q does not say %q", text, part)
				}
			}
		})
	}
	names := map[Match]string{Exact: "exact", Sum: "sum", Over: "over", NotTLS13: "not_tls13", 9: "unknown"}
	for match, name := range names {
		if match.String() != name {
			t.Errorf("%d is %q", match, match)
		}
	}
}

// serverHello has extensions of the given kinds, empty but for their number.
func serverHello(kinds ...uint16) []byte {
	body := append([]byte{3, 3}, make([]byte, 32)...)
	body = append(append(append(body, 4), "sess"...), 0x13, 1, 0)
	body = binary.BigEndian.AppendUint16(body, uint16(4*len(kinds)))
	for _, kind := range kinds {
		body = binary.BigEndian.AppendUint16(body, kind)
		body = append(body, 0, 0)
	}
	return append([]byte{2, 0, 0, byte(len(body))}, body...)
}

func TestKeyShareFirst(t *testing.T) {
	version, share := serverHello(0x2b, 0x33), serverHello(0x33, 0x2b)
	for name, tc := range map[string]struct {
		clear []byte
		first bool
	}{
		"version":         {version, false},
		"share":           {share, true},
		"another before":  {serverHello(0x29, 0x33, 0x2b), true},
		"after a retry":   {append(bytes.Clone(version), share...), true},
		"version at last": {append(bytes.Clone(share), version...), false},
		"neither":         {serverHello(0x29), false},
		"nothing":         {nil, false},
		"not a hello":     {append([]byte{11}, share[1:]...), false},
	} {
		if keyShareFirst(tc.clear) != tc.first {
			t.Errorf("%s: not %v", name, tc.first)
		}
		for i := range tc.clear { // whatever the cut, it does not panic
			keyShareFirst(tc.clear[:i])
			if i > 4 {
				shareBeforeVersion(tc.clear[4:i])
			}
		}
	}
}

// FuzzRecorder: what is read through a recorder is what came, and no read crosses the end of a record.
func FuzzRecorder(f *testing.F) {
	f.Add([]byte("\x16\x03\x03\x00\x02ab\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x03xyz"), uint8(7))
	f.Add(append([]byte{0x16, 3, 3, 0, 95}, serverHello(0x33, 0x2b)...), uint8(255))
	f.Fuzz(func(t *testing.T, b []byte, size uint8) {
		r := &recorder{Conn: readConn{Reader: bytes.NewReader(b)}}
		var got []byte
		for buf := make([]byte, int(size)+1); ; {
			n, err := r.Read(buf)
			got = append(got, buf[:n]...)
			if err != nil {
				break
			}
		}
		if !bytes.Equal(got, b) {
			t.Errorf("read %x, want %x", got, b)
		}
		var sealed int
		for rest := b; len(rest) >= headerLen; {
			if rest[0] == typeApplication {
				sealed++
			}
			rest = rest[min(headerLen+int(binary.BigEndian.Uint16(rest[3:])), len(rest)):]
		}
		if len(r.sealed) != sealed || len(r.clear) > maxClear {
			t.Errorf("%d application records, want %d; %d bytes in clear", len(r.sealed), sealed, len(r.clear))
		}
		keyShareFirst(r.clear)
	})
}

// FuzzLearn: a front that answers with anything and then hangs up is learned from or is a fault, and what was learned has a shape.
func FuzzLearn(f *testing.F) {
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Add([]byte{0x15, 3, 3, 0, 2, 2, 40})
	f.Add(append([]byte{0x16, 3, 3, 0, 95}, serverHello(0x33, 0x2b)...))
	f.Add(append([]byte{0x16, 3, 3, 0, 95}, append(serverHello(0x2b, 0x33), 0x14, 3, 3, 0, 1, 1, 0x17, 3, 3, 0, 4, 1, 2, 3, 4)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		flight, err := Learn(t.Context(), answers{bytes.NewReader(b)}, "front.example", nil)
		if err != nil {
			return
		}
		if shape, match, text := flight.Shape(); match.String() == "unknown" || text == "" || shape.Record > faketls.MaxFlightRecord {
			t.Errorf("%+v: %+v, %v, %q", flight, shape, match, text)
		}
	})
}

// answers is a connection to a front that says what it says, whatever it is told.
type answers struct{ *bytes.Reader }

func (answers) Write(b []byte) (int, error)      { return len(b), nil }
func (answers) Close() error                     { return nil }
func (answers) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (answers) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (answers) SetDeadline(time.Time) error      { return nil }
func (answers) SetReadDeadline(time.Time) error  { return nil }
func (answers) SetWriteDeadline(time.Time) error { return nil }

type readConn struct {
	net.Conn
	io.Reader
}

func (c readConn) Read(b []byte) (int, error) { return c.Reader.Read(b) }
