package probe

import (
	"crypto/tls"
	"fmt"
	"strings"

	"sluice/faketls"
)

// Match is how well a flight of ours can resemble the front's. Clients take one encrypted record and no more, of at most
// [faketls.MaxFlightRecord] bytes (protocol.md 2.2), which not every front sends.
type Match uint8

const (
	// Exact: the front sends one such record too.
	Exact Match = iota
	// Sum: it does not send the same records, and ours has the length of all of its together.
	Sum
	// Over: they are more than clients take, and ours is as long as can be.
	Over
	// NotTLS13: the front does not choose TLS 1.3, and nothing of ours resembles its answer.
	NotTLS13
)

var matches = [...]string{Exact: "exact", Sum: "sum", Over: "over", NotTLS13: "not_tls13"}

// String returns the match as a metric's label has it.
func (m Match) String() string {
	if int(m) < len(matches) {
		return matches[m]
	}
	return "unknown"
}

// Shape returns the shape of ours that resembles f most, how well it does, and a sentence for the operator that says so. The shape is
// the zero one when there is none.
func (f Flight) Shape() (faketls.Shape, Match, string) {
	if f.Version != tls.VersionTLS13 || len(f.Records) == 0 {
		return faketls.Shape{}, NotTLS13, fmt.Sprintf(
			"the front answers with %s, and ours is always TLS 1.3: turn TLS 1.3 on there", tls.VersionName(f.Version))
	}
	sum := f.sum()
	s := faketls.Shape{
		Cipher: f.Cipher, Hybrid: f.Hybrid, KeyShareFirst: f.KeyShareFirst, ECDSA: f.ECDSA, Record: min(sum, faketls.MaxFlightRecord),
	}
	switch {
	case sum > faketls.MaxFlightRecord:
		return s, Over, f.sentence("more than clients take: ours is one of %d bytes (a shorter certificate chain would fit)", s.Record)
	case len(f.Records) > 1:
		return s, Sum, f.sentence("and clients take one: ours has the length of all together")
	case f.unusual():
		return s, Sum, f.sentence("and ours is one of the same length, but our ServerHello differs")
	}
	return s, Exact, f.sentence("and so do we")
}

// sum is the length of the encrypted records together.
func (f Flight) sum() (sum int) {
	for _, n := range f.Records {
		sum += n
	}
	return sum
}

// unusual says that the front's ServerHello has a form ours never has.
func (f Flight) unusual() bool {
	return f.Retry || f.Group != tls.X25519 && f.Group != tls.X25519MLKEM768
}

func (f Flight) sentence(rest string, args ...any) string {
	var b strings.Builder
	fmt.Fprintf(&b, "the front answers with %s and %v, and sends its encrypted flight as ", tls.CipherSuiteName(f.Cipher), f.Group)
	if len(f.Records) == 1 {
		fmt.Fprintf(&b, "one record of %d bytes", f.Records[0])
	} else {
		lengths := strings.Trim(strings.ReplaceAll(fmt.Sprint(f.Records), " ", "+"), "[]")
		fmt.Fprintf(&b, "%d records of %s = %d bytes", len(f.Records), lengths, f.sum())
	}
	if f.Retry {
		b.WriteString(" after it has asked for another key share")
	}
	b.WriteString(", ")
	fmt.Fprintf(&b, rest, args...)
	return b.String()
}
