package faketls

// PutHeader writes the header of an application record of n bytes of payload, at most [MaxRecord], to the first [HeaderLen] bytes of dst.
func PutHeader(dst []byte, n int) {
	_ = dst[HeaderLen-1]
	dst[0], dst[1], dst[2] = typeApplication, 3, 3
	dst[3], dst[4] = byte(n>>8), byte(n)
}

// Deframer takes the record headers off what a client sends after the flight (protocol.md 2.3). It holds no bytes, only its place, so that
// its input may be cut anywhere. The zero value is ready; a copy goes on from the same place. One goroutine at a time.
//
//	       ┌─────────────── left = 0 ────────────────┐
//	       ▼                                         │
//	header, have = 0..4 ── 17 03 03 len ──▶ payload, kept
//	       ▲            ── 14 03 03 len ──▶ payload, passed over
//	       └─ len = 0   ── anything else ─▶ fault, for good
type Deframer struct {
	left  uint16 // of the payload, and while the header comes its length's upper byte
	have  uint8  // bytes of the header; 0 within a payload
	skip  bool   // the record is a change of cipher spec
	fault Reject
}

// Deframe takes the record headers out of b in place: b[:n] is then the payload, in order, which may be cut anywhere, may be empty, and
// is to be read as one stream. Any length that a header can announce is taken. Changes of cipher spec are passed over; a record of another
// type is [UnexpectedRecord], of another version [BadVersion]. With an error b[:n] is the payload before the offence; the error stays.
func (d *Deframer) Deframe(b []byte) (n int, err error) {
	for at := 0; at < len(b) && d.fault == 0; {
		if d.left == 0 || d.have > 0 {
			d.header(b[at])
			at++
			continue
		}
		size := min(int(d.left), len(b)-at)
		if !d.skip {
			n += copy(b[n:], b[at:at+size])
		}
		at += size
		d.left -= uint16(size)
	}
	if d.fault != 0 {
		return n, d.fault
	}
	return n, nil
}

// header takes the next byte of a header. A record of four bytes costs as many steps as its payload: there is nothing to gain from more.
func (d *Deframer) header(c byte) {
	switch d.have {
	case 0:
		d.skip = c == typeCCS
		if !d.skip && c != typeApplication {
			d.fault = UnexpectedRecord
		}
	case 1, 2:
		if c != 3 {
			d.fault = BadVersion
		}
	case 3:
		d.left = uint16(c) << 8
	case 4:
		d.left |= uint16(c)
		d.have = 0
		return
	}
	d.have++
}
