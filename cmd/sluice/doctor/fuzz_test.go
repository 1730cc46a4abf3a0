package doctor

import (
	"encoding/binary"
	"strings"
	"testing"
)

// FuzzParsePQ: whatever a data centre says, only an answer to this very question is one.
func FuzzParsePQ(f *testing.F) {
	nonce := [nonceLen]byte{1, 2, 3, 15: 16}
	good := dcStand{}.resPQ(nonce[:])[4:]
	for n := 4; n <= len(good); n++ {
		f.Add(good[:n])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) < 4 {
			return // readPacket passes on no less
		}
		clock, err := parsePQ(body, nonce)
		if err != nil {
			return
		}
		if string(body[24:40]) != string(nonce[:]) || binary.LittleEndian.Uint32(body[20:]) != resPQ {
			t.Errorf("taken for an answer: %x", body)
		}
		if got := uint32(clock.Unix()); got != binary.LittleEndian.Uint32(body[12:]) {
			t.Errorf("the clock is read as %d: %x", got, body)
		}
	})
}

// FuzzParsePage: a page that is no metrics page does no harm, and no sample comes from a comment.
func FuzzParsePage(f *testing.F) {
	f.Add("# HELP a b\na 1\nb{x=\"1\",y=\"2\"} 3\n")
	f.Add("a{x=\"} 1\n{} 1\n 1\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, s := range parsePage(text) {
			if strings.HasPrefix(s.name, "#") || strings.ContainsAny(s.name, "{\n") {
				t.Errorf("%q from %q", s.name, text)
			}
		}
	})
}

// FuzzParseSockets: every socket has an address.
func FuzzParseSockets(f *testing.F) {
	f.Add(heading + row("0.0.0.0:22", "0A"))
	f.Add("   1: 00000000000000000000000000000000:01BB x 0A\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, a := range parseSockets(text) {
			if !a.Addr().IsValid() {
				t.Errorf("%v from %q", a, text)
			}
		}
	})
}
