package faketls

import (
	"bytes"
	"crypto/ecdh"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestMAC(t *testing.T) {
	r := rand.New(random(1))
	m := NewMAC()
	for range 200 {
		var key [keyLen]byte
		message := make([]byte, 43+r.IntN(2000))
		rnd := random(byte(r.IntN(256)))
		rnd.Read(key[:])
		rnd.Read(message)
		want := bytes.Clone(message)
		clear(want[11:43])
		m.begin(&key)
		m.message(message)
		if got := m.finish(); !bytes.Equal(got[:], digest(key, want)) {
			t.Fatalf("key %x, %d bytes: %x, crypto/hmac says %x", key, len(message), got, digest(key, want))
		}
	}
}

// checkFlight reads a flight as the clients do (protocol.md 2.2) and returns the payloads of its three records.
func checkFlight(t *testing.T, flight []byte, key [keyLen]byte, clientRandom []byte) (hello, sealed []byte) {
	t.Helper()
	n := 5 + int(binary.BigEndian.Uint16(flight[3:]))
	if !bytes.HasPrefix(flight, []byte{0x16, 3, 3}) || len(flight) < n+11 {
		t.Fatalf("flight begins with %x and has %d bytes", flight[:5], len(flight))
	}
	if got := flight[n : n+9]; !bytes.Equal(got, []byte{0x14, 3, 3, 0, 1, 1, 0x17, 3, 3}) {
		t.Fatalf("after the ServerHello comes %x", got)
	}
	sealed = flight[n+11:]
	if int(binary.BigEndian.Uint16(flight[n+9:])) != len(sealed) {
		t.Fatal("the encrypted record is not the flight's end")
	}
	if n-5 > 10240 || len(sealed) > 10240 {
		t.Fatalf("iOS takes no records of %d and %d bytes", n-5, len(sealed))
	}
	zeroed := bytes.Clone(flight)
	clear(zeroed[11:43])
	if !bytes.Equal(flight[11:43], digest(key, clientRandom, zeroed)) {
		t.Fatal("the digest is wrong")
	}
	return flight[5:n], sealed
}

func TestFlight(t *testing.T) {
	signed := func(s spec) []byte { return sign(s.wire(), testKey, 1) }
	classic, hybrid := signed(spec{}), vectors(t)[1].wire
	onlyHybrid := signed(spec{extensions: [][]byte{
		someName, someVersions,
		extension(extKeyShare, prefixed(2, share(groupHybrid, mlkemKeyLen+x25519Len))),
	}})
	badHybrid := signed(spec{extensions: [][]byte{someName, someVersions, extension(extKeyShare, prefixed(2,
		append(u16(groupHybrid), prefixed(2, bytes.Repeat([]byte{0xff}, mlkemKeyLen+x25519Len))...)))}})
	const versions, x25519, mlkem = "002b00020304", "00330024001d0020", "0033046411ec0460"
	cases := []struct {
		name         string
		wire         []byte
		shape        Shape
		cipher       uint16
		first, then  string // the starts of the extensions
		hello, bytes int
	}{
		{"usual", classic, Shape{}, 0x1301, versions, x25519, 122, DefaultRecord},
		{"as the front", classic, Shape{Cipher: 0x1302, Record: 4000}, 0x1302, versions, x25519, 122, 4000},
		{"cipher not offered", classic, Shape{Cipher: 0x1303}, 0x1301, versions, x25519, 122, DefaultRecord},
		{"hybrid not offered", classic, Shape{Hybrid: true}, 0x1301, versions, x25519, 122, DefaultRecord},
		{"hybrid not wanted", hybrid, Shape{}, 0x1301, versions, x25519, 122, DefaultRecord},
		{"hybrid", hybrid, Shape{Hybrid: true, Cipher: 0x1303}, 0x1303, versions, mlkem, 1210, DefaultRecord},
		{"nothing but hybrid", onlyHybrid, Shape{}, 0x1301, versions, mlkem, 1210, DefaultRecord},
		{"hybrid key that is none", badHybrid, Shape{}, 0x1301, versions, mlkem, 1210, DefaultRecord},
		{"key share first", classic, Shape{KeyShareFirst: true}, 0x1301, x25519, versions, 122, DefaultRecord},
		{"hybrid key share first", hybrid, Shape{KeyShareFirst: true, Hybrid: true}, 0x1301, mlkem, versions, 1210, DefaultRecord},
		{"too long for iOS", classic, Shape{Record: 12000}, 0x1301, versions, x25519, 122, MaxFlightRecord},
		{"one byte", classic, Shape{Record: 1}, 0x1301, versions, x25519, 122, 1},
		{"negative", classic, Shape{Record: -5}, 0x1301, versions, x25519, 122, DefaultRecord},
	}
	m := NewMAC()
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			h := mustParse(t, tc.wire)
			flight, err := AppendFlight([]byte("before"), m, &testKey, h, tc.shape, random(2))
			if err != nil || string(flight[:6]) != "before" {
				t.Fatalf("%v, begins with %q", err, flight[:6])
			}
			hello, sealed := checkFlight(t, flight[6:], testKey, h.Random)
			if len(hello) != tc.hello || len(sealed) != tc.bytes {
				t.Errorf("ServerHello of %d bytes, record of %d; want %d and %d", len(hello), len(sealed), tc.hello, tc.bytes)
			}
			fixed := append([]byte{2, 0, byte((len(hello) - 4) >> 8), byte(len(hello) - 4), 3, 3}, hello[6:38]...)
			fixed = append(append(fixed, 32), h.SessionID...)
			fixed = append(binary.BigEndian.AppendUint16(fixed, tc.cipher), 0)
			fixed = binary.BigEndian.AppendUint16(fixed, uint16(len(hello)-len(fixed)-2))
			if !bytes.HasPrefix(hello, fixed) {
				t.Errorf("ServerHello\n%x, want\n%x", hello[:78], fixed)
			}
			extensions := hello[len(fixed):]
			first, then := unhex(t, tc.first), unhex(t, tc.then)
			second := 4 + int(binary.BigEndian.Uint16(extensions[2:]))
			if !bytes.HasPrefix(extensions, first) || !bytes.HasPrefix(extensions[second:], then) {
				t.Errorf("extensions %x", extensions)
			}
		})
	}
}

// TestFlightsDiffer: what is random in a flight is so each time, and no byte of its record stays.
func TestFlightsDiffer(t *testing.T) {
	h := mustParse(t, sign(spec{}.wire(), testKey, 1))
	rnd, m := random(3), NewMAC()
	var fixed []bool
	var last []byte
	for range 12 {
		flight, err := AppendFlight(nil, m, &testKey, h, Shape{Record: 700}, rnd)
		if err != nil {
			t.Fatal(err)
		}
		if last == nil {
			fixed = make([]bool, len(flight))
			for i := range fixed {
				fixed[i] = true
			}
		}
		for i := range last {
			fixed[i] = fixed[i] && last[i] == flight[i]
		}
		last = flight
	}
	for i := range fixed {
		inRandom, inShare, inRecord := i >= 11 && i < 43, i >= 95 && i < 127, i >= 138
		if fixed[i] == (inRandom || inShare || inRecord) {
			t.Errorf("byte %d stays: %v", i, fixed[i])
		}
	}
}

func TestFlightECDSA(t *testing.T) {
	h := mustParse(t, sign(spec{}.wire(), testKey, 1))
	rnd, m, seen := random(4), NewMAC(), map[int]int{}
	for range 400 {
		flight, err := AppendFlight(nil, m, &testKey, h, Shape{Record: 1000, ECDSA: true}, rnd)
		if err != nil {
			t.Fatal(err)
		}
		_, sealed := checkFlight(t, flight, testKey, h.Random)
		seen[len(sealed)]++
	}
	if len(seen) != 3 || seen[999] < 60 || seen[1000] < 140 || seen[1001] < 60 {
		t.Errorf("lengths and how often: %v", seen)
	}
	flight, err := AppendFlight(nil, m, &testKey, h, Shape{Record: MaxFlightRecord, ECDSA: true}, bytes.NewReader(bytes.Repeat([]byte{3}, 20000)))
	if err != nil {
		t.Fatal(err)
	}
	checkFlight(t, flight, testKey, h.Random)
}

// The key share is the public key that x25519 itself makes of the same random bytes.
func TestPointIsX25519s(t *testing.T) {
	rnd := rand.NewChaCha8([32]byte{25, 51, 9})
	for range 200 {
		scalar := make([]byte, x25519Len)
		_, _ = rnd.Read(scalar)
		private, err := ecdh.X25519().NewPrivateKey(scalar)
		if err != nil {
			t.Fatal(err)
		}
		got, err := appendPoint([]byte("x"), bytes.NewReader(scalar))
		if want := append([]byte("x"), private.PublicKey().Bytes()...); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%x: %x, %v, want %x", scalar, got, err, want)
		}
	}
}

func TestFlightWithoutRandomness(t *testing.T) {
	broken := errors.New("broken")
	h := mustParse(t, vectors(t)[0].wire)
	dst := []byte("before")
	for _, n := range []int64{0, 31, 32, 33, 2000} {
		rnd := io.MultiReader(io.LimitReader(random(5), n), iotest.ErrReader(broken))
		got, err := AppendFlight(dst, NewMAC(), &testKey, h, Shape{Hybrid: true, ECDSA: true, Record: 5000}, rnd)
		if !errors.Is(err, broken) || string(got) != "before" {
			t.Errorf("after %d bytes: %q, %v", n, got, err)
		}
	}
}

// TestFlightSatisfiesTLS gives our flight to crypto/tls: it takes the ServerHello, and comes as far as decrypting the record, whose tag
// is wrong.
func TestFlightSatisfiesTLS(t *testing.T) {
	shapes := map[string]Shape{
		"usual": {}, "hybrid": {Hybrid: true}, "key share first": {KeyShareFirst: true, Cipher: 0x1303}, "hybrid, first": {Hybrid: true, KeyShareFirst: true},
	}
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			near, far := net.Pipe()
			defer far.Close()
			_ = far.SetDeadline(time.Now().Add(10 * time.Second))
			result := make(chan error, 1)
			go func() {
				client := tls.Client(near, &tls.Config{ServerName: "front.exam.test", InsecureSkipVerify: true})
				result <- client.Handshake()
				near.Close()
			}()
			join, got := make([]byte, MaxHello), []byte{}
			var h Hello
			for err := ErrShort; err == ErrShort; {
				b := make([]byte, 700)
				n, readErr := far.Read(b)
				if readErr != nil {
					t.Fatal(readErr)
				}
				got = append(got, b[:n]...)
				if h, _, err = ParseHello(got, join); err != nil && err != ErrShort {
					t.Fatal(err)
				}
			}
			flight, err := AppendFlight(nil, NewMAC(), &testKey, &h, shape, random(6))
			if err != nil {
				t.Fatal(err)
			}
			go io.Copy(io.Discard, far)
			if _, err := far.Write(flight); err != nil {
				t.Fatal(err)
			}
			if err := <-result; err == nil || !strings.Contains(err.Error(), "bad record MAC") {
				t.Errorf("crypto/tls says: %v", err)
			}
		})
	}
}
