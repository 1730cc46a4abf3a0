package faketls

import (
	"bytes"
	"strings"
	"testing"
)

func TestFindName(t *testing.T) {
	name := func(host string) []byte { return extension(extServerName, prefixed(2, nameEntry(0, host))) }
	long := strings.Repeat("a", maxName)
	for _, c := range []struct {
		what string
		b    []byte
		want string
	}{
		{"one of ours", spec{}.wire(), "front.exam.test"},
		{"in any case of letters", spec{extensions: [][]byte{name("Front.EXAM.test")}}.wire(), "Front.EXAM.test"},
		{"TLS 1.2 without a session", spec{session: []byte{}, extensions: [][]byte{someName}}.wire(), "front.exam.test"},
		{"an old version", spec{version: []byte{3, 1}, extensions: [][]byte{someName}}.wire(), "front.exam.test"},
		{"two methods of compression", spec{methods: []byte{2, 1, 0}, extensions: [][]byte{someName}}.wire(), "front.exam.test"},
		{"behind other extensions", spec{extensions: [][]byte{extension(0x1a1a, nil), someShares, someName}}.wire(), "front.exam.test"},
		{"the longest name", spec{extensions: [][]byte{name(long)}}.wire(), long},
		{"a name too long", spec{extensions: [][]byte{name(long + "a")}}.wire(), ""},
		{"another kind of name", spec{extensions: [][]byte{extension(extServerName, prefixed(2, nameEntry(1, "x")))}}.wire(), ""},
		{"an empty list", spec{extensions: [][]byte{extension(extServerName, nil)}}.wire(), ""},
		{"no name", spec{extensions: [][]byte{someVersions}}.wire(), ""},
		{"no extensions", spec{bare: true}.wire(), ""},
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: front.exam.test\r\n\r\n"), ""},
		{"a server's hello", append([]byte{0x16, 3, 3, 0, 4}, 2, 0, 0, 0), ""},
		{"nothing", nil, ""},
	} {
		for _, size := range []int{0, 1, 7, 100} {
			wire := c.b
			if size > 0 && len(wire) > HeaderLen && wire[0] == typeHandshake {
				wire = split(wire, size)
			}
			join := make([]byte, MaxHello)
			if got := FindName(wire, join); string(got) != c.want {
				t.Errorf("%s, in records of %d: %q, want %q", c.what, size, got, c.want)
			}
			for i := range wire { // a part never shows another name
				if got := FindName(wire[:i], join); len(got) > 0 && string(got) != c.want {
					t.Errorf("%s, in records of %d, %d bytes: %q", c.what, size, i, got)
				}
			}
		}
	}
	wire, join := split(spec{}.wire(), 9), make([]byte, MaxHello)
	if n := testing.AllocsPerRun(100, func() { FindName(wire, join) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// The name is there as soon as its own bytes are.
func TestFindNameInAPart(t *testing.T) {
	wire := spec{extensions: [][]byte{someName, someVersions, someShares}}.wire()
	whole := bytes.Index(wire, []byte("front.exam.test")) + len("front.exam.test")
	join := make([]byte, MaxHello)
	if got := FindName(wire[:whole], join); string(got) != "front.exam.test" {
		t.Errorf("%q of the bytes up to the name's last", got)
	}
	if got := FindName(wire[:whole-1], join); got != nil {
		t.Errorf("%q of the bytes before", got)
	}
}

// FuzzFindName has ParseHello as its oracle, and crypto/tls where that takes no hello.
func FuzzFindName(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.wire, uint16(700))
		f.Add(split(v.wire, 600), uint16(1000))
	}
	f.Add(spec{session: []byte{}, extensions: [][]byte{someName}}.wire(), uint16(90))
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		join := make([]byte, MaxHello)
		name := FindName(b, join)
		if h, _, err := ParseHello(b, make([]byte, MaxHello)); err == nil && !bytes.Equal(h.Name, name) {
			t.Errorf("found %q, the hello says %q", name, h.Name)
		}
		// Where records are as they should be; crypto/tls passes over warning alerts and empty ones.
		if _, _, err := unite(b, make([]byte, MaxHello)); err == nil {
			if info := standard(b); info != nil && info.ServerName != "" && info.ServerName != string(name) {
				t.Errorf("found %q, crypto/tls %q", name, info.ServerName)
			}
		}
		part := FindName(b[:int(cut)%(len(b)+1)], make([]byte, MaxHello))
		if part != nil && !bytes.Equal(part, name) {
			t.Errorf("found %q in a part, %q in the whole", part, name)
		}
	})
}
