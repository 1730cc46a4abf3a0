// Package faketls is the server's side of FakeTLS: it reads a ClientHello, checks the digest a client has hidden in its random, writes the
// flight that answers it, and takes off and puts on the record headers of what follows. The wire is described in protocol.md 2.
//
// Everything here is pure: no I/O, no clock, no log. Parsers take any prefix of any input, reject as early as the bytes allow, never panic,
// and return values that alias their input. Accepting a hello ([ParseHello], [MAC.Verify]) allocates nothing.
package faketls

import "errors"

const (
	// MaxHello is the longest ClientHello, in bytes with all of its record headers, that [ParseHello] accepts. Today's clients
	// send 517 to 1,821 (protocol.md 2.1).
	MaxHello = 16 << 10
	// MaxRecord is the most payload we write in one record: what OpenSSL, BoringSSL and Go emit for a full unpadded record,
	// 16,384 bytes, a content type and a tag (protocol.md 2.4).
	MaxRecord = 16<<10 + 1 + 16
	// MaxFlightRecord is the most that iOS takes in a record of the server's flight (protocol.md 2.2).
	MaxFlightRecord = 10 << 10
	// HeaderLen is the length of a record header.
	HeaderLen = 5
)

// Types of a record, the first byte of its header (RFC 8446, 5.1).
const (
	typeCCS         = 0x14
	typeHandshake   = 0x16
	typeApplication = 0x17
)

// ErrShort says that the bytes so far may be the start of a ClientHello, and that more are needed to tell. It is returned as it is, never
// wrapped.
var ErrShort = errors.New("faketls: hello incomplete")

// Reject is why bytes cannot be what they should be: a ClientHello of one of our clients, or a client's records after it. It is an
// error that costs no allocation.
type Reject uint8

const (
	// NotHandshake: the first bytes are not those of a TLS handshake record.
	NotHandshake Reject = iota + 1
	// BadRecord: a handshake record that is empty or above 16,384 bytes, or one of another kind in the middle of a hello.
	BadRecord
	// NotClientHello: the handshake message is another one.
	NotClientHello
	// TooLong: the hello is above [MaxHello].
	TooLong
	// Malformed: it breaks the grammar of a ClientHello (RFC 8446, 4.1.2).
	Malformed
	// NoSessionID: its session id is not 32 bytes long, which that of every client of ours is.
	NoSessionID
	// NoTLS13: it offers no TLS 1.3, or none of its cipher suites.
	NoTLS13
	// NoKeyShare: it has neither an x25519 nor an X25519MLKEM768 key share.
	NoKeyShare
	// NoName: it names no server.
	NoName
	// UnexpectedRecord: after the hello, a record that is neither application data nor a change of cipher spec.
	UnexpectedRecord
	// BadVersion: after the hello, a record of a version that is not 03 03.
	BadVersion
)

var rejects = [...]string{
	NotHandshake:     "faketls: not a TLS handshake",
	BadRecord:        "faketls: bad handshake record",
	NotClientHello:   "faketls: not a ClientHello",
	TooLong:          "faketls: hello too long",
	Malformed:        "faketls: hello malformed",
	NoSessionID:      "faketls: hello without a session id of 32 bytes",
	NoTLS13:          "faketls: hello does not offer TLS 1.3",
	NoKeyShare:       "faketls: hello without a key share we can answer",
	NoName:           "faketls: hello names no server",
	UnexpectedRecord: "faketls: unexpected record type",
	BadVersion:       "faketls: record of another version",
}

// Error implements error.
func (r Reject) Error() string {
	if int(r) < len(rejects) && rejects[r] != "" {
		return rejects[r]
	}
	return "faketls: rejected"
}
