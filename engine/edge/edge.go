// Package edge reads and writes the PROXY protocol header that a load balancer puts in front of a client's first bytes.
//
// [ParseHeader] is incremental: fed any prefix of any input it says how many bytes are still missing, that there is no header, or why the
// one there is cannot be used. It does no I/O and allocates nothing for a header it accepts. What real senders put on the wire is
// listed in protocol.md 6; the format is haproxy.org's proxy-protocol.txt.
package edge

import (
	"errors"
	"net/netip"
)

const (
	// MaxHeader is the longest header, in bytes, that [ParseHeader] accepts: a fixed v2 part and its longest body.
	MaxHeader = v2Fixed + v2MaxBody

	// v1MaxLine counts the CRLF (proxy-protocol.txt 2.1: the longest UNKNOWN line).
	v1MaxLine = 107
	v2Fixed   = 16
	// v2MaxBody is our own bound on v2's 16-bit length. The longest TLV in the field is a client certificate of 2 KiB.
	v2MaxBody = 4096
)

// ErrShort says that the bytes seen so far may be the start of a header, and that more are needed to tell.
var ErrShort = errors.New("edge: header incomplete")

// ErrNone says that the bytes are certainly not a PROXY header, whatever follows them.
var ErrNone = errors.New("edge: no PROXY header")

// Reject is why a PROXY header, recognised as one, cannot be used. It is an error that costs no allocation.
type Reject uint8

const (
	// Malformed: it breaks the grammar of its version, or its parts do not fit its length.
	Malformed Reject = iota + 1
	// TooLong: a v1 line without its end in the first 107 bytes, or a v2 length above 4096.
	TooLong
	// BadCRC: the CRC32C it carries is not that of its bytes.
	BadCRC
	// BadFamily: it speaks of UDP, of UNIX sockets, or of a family that is not defined.
	BadFamily
)

var rejects = [...]string{
	Malformed: "edge: PROXY header malformed",
	TooLong:   "edge: PROXY header too long",
	BadCRC:    "edge: PROXY header checksum wrong",
	BadFamily: "edge: PROXY header of an address family that is not TCP",
}

// Error implements error.
func (r Reject) Error() string {
	if int(r) < len(rejects) && rejects[r] != "" {
		return rejects[r]
	}
	return "edge: PROXY header rejected"
}

// Header is what the load balancer says about a connection.
type Header struct {
	// Version is 1 or 2.
	Version uint8
	// Local says that the header names no client, so that the peer's address is the client's too: v2 LOCAL (most often a health
	// check), v1 UNKNOWN and v2 UNSPEC (a client without an IP address; real data follows).
	Local bool
	// Source is the client and Dest the address it connected to. Both are invalid when Local is set. In a header of the IPv6
	// family an IPv4 address is v4-mapped, as it was sent; use netip.Addr.Unmap to compare it.
	Source, Dest netip.AddrPort
	// UniqueID is the connection's name at the load balancer (TLV 0x05), nil without one. It aliases the parsed bytes.
	UniqueID []byte
	// VPCE is the AWS VPC endpoint's id (TLV 0xEA, subtype 1), nil without one. It aliases the parsed bytes.
	VPCE []byte
	// Marks are those of the proxies of ours that the connection has passed, MarkerLen bytes each, nil without one. They alias the parsed bytes.
	Marks []byte
}

// ParseHeader reads the PROXY header, v1 or v2, at the start of b. It is safe for any goroutine and never keeps b.
//
// With a nil error, n is the length of the header: the client's own bytes begin at b[n:]. With [ErrShort], n is how many bytes more
// the shortest header that starts like b needs, at least 1. With [ErrNone], decided at the first byte that differs, b belongs to the client
// from its first byte. A [Reject] comes as early as the bytes allow. In the last two cases n is 0. The header's slices alias b.
//
// Peculiarities of real senders that are accepted (protocol.md 6): LOCAL with a family but without its address block, the
// body of which is skipped unread; UNKNOWN and UNSPEC, whatever follows; IPv4 literals in a TCP6 line, as chained nginx writes them.
func ParseHeader(b []byte) (h Header, n int, err error) {
	if len(b) == 0 {
		return h, len(v1Unknown), ErrShort
	}
	switch b[0] {
	case v1Prefix[0]:
		return parseV1(b)
	case v2Signature[0]:
		return parseV2(b)
	}
	return h, 0, ErrNone
}

// matches reports whether b and want agree in their common length.
func matches(b []byte, want string) bool {
	n := min(len(b), len(want))
	return string(b[:n]) == want[:n]
}
