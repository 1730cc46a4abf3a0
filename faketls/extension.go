package faketls

import "encoding/binary"

// Extensions that we read or write, and the groups of their key shares.
const (
	extServerName        = 0x0000
	extSupportedVersions = 0x002b
	extKeyShare          = 0x0033

	groupX25519 = 0x001d
	groupHybrid = 0x11ec // X25519MLKEM768

	x25519Len      = 32
	mlkemKeyLen    = 1184
	mlkemCipherLen = 1088

	hostName = 0 // the one type of name there is (RFC 6066, 3)
)

// scanner reads a message of which only a part may be there: have[:len(have)] of have[:end]. Its first fault stays.
type scanner struct {
	have      []byte
	at, end   int
	malformed bool // a field reaches beyond the message's end
	short     bool // a field reaches beyond what we have
}

func scan(b []byte) scanner { return scanner{have: b, end: len(b)} }

func (s *scanner) ok() bool   { return !s.malformed && !s.short }
func (s *scanner) more() bool { return s.ok() && s.at < s.end }

func (s *scanner) take(n int) []byte {
	switch {
	case !s.ok():
		return nil
	case s.at+n > s.end:
		s.malformed = true
		return nil
	case s.at+n > len(s.have):
		s.short = true
		return nil
	}
	s.at += n
	return s.have[s.at-n : s.at : s.at]
}

func (s *scanner) uint8() int {
	if b := s.take(1); b != nil {
		return int(b[0])
	}
	return 0
}

func (s *scanner) uint16() int {
	if b := s.take(2); b != nil {
		return int(binary.BigEndian.Uint16(b))
	}
	return 0
}

// list is the scanner of a list that fills the rest of s and is not empty, prefixed by its length in one or two bytes.
func (s *scanner) list(prefix int) scanner {
	n := 0
	for range prefix {
		n = n<<8 | s.uint8()
	}
	if s.ok() && (n == 0 || s.at+n != s.end) {
		s.malformed = true
	}
	return scan(s.take(n))
}

// parseExtensions reads the extensions that matter to us: all that are whole, when not all are there.
func (h *Hello) parseExtensions(s *scanner) Reject {
	var seen uint8
	for s.more() {
		kind, data := s.uint16(), scan(s.take(s.uint16()))
		if !s.ok() {
			break
		}
		var bit uint8
		var r Reject
		switch kind {
		case extServerName:
			bit, r = seenName, h.parseName(&data)
		case extSupportedVersions:
			bit, r = seenVersions, h.parseVersions(&data)
		case extKeyShare:
			bit, r = seenShares, h.parseShares(&data)
		}
		if r != 0 {
			return r
		}
		if seen&bit != 0 {
			return Malformed // RFC 8446, 4.2: no more than one of a kind
		}
		seen |= bit
	}
	switch {
	case s.malformed:
		return Malformed
	case s.ok() && seen&seenVersions == 0:
		return NoTLS13
	}
	return 0
}

// The extensions that a hello may have only once, as far as we read them.
const (
	seenName = 1 << iota
	seenVersions
	seenShares
)

// parseName reads server_name (RFC 6066, 3).
func (h *Hello) parseName(data *scanner) Reject {
	names := data.list(2)
	for names.more() {
		kind, name := names.uint8(), names.take(names.uint16())
		if !names.ok() || len(name) == 0 || kind == hostName && h.Name != nil {
			return Malformed
		}
		if kind == hostName {
			h.Name = name
		}
	}
	if !data.ok() {
		return Malformed
	}
	return 0
}

// parseVersions reads supported_versions (RFC 8446, 4.2.1).
func (h *Hello) parseVersions(data *scanner) Reject {
	versions := data.list(1)
	found := false
	for versions.more() {
		found = versions.uint16() == version13 || found
	}
	switch {
	case !data.ok() || !versions.ok():
		return Malformed
	case !found:
		return NoTLS13
	}
	return 0
}

// parseShares reads key_share (RFC 8446, 4.2.8). An empty list is legal and asks for a HelloRetryRequest. A share of the wrong length
// counts as none.
func (h *Hello) parseShares(data *scanner) Reject {
	if len(data.have) == 2 && data.have[0]|data.have[1] == 0 {
		return NoKeyShare
	}
	shares := data.list(2)
	for shares.more() {
		group, share := shares.uint16(), shares.take(shares.uint16())
		switch {
		case !shares.ok():
		case group == groupX25519 && len(share) == x25519Len:
			h.X25519 = true
		case group == groupHybrid && len(share) == mlkemKeyLen+x25519Len:
			h.Hybrid, h.hybrid = true, share
		}
	}
	if !data.ok() || !shares.ok() {
		return Malformed
	}
	return 0
}

// suite returns want when the hello offers it and it is of TLS 1.3, else the first suite of TLS 1.3 it offers, else 0. GREASE values,
// 0x?a?a, are not among those.
func (h *Hello) suite(want uint16) (first uint16) {
	for s := h.CipherSuites; len(s) >= 2; s = s[2:] {
		suite := binary.BigEndian.Uint16(s)
		switch {
		case suite < firstSuite || suite > lastSuite:
		case suite == want:
			return want
		case first == 0:
			first = suite
		}
	}
	return first
}

// The suites of TLS 1.3 that are in use (RFC 8446, B.4).
const (
	firstSuite = 0x1301 // TLS_AES_128_GCM_SHA256
	lastSuite  = 0x1303 // TLS_CHACHA20_POLY1305_SHA256
)
