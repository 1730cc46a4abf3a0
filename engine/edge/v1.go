package edge

import (
	"bytes"
	"net/netip"
	"unsafe"
)

const (
	v1Prefix  = "PROXY "
	v1TCP4    = "TCP4 "
	v1TCP6    = "TCP6 "
	v1Unk     = "UNKNOWN"
	v1Unknown = v1Prefix + v1Unk + "\r\n"
)

// parseV1 reads the line "PROXY TCP4 source dest sport dport CRLF" and its kin (proxy-protocol.txt 2.1).
func parseV1(b []byte) (h Header, n int, err error) {
	if !matches(b, v1Prefix) {
		return h, 0, ErrNone
	}
	line := b[:min(len(b), v1MaxLine)]
	end := bytes.IndexByte(line, '\n')
	if end >= 0 {
		line = line[:end+1]
	}
	if err := checkV1(line); err != nil {
		return h, 0, err
	}
	switch {
	case end >= 0 && line[end-1] != '\r':
		return h, 0, Malformed
	case end >= 0:
		return finishV1(line)
	case len(b) >= v1MaxLine:
		return h, 0, TooLong
	}
	return h, missingV1(line), ErrShort
}

// checkV1 judges a line that may not be whole: its family, and for TCP every byte.
func checkV1(line []byte) error {
	if len(line) <= len(v1Prefix) {
		return nil
	}
	rest := line[len(v1Prefix):]
	if matches(rest, v1Unk) {
		if len(rest) > len(v1Unk) && rest[len(v1Unk)] != ' ' && !crlfAt(rest, len(v1Unk)) {
			return Malformed
		}
		return nil
	}
	if !matches(rest, v1TCP4) && !matches(rest, v1TCP6) {
		return Malformed
	}
	for i := len(v1TCP4); i < len(rest); i++ {
		if !addressByte(rest[i]) && !crlfAt(rest, i) {
			return Malformed
		}
	}
	return nil
}

// addressByte reports whether c may stand in the addresses and ports of a TCP line. Zones ("%") may not.
func addressByte(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' || c == ':' || c == '.' || c == ' '
}

// crlfAt reports whether b[i] belongs to a CRLF at the end of b, the LF of which may still be missing.
func crlfAt(b []byte, i int) bool {
	switch b[i] {
	case '\r':
		return i == len(b)-1 || i == len(b)-2 && b[i+1] == '\n'
	case '\n':
		return i == len(b)-1 && b[i-1] == '\r'
	}
	return false
}

// missingV1 is how many bytes a line without its LF needs at least.
func missingV1(line []byte) int {
	n := 2
	if line[len(line)-1] == '\r' {
		n = 1
	}
	return max(n, len(v1Unknown)-len(line))
}

func finishV1(line []byte) (h Header, n int, err error) {
	body := line[len(v1Prefix) : len(line)-2]
	h.Version = 1
	if body[0] == v1Unk[0] {
		// proxy-protocol.txt 2.1: what stands between UNKNOWN and the CRLF is to be ignored.
		h.Local = true
		return h, len(line), nil
	}
	var f [4][]byte
	if !split(body[len(v1TCP4):], &f) {
		return Header{}, 0, Malformed
	}
	v6 := body[3] == '6'
	src, ok0 := parseAddr(f[0], v6)
	dst, ok1 := parseAddr(f[1], v6)
	sport, ok2 := parsePort(f[2])
	dport, ok3 := parsePort(f[3])
	if !ok0 || !ok1 || !ok2 || !ok3 {
		return Header{}, 0, Malformed
	}
	h.Source, h.Dest = netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport)
	return h, len(line), nil
}

// split cuts b at its single blanks; it must have exactly len(f) fields.
func split(b []byte, f *[4][]byte) bool {
	for i := range len(f) - 1 {
		cut := bytes.IndexByte(b, ' ')
		if cut < 0 {
			return false
		}
		f[i], b = b[:cut], b[cut+1:]
	}
	f[3] = b
	return true
}

// parseAddr reads an address literal. In a TCP6 line an IPv4 literal is taken and v4-mapped: chained nginx writes
// "PROXY TCP6 2001:db8::7 127.0.0.1 ..." when its own two sides differ in family.
func parseAddr(b []byte, v6 bool) (netip.Addr, bool) {
	if len(b) == 0 {
		return netip.Addr{}, false
	}
	// The string is only borrowed: the address keeps no text, and the error that would is dropped here. A copy would cost
	// an allocation for each IPv6 line.
	a, err := netip.ParseAddr(unsafe.String(&b[0], len(b)))
	if err != nil || !v6 && !a.Is4() {
		return netip.Addr{}, false
	}
	if v6 && a.Is4() {
		a = netip.AddrFrom16(a.As16())
	}
	return a, true
}

// parsePort reads 0 to 65535 in decimal, without sign or leading zeros.
func parsePort(b []byte) (uint16, bool) {
	if len(b) == 0 || len(b) > 5 || len(b) > 1 && b[0] == '0' {
		return 0, false
	}
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return uint16(n), n <= 65535
}
