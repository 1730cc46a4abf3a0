package faketls

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
)

func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.file, func(t *testing.T) {
			after := append(bytes.Clone(v.wire), "and what follows"...)
			h, n, err := ParseHello(after, nil)
			if err != nil || n != len(v.wire) {
				t.Fatalf("got %d, %v; want %d", n, err, len(v.wire))
			}
			if string(h.Name) != v.name || !h.X25519 || !h.Hybrid || len(h.SessionID) != 32 {
				t.Errorf("got name %q, x25519 %v, hybrid %v, session %x", h.Name, h.X25519, h.Hybrid, h.SessionID)
			}
			if &h.Message[0] != &after[0] || !bytes.Equal(h.Message, v.wire) || !bytes.Equal(h.Random, v.wire[11:43]) {
				t.Error("the message or the random is not where it was")
			}
			m := NewMAC()
			if at, ok := m.Verify(&v.key, &h); !ok || at != v.time {
				t.Errorf("Verify: %d, %v; want %d", at, ok, v.time)
			}
			wrong := v.key
			wrong[15] ^= 1
			if at, ok := m.Verify(&wrong, &h); ok || at != 0 {
				t.Error("verified with another key")
			}
			h.SessionID[3] ^= 1
			if _, ok := m.Verify(&v.key, &h); ok {
				t.Error("verified with a byte changed")
			}
		})
	}
}

// forms are the ways one hello may be cut into records.
func forms(wire []byte) map[string][]byte {
	all := map[string][]byte{"one record": wire}
	for _, sizes := range [][]int{{1}, {3, 1000}, {4, 600}, {5}, {38, 1, 7}, {len(wire) - HeaderLen - 1}, {512}} {
		all[fmt.Sprint("records of ", sizes)] = split(wire, sizes...)
	}
	return all
}

func TestManyRecords(t *testing.T) {
	wire := sign(spec{}.wire(), testKey, 12345)
	for name, form := range forms(wire) {
		t.Run(name, func(t *testing.T) {
			form = append(form, typeApplication, 3, 3)
			join := make([]byte, MaxHello)
			h, n, err := ParseHello(form, join)
			if err != nil || n != len(form)-3 {
				t.Fatalf("got %d, %v; want %d", n, err, len(form)-3)
			}
			if !bytes.Equal(h.Message, wire) {
				t.Errorf("got message\n%x, want\n%x", h.Message, wire)
			}
			if at, ok := NewMAC().Verify(&testKey, &h); !ok || at != 12345 {
				t.Errorf("Verify: %d, %v", at, ok)
			}
		})
	}
}

// TestRecordVersions: the digest of a split hello is over the version 03 01, whatever its records had.
func TestRecordVersions(t *testing.T) {
	wire := sign(spec{}.wire(), testKey, 9)
	form := split(wire, 100)
	form[2], form[105+2] = 3, 2
	h := mustParse(t, form)
	if _, ok := NewMAC().Verify(&testKey, h); !ok {
		t.Error("a split hello is not digested as 16 03 01")
	}
}

func TestEveryPrefix(t *testing.T) {
	wires := forms(spec{}.wire())
	for _, v := range vectors(t) {
		wires[v.file] = v.wire
		wires[v.file+" in records"] = split(v.wire, 700)
	}
	join := make([]byte, MaxHello)
	for name, wire := range wires {
		t.Run(name, func(t *testing.T) {
			for i := range wire {
				h, n, err := ParseHello(wire[:i:i], join)
				if err != ErrShort || n < 1 || n > len(wire)-i {
					t.Fatalf("after %d of %d bytes: %d, %v", i, len(wire), n, err)
				}
				if h.Message != nil || h.Name != nil {
					t.Fatalf("after %d bytes: a hello with ErrShort", i)
				}
			}
		})
	}
}

// TestRejects has for each reject the number of bytes it takes to know.
func TestRejects(t *testing.T) {
	const whole = -1
	with := func(extensions ...[]byte) []byte { return spec{extensions: extensions}.wire() }
	patch := func(wire []byte, at int, b ...byte) []byte {
		wire = bytes.Clone(wire)
		copy(wire[at:], b)
		return wire
	}
	good := spec{}.wire()
	padding := extension(21, make([]byte, 16150))
	cases := []struct {
		name string
		wire []byte
		want Reject
		at   int
	}{
		{"http", []byte("GET / HTTP/1.1\r\n"), NotHandshake, 1},
		{"alert", record(0x15, []byte{2, 40}), NotHandshake, 1},
		{"ssl 2", patch(good, 1, 2), NotHandshake, 2},
		{"empty record", record(typeHandshake, nil), BadRecord, 5},
		{"record above 16384", patch(good, 3, 0x40, 1), BadRecord, 5},
		{"ccs in the middle", append(split(good, 50)[:55], record(typeCCS, []byte{1})...), BadRecord, 56},
		{"other version in the middle", append(split(good, 50)[:55], 0x16, 2, 1, 0, 9), BadRecord, 57},
		{"empty record in the middle", append(split(good, 50)[:55], 0x16, 3, 1, 0, 0), BadRecord, 60},
		{"server hello", patch(good, 5, 2), NotClientHello, 6},
		{"server hello in records of a byte", split(patch(good, 5, 2), 1), NotClientHello, 6},
		{"message above the limit", patch(good, 6, 1, 0, 0), TooLong, 9},
		{"message just above the limit", patch(good, 6, 0, 0x3f, 0xf8), TooLong, 9},
		{"record above the limit", patch(good, 3, 0x3f, 0xfc), TooLong, 5},
		{"headers above the limit", split(with(someName, someVersions, someShares, padding), 1000), TooLong, whole},
		{"message shorter than its record", patch(good, 6, 0, 0, 20), Malformed, 9},
		{"legacy version of TLS 1.1", spec{version: u16(0x0302)}.wire(), NoTLS13, 11},
		{"no session id", spec{session: []byte{}}.wire(), NoSessionID, 44},
		{"session id of 31", spec{session: make([]byte, 31)}.wire(), NoSessionID, 44},
		{"no suites", spec{suites: []byte{}}.wire(), Malformed, whole},
		{"odd suites", spec{suites: []byte{0x13, 1, 0x13}}.wire(), Malformed, whole},
		{"suites beyond the message", patch(good, 76, 0x10, 0), Malformed, 78},
		{"compression", spec{methods: []byte{1, 0}}.wire(), Malformed, whole},
		{"cut off after the suites", patch(good[:86], 3, 0, 81, 1, 0, 0, 77), Malformed, 86},
		{"no extensions", spec{bare: true}.wire(), NoTLS13, whole},
		{"empty extensions", with([]byte{}), NoTLS13, whole},
		{"after the extensions", spec{rest: []byte{0}}.wire(), Malformed, whole},
		{"extension beyond the message", patch(good, len(good)-len(someShares)+2, 1), Malformed, whole},
		{"half an extension", with(someName, someVersions, someShares, []byte{0, 9, 0}), Malformed, whole},
		{"no supported versions", with(someName, someShares), NoTLS13, whole},
		{"only TLS 1.2", with(someName, extension(extSupportedVersions, prefixed(1, u16(version12))), someShares), NoTLS13, whole},
		{"odd versions", with(extension(extSupportedVersions, prefixed(1, []byte{3, 4, 3}))), Malformed, whole},
		{"empty versions", with(extension(extSupportedVersions, []byte{0})), Malformed, whole},
		{"rest after versions", with(extension(extSupportedVersions, append(prefixed(1, u16(version13)), 0))), Malformed, whole},
		{"versions twice", with(someName, someVersions, someVersions), Malformed, whole},
		{"no suite of TLS 1.3", spec{suites: u16(0x1a1a, 0xc02b)}.wire(), NoTLS13, whole},
		{"no key share", with(someName, someVersions), NoKeyShare, whole},
		{"empty key share", with(someName, someVersions, extension(extKeyShare, prefixed(2))), NoKeyShare, whole},
		{"only P-256", with(someName, someVersions, extension(extKeyShare, prefixed(2, share(23, 65)))), NoKeyShare, whole},
		{"short x25519", with(someName, someVersions, extension(extKeyShare, prefixed(2, share(groupX25519, 31)))), NoKeyShare, whole},
		{"short hybrid", with(someName, someVersions, extension(extKeyShare, prefixed(2, share(groupHybrid, 1184)))), NoKeyShare, whole},
		{"half a share", with(someName, someVersions, extension(extKeyShare, prefixed(2, share(groupX25519, 32), u16(1)))), Malformed, whole},
		{"shares twice", with(someName, someVersions, someShares, someShares), Malformed, whole},
		{"no name", with(someVersions, someShares), NoName, whole},
		{"name of another type", with(extension(extServerName, prefixed(2, nameEntry(1, "x"))), someVersions, someShares), NoName, whole},
		{"empty name", with(extension(extServerName, prefixed(2, nameEntry(0, "")))), Malformed, whole},
		{"empty name list", with(extension(extServerName, prefixed(2))), Malformed, whole},
		{"two names", with(extension(extServerName, prefixed(2, nameEntry(0, "a"), nameEntry(0, "b")))), Malformed, whole},
		{"half a name", with(extension(extServerName, prefixed(2, nameEntry(0, "a"), []byte{0, 0}))), Malformed, whole},
		{"name twice", with(someName, someName, someVersions, someShares), Malformed, whole},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			rejectedAt := 0
			for i := range len(tc.wire) + 1 {
				h, n, err := ParseHello(tc.wire[:i:i], make([]byte, MaxHello))
				var r Reject
				switch {
				case errors.As(err, &r) && n == 0 && h.Message == nil:
					if rejectedAt == 0 {
						rejectedAt = i
						if r != tc.want {
							t.Fatalf("after %d bytes: %v, want %v", i, err, tc.want)
						}
					}
				case err == ErrShort && n > 0 && rejectedAt == 0:
				default:
					t.Fatalf("after %d of %d bytes: %d, %v (rejected after %d)", i, len(tc.wire), n, err, rejectedAt)
				}
			}
			if rejectedAt == 0 || tc.at != whole && rejectedAt != tc.at {
				t.Errorf("rejected after %d of %d bytes, want %d", rejectedAt, len(tc.wire), tc.at)
			}
		})
	}
}

func TestAccepts(t *testing.T) {
	hybrid := extension(extKeyShare, prefixed(2, share(groupHybrid, mlkemKeyLen+x25519Len)))
	fill := MaxHello - len(spec{}.wire()) - 4
	long := spec{extensions: [][]byte{extension(0x2a2a, nil), someName, someVersions, someShares, extension(21, make([]byte, fill))}}.wire()
	cases := []struct {
		name           string
		wire           []byte
		x25519, hybrid bool
	}{
		{"plain", spec{}.wire(), true, false},
		{"hybrid only", spec{extensions: [][]byte{someVersions, hybrid, someName}}.wire(), false, true},
		{"as long as can be", long, true, false},
		{"only suite is the last", spec{suites: u16(0x1303)}.wire(), true, false},
		{"a name of another type too", spec{extensions: [][]byte{
			extension(extServerName, prefixed(2, nameEntry(7, "x"), nameEntry(0, "front.exam.test"))), someVersions, someShares,
		}}.wire(), true, false},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			h := mustParse(t, tc.wire)
			if h.X25519 != tc.x25519 || h.Hybrid != tc.hybrid || string(h.Name) != "front.exam.test" {
				t.Errorf("got x25519 %v, hybrid %v, name %q", h.X25519, h.Hybrid, h.Name)
			}
		})
	}
	if len(long) != MaxHello {
		t.Errorf("the longest hello has %d bytes", len(long))
	}
}

func TestSuite(t *testing.T) {
	h := Hello{CipherSuites: u16(0x1a1a, 0xc02b, 0x1302, 0x1301, 0x1303)}
	for want, got := range map[uint16]uint16{0: 0x1302, 0x1301: 0x1301, 0x1303: 0x1303, 0x1304: 0x1302, 0xc02b: 0x1302, 0x1a1a: 0x1302} {
		if s := h.suite(want); s != got {
			t.Errorf("suite(%04x) = %04x, want %04x", want, s, got)
		}
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"Front.Exam.TEST": "front.exam.test", "": "", "front-exam.test.": "front-exam.test.",
		"@[`{\xc0\xe0": "@[`{\xc0\xe0", // the neighbours of letters, and what is no ASCII
	} {
		if got := string(AppendLower(nil, []byte(name))); got != want {
			t.Errorf("%q in small letters: %q, want %q", name, got, want)
		}
	}
	if got := AppendLower([]byte("to "), []byte("A-Z.[\xc3\x84]")); string(got) != "to a-z.[\xc3\x84]" {
		t.Errorf("AppendLower: %q", got)
	}
}

func TestRejectTexts(t *testing.T) {
	var texts []string
	for r := NotHandshake; r <= BadVersion; r++ {
		texts = append(texts, r.Error())
	}
	slices.Sort(texts)
	if n := len(slices.Compact(texts)); n != int(BadVersion) || slices.Contains(texts, Reject(200).Error()) {
		t.Errorf("rejects do not each have a text of their own: %q", texts)
	}
}

func TestAcceptAllocatesNothing(t *testing.T) {
	v := vectors(t)[1]
	parts := split(v.wire, 700)
	m, join, name := NewMAC(), make([]byte, MaxHello), make([]byte, 256)
	for what, wire := range map[string][]byte{"one record": v.wire, "three records": parts, "a prefix": v.wire[:900], "garbage": []byte("GET /")} {
		n := testing.AllocsPerRun(100, func() {
			h, _, err := ParseHello(wire, join)
			if err != nil {
				return
			}
			AppendLower(name[:0], h.Name)
			if _, ok := m.Verify(&v.key, &h); !ok {
				t.Error("not verified")
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
}
