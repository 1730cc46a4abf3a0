package baseline

import (
	"bufio"
	"bytes"
	"io"
	"testing"
	"testing/iotest"
)

func TestRecordReader(t *testing.T) {
	record := func(n int, fill byte) []byte {
		return append([]byte{0x17, 3, 3, byte(n >> 8), byte(n)}, bytes.Repeat([]byte{fill}, n)...)
	}
	ccs := []byte{0x14, 3, 3, 0, 1, 1}
	whole := bytes.Join([][]byte{ccs, record(4, 'a'), record(20_000, 'b'), ccs, record(1, 'c')}, nil)
	want := "aaaa" + string(bytes.Repeat([]byte{'b'}, 20_000)) + "c"
	for name, r := range map[string]io.Reader{"at once": bytes.NewReader(whole), "by bytes": iotest.OneByteReader(bytes.NewReader(whole))} {
		got, err := io.ReadAll(&recordReader{r: bufio.NewReader(r)})
		if err != nil || string(got) != want {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	for name, b := range map[string][]byte{"alert": {0x15, 3, 3, 0, 2, 1, 0}, "version": {0x17, 3, 1, 0, 1, 0}} {
		if _, err := io.ReadAll(&recordReader{r: bufio.NewReader(bytes.NewReader(b))}); err != errRecord {
			t.Errorf("%s: %v", name, err)
		}
	}
}
