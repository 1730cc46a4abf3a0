package engine

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/bench/client"
	"sluice/engine/edge"
)

// seed is an input of FuzzHandshake that is known by what it is made of.
type seed struct {
	name                string
	plan                plan
	header, hello, tail []byte
	cuts                []byte
	want                cause
}

// Bits of a plan; see its methods.
const (
	atOff, atRequired, atOptional, atRanges plan = 0, 1, 2, 3

	signed    plan = 1 << 2
	second    plan = 1 << 3
	framed    plan = 1 << 10
	badTag    plan = 3 << 11
	cipherOn  plan = 1 << 13
	resetEnd  plan = 1 << 17
	again     plan = 1 << 18
	pastEdge  plan = 1 << 19
	toDC2     plan = 2 << 24
	wrongUser plan = 1 << 40

	good = signed | framed | cipherOn | toDC2
)

func cutOff(n int) plan  { return plan(n) << 20 }
func clockAt(i int) plan { return plan(i) << 4 }
func spread(n int) plan  { return plan(n) << 7 }
func sizeAt(i int) plan  { return plan(i) << 14 }

// vectorHellos are those of real clients, in faketls/testdata.
func vectorHellos(t testing.TB) (all [][]byte) {
	t.Helper()
	files, err := filepath.Glob("../faketls/testdata/*.hex")
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var digits strings.Builder
		for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
			if !strings.HasPrefix(s.Text(), "#") {
				digits.WriteString(strings.TrimSpace(s.Text()))
			}
		}
		b, err := hex.DecodeString(digits.String())
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, b)
	}
	return all
}

// unsigned is a hello without its digest: which is good is for a plan to say, and never the same one twice.
func unsigned(h client.Hello) []byte {
	b := h.Foreign()
	clear(b[11:43])
	return b
}

// seeds are a path for each outcome, and more for those that have several.
func seeds(t testing.TB) []seed {
	t.Helper()
	var (
		hello  = unsigned(client.Hello{Host: secret.Host})
		hybrid = unsigned(client.Hello{Host: secret.Host, Hybrid: true})
		from   = netip.MustParseAddrPort("192.0.2.7:4321")
		to     = netip.MustParseAddrPort("198.51.100.1:443")
		v1     = edge.AppendHeader(nil, 1, from, to, nil)
		v2     = edge.AppendHeader(nil, 2, from, to, nil)
		six    = edge.AppendHeader(nil, 2, netip.MustParseAddrPort("[2001:db8::7]:4321"), to, nil)
		local  = edge.AppendHeader(nil, 2, netip.AddrPort{}, to, nil)
		self   = edge.AppendHeader(nil, 1, netip.AddrPortFrom(edgeAddr, 1), to, nil)
		marked = func(n int) []byte { return edge.AppendHeader(nil, 2, from, to, bytes.Repeat([]byte("another-"), n)) }
		word   = []byte("a word for the data centre")
		edit   = func(b []byte, at int, to ...byte) []byte { b = bytes.Clone(b); copy(b[at:], to); return b }
	)
	all := []seed{
		{"a session", atOff | good, nil, hello, word, nil, accepted},
		{"a session behind v1", atRequired | good, v1, hello, word, nil, accepted},
		{"a session behind v2", atOptional | good, v2, hybrid, word, []byte{0, 1, 0, 20, 2, 0}, accepted},
		{"a session behind v2, IPv6", atRequired | good, six, hybrid, nil, nil, accepted},
		{"a session behind nothing", atOptional | good, nil, hello, word, nil, accepted},
		{"a session from the ranges", atRanges | good, v2, hello, word, nil, accepted},
		{"a session in many records", atOff | good | spread(7) | sizeAt(1), nil, hybrid, word, []byte{0, 9, 3, 0}, accepted},
		{"a session in one record", atOff | good | sizeAt(7), nil, hello, bytes.Repeat(word, 100), nil, accepted},
		{"a session, abridged", atOff | good | 2<<11 | sizeAt(2), nil, hello, word, nil, accepted},
		{"a session, clock behind", atOff | good | clockAt(1), nil, hello, word, nil, accepted},
		{"a session with an offence behind it", atOff | signed, nil, hello, plan(good).tail(word), nil, accepted},
		{"a session that is reset", atOff | good | resetEnd, nil, hello, word, nil, accepted},
		{"nothing", atOff, nil, nil, nil, nil, silent},
		{"nothing where a header is wanted", atRequired, nil, nil, nil, nil, silent},
		{"a header and nothing", atRequired, v1, nil, nil, nil, silent},
		{"the load balancer looks", atRanges, nil, nil, nil, nil, health},
		{"the load balancer looks and names itself", atRanges, self, nil, nil, nil, health},
		{"from outside the ranges", atRanges | pastEdge | good, nil, hello, word, nil, outsider},
		{"http", atOff, nil, []byte("GET / HTTP/1.1\r\n\r\n"), nil, []byte{0, 1}, notTLS},
		{"a header where none is wanted", atOff | good, v1, hello, word, nil, notTLS},
		{"a header from outside", atRanges | pastEdge | good, v1, hello, word, nil, notTLS},
		{"another message", atOff, nil, edit(hello, 5, 2), nil, nil, badHello},
		{"an empty record", atOff, nil, edit(hello, 3, 0, 0), nil, nil, badHello},
		{"too long", atOff, nil, edit(hello, 6, 0, 0xff, 0xff), nil, nil, helloTooLong},
		{"TLS 1.2", atOff | signed, nil, unsigned(client.Hello{Host: secret.Host, TLS12: true}), nil, nil, noTLS13},
		{"no key share", atOff | signed, nil, bytes.Replace(hello, []byte{0, 0x1d, 0, 32}, []byte{0, 0x17, 0, 32}, 1), nil, nil, noKeyShare},
		{"no name", atOff | signed, nil, unsigned(client.Hello{}), nil, nil, noName},
		{"an unknown name", atOff | signed, nil, unsigned(client.Hello{Host: "who.example"}), nil, nil, unknownName},
		{"a stranger", atOptional, v1, client.Hello{Host: secret.Host}.Foreign(), []byte("and more"), []byte{0, 90, 0, 1}, badDigest},
		{"the other secret", atOff | good | second, nil, hello, word, nil, badDigest},
		{"a clock too far behind", atOff | good | clockAt(3), nil, hello, word, nil, clockSkew},
		{"a clock too far ahead", atRequired | good | clockAt(4), v2, hello, word, nil, clockSkew},
		{"a replay", atOff | good | again, nil, hello, word, nil, accepted},
		{"a replay of nothing more", atOptional | signed | again, local, hybrid, nil, nil, frameEnd},
		{"half a hello", atOff, nil, hello[:300], nil, []byte{0, 5, 0, 38}, helloEnd},
		{"half a hello that is reset", atOff | resetEnd, nil, hello[:300], nil, nil, helloEnd},
		{"a stranger who resets", atRequired | resetEnd, v1, client.Hello{Host: secret.Host}.Foreign(), nil, nil, badDigest},
		{"a bad header", atRequired | good, []byte("PROXY TCP4 1.2.3.4 5\r\n"), hello, word, nil, badHeader},
		{"a header whose parts do not fit its length", atOptional, edit(v2, 14, 0, 200), hello, nil, nil, badHeader},
		{"no header", atRequired | good, nil, hello, word, nil, headerMissing},
		{"half a header", atRequired, v1[:20], nil, nil, []byte{0, 3}, headerEnd},
		{"half a header where it is optional", atOptional, v2[:20], nil, nil, nil, headerEnd},
		{"noise for a frame", atOff | signed, nil, hello, word, nil, badFrame},
		{"a bad tag", atOff | good | badTag, nil, hello, word, nil, badFrame},
		{"a frame with the other secret", atOff | good | wrongUser, nil, hello, word, nil, badFrame},
		{"an alert", atOff | signed, nil, hello, []byte{0x15, 3, 3, 0, 2, 2, 40}, nil, badFrame},
		{"a frame of another version", atOff | signed, nil, hello, append([]byte{0x17, 3, 1, 0, 64}, make([]byte, 64)...), nil, badFrame},
		{"nowhere", atOff | good&^toDC2 | 99<<24, nil, hello, word, nil, unknownDC},
		{"half a frame", atOff | good | cutOff(9), nil, hello, nil, []byte{2, 5, 0, 1}, frameEnd},
		{"a header that goes round", atRanges | good, marked(maxPassed), hello, word, nil, looped},
		{"a stranger who says to have passed many", atRequired, marked(maxPassed + 1), client.Hello{Host: secret.Host}.Foreign(), nil, nil, badDigest},
		{"a stranger who has passed others", atRequired, marked(maxPassed - 1), client.Hello{Host: secret.Host}.Foreign(), nil, nil, badDigest},
	}
	all[10].tail = append(all[10].tail, 0x16, 3, 3, 0, 1, 0)
	for i, b := range vectorHellos(t) {
		p := atOff | good | second | plan(i%3)
		header := [][]byte{nil, v1, v2}[i%3]
		all = append(all,
			seed{"a client's hello", p, header, b, word, nil, accepted},
			seed{"a client's hello of long ago", p &^ signed, header, b, word, nil, clockSkew})
	}
	return all
}

func addSeeds(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(uint64(s.plan), s.header, s.hello, s.tail, s.cuts)
	}
}

// The model says of each seed what its maker does, and the seeds reach every outcome that neither waiting nor want of something brings.
func TestSeeds(t *testing.T) {
	found := map[cause]bool{replayed: true} // by those that come twice
	for _, s := range seeds(t) {
		m := modelOf(s.plan)
		b := bytes.Join([][]byte{s.header, s.plan.hello(s.hello), s.plan.tail(s.tail)}, nil)
		peer := netip.AddrPortFrom(edgeAddr, 5)
		if s.plan.outside() {
			peer = netip.AddrPortFrom(outAddr, 5)
		}
		o := m.foretell(b[:len(b)-s.plan.cut()], peer)
		if o.why != s.want {
			t.Errorf("%s: the model says %s, want %s", s.name, o.why, s.want)
		}
		found[o.why] = true
	}
	for _, c := range []cause{replayFull, helloTimeout, headerTimeout, frameTimeout, flightFailed, handoffFailed, evicted, stopped} {
		found[c] = true // not from bytes
	}
	for c := range causes {
		if !found[c] {
			t.Errorf("no seed ends as %s", c)
		}
	}
}
