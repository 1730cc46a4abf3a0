package faketls

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

var testKey = [keyLen]byte{0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}

// vector is a hello of a real client, from testdata, and what is to be found in it.
type vector struct {
	file, name string
	key        [keyLen]byte
	time       uint32
	wire       []byte
}

func vectors(t testing.TB) (all []vector) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.hex")
	if err != nil || len(files) != 3 {
		t.Fatalf("want 3 vectors, have %v (%v)", files, err)
	}
	for _, file := range files {
		all = append(all, readVector(t, file))
	}
	return all
}

func readVector(t testing.TB, file string) vector {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	v := vector{file: filepath.Base(file)}
	var digits strings.Builder
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		field, value, comment := strings.Cut(strings.TrimPrefix(s.Text(), "# "), ": ")
		switch {
		case !comment:
			digits.WriteString(s.Text())
		case field == "secret":
			copy(v.key[:], unhex(t, value[2:2+2*keyLen]))
		case field == "timestamp":
			n, err := strconv.ParseUint(value, 10, 32)
			if err != nil {
				t.Fatal(err)
			}
			v.time = uint32(n)
		case field == "name":
			v.name = value
		}
	}
	v.wire = unhex(t, digits.String())
	return v
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func random(seed byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{seed}) }

// prefixed puts a length of n bytes before the parts.
func prefixed(n int, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	return append(binary.BigEndian.AppendUint64(nil, uint64(len(body)))[8-n:], body...)
}

func u16(values ...uint16) (b []byte) {
	for _, v := range values {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return b
}

func extension(kind uint16, data []byte) []byte { return append(u16(kind), prefixed(2, data)...) }

func share(group uint16, size int) []byte {
	return append(u16(group), prefixed(2, make([]byte, size))...)
}

func nameEntry(kind byte, name string) []byte {
	return append([]byte{kind}, prefixed(2, []byte(name))...)
}

var (
	someName     = extension(extServerName, prefixed(2, nameEntry(0, "front.exam.test")))
	someVersions = extension(extSupportedVersions, prefixed(1, u16(0x1a1a, version13, version12)))
	someShares   = extension(extKeyShare, prefixed(2, share(0x1a1a, 1), share(groupX25519, x25519Len)))
)

// spec is a hello to be built. What is nil is as a client of ours has it.
type spec struct {
	version, session, suites, methods []byte
	extensions                        [][]byte
	rest                              []byte // after the extensions, within the message
	bare                              bool   // no extensions at all
}

func (s spec) body() []byte {
	or := func(b, usual []byte) []byte {
		if b == nil {
			return usual
		}
		return b
	}
	b := or(s.version, u16(version12))
	b = append(b, bytes.Repeat([]byte{0x77}, randomLen)...)
	b = append(b, prefixed(1, or(s.session, bytes.Repeat([]byte{0x55}, sessionLen)))...)
	b = append(b, prefixed(2, or(s.suites, u16(0x2a2a, 0x1301, 0x1302, 0xc02b)))...)
	b = append(b, prefixed(1, or(s.methods, []byte{0}))...)
	if s.bare {
		return b
	}
	if s.extensions == nil {
		s.extensions = [][]byte{extension(0x2a2a, nil), someName, someVersions, someShares}
	}
	return append(append(b, prefixed(2, s.extensions...)...), s.rest...)
}

// wire is the hello in one record.
func (s spec) wire() []byte {
	return record(typeHandshake, append([]byte{helloType}, prefixed(3, s.body())...))
}

func record(kind byte, payload []byte) []byte {
	return append([]byte{kind, 3, 1}, prefixed(2, payload)...)
}

// split cuts the payload of a record into records of the given sizes, in turn.
func split(wire []byte, sizes ...int) (out []byte) {
	payload := wire[HeaderLen:]
	for i := 0; len(payload) > 0; i++ {
		n := min(sizes[i%len(sizes)], len(payload))
		out = append(out, record(wire[0], payload[:n])...)
		payload = payload[n:]
	}
	return out
}

// sign does to a hello in one record what a client does, by crypto/hmac.
func sign(wire []byte, key [keyLen]byte, time uint32) []byte {
	wire = bytes.Clone(wire)
	clear(wire[randomOffset : randomOffset+randomLen])
	sum := digest(key, wire)
	last := sum[randomLen-4:]
	binary.LittleEndian.PutUint32(last, binary.LittleEndian.Uint32(last)^time)
	copy(wire[randomOffset:], sum)
	return wire
}

func digest(key [keyLen]byte, parts ...[]byte) []byte {
	m := hmac.New(sha256.New, key[:])
	for _, b := range parts {
		m.Write(b)
	}
	return m.Sum(nil)
}

func mustParse(t testing.TB, wire []byte) *Hello {
	t.Helper()
	h, n, err := ParseHello(wire, make([]byte, MaxHello))
	if err != nil || n != len(wire) {
		t.Fatalf("ParseHello of %d bytes: %d, %v", len(wire), n, err)
	}
	return &h
}
