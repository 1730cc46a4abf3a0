package edge

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"
)

const (
	v2Signature = "\r\n\r\n\x00\r\nQUIT\n"
	v2Local     = 0x20
	v2Proxy     = 0x21
)

// Families of v2's byte 13 (proxy-protocol.txt 2.2): address family above, transport below.
const (
	famUnspec  = 0x00
	famTCP4    = 0x11
	famUDP4    = 0x12
	famTCP6    = 0x21
	famUDP6    = 0x22
	famUnix    = 0x31
	famUnixgrm = 0x32

	addrLen4 = 4 + 4 + 2 + 2
	addrLen6 = 16 + 16 + 2 + 2
)

// TLV types we know (proxy-protocol.txt 2.2, AWS's NLB documentation for 0xEA).
const (
	tlvCRC32C   = 0x03
	tlvUniqueID = 0x05
	tlvAWS      = 0xEA
	awsVPCE     = 0x01
	// tlvMarks is ours, of the range for applications' own use (0xE0 to 0xEF), by a number that no product is known to use.
	tlvMarks = 0xE7
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	// zeroSum stands in for the checksum's own bytes. A local array would escape into crc32 and cost an allocation.
	zeroSum [4]byte
)

// parseV2 reads the binary header: signature, version and command, family, length16, then length bytes.
func parseV2(b []byte) (h Header, n int, err error) {
	if !matches(b, v2Signature) {
		return h, 0, ErrNone
	}
	body, err := checkV2(b)
	if err != nil {
		return h, 0, err
	}
	if end := v2Fixed + body; len(b) < end {
		return h, end - len(b), ErrShort
	}
	h, err = finishV2(b[:v2Fixed+body])
	if err != nil {
		return Header{}, 0, err
	}
	return h, v2Fixed + body, nil
}

// checkV2 judges the fixed part, as far as it is there, and returns the body's length (0 while it is unknown).
func checkV2(b []byte) (body int, err error) {
	local := false
	if len(b) > 12 {
		if b[12] != v2Local && b[12] != v2Proxy {
			return 0, Malformed
		}
		local = b[12] == v2Local
	}
	need := 0
	if len(b) > 13 {
		var ok bool
		if need, ok = addressLen(b[13], local); !ok {
			return 0, BadFamily
		}
	}
	if len(b) < v2Fixed {
		return 0, nil
	}
	body = int(binary.BigEndian.Uint16(b[14:]))
	switch {
	case body > v2MaxBody:
		return 0, TooLong
	case body < need:
		return 0, Malformed
	}
	return body, nil
}

// addressLen is the length of a family's address block, and whether we serve that family. A LOCAL header's family means
// nothing (AWS's health check says TCP4 and sends no addresses), but it must be one that is defined.
func addressLen(family byte, local bool) (n int, ok bool) {
	switch family {
	case famUnspec:
		return 0, true
	case famTCP4:
		n = addrLen4
	case famTCP6:
		n = addrLen6
	case famUDP4, famUDP6, famUnix, famUnixgrm:
		return 0, local
	default:
		return 0, false
	}
	if local {
		n = 0
	}
	return n, true
}

// finishV2 reads a header that is whole and that passed checkV2.
func finishV2(b []byte) (h Header, err error) {
	h.Version = 2
	body := b[v2Fixed:]
	if b[12] == v2Local || b[13] == famUnspec {
		// Neither addresses nor TLVs can be found in such a body: where the one ends and the other starts is not defined.
		h.Local = true
		return h, nil
	}
	var tlvs int
	if b[13] == famTCP4 {
		h.Source = addrPort(netip.AddrFrom4([4]byte(body[0:4])), body[8:])
		h.Dest = addrPort(netip.AddrFrom4([4]byte(body[4:8])), body[10:])
		tlvs = v2Fixed + addrLen4
	} else {
		h.Source = addrPort(netip.AddrFrom16([16]byte(body[0:16])), body[32:])
		h.Dest = addrPort(netip.AddrFrom16([16]byte(body[16:32])), body[34:])
		tlvs = v2Fixed + addrLen6
	}
	return h, h.readTLVs(b, tlvs)
}

func addrPort(a netip.Addr, port []byte) netip.AddrPort {
	return netip.AddrPortFrom(a, binary.BigEndian.Uint16(port))
}

// readTLVs walks the header b from i on: type8, length16, value.
func (h *Header) readTLVs(b []byte, i int) error {
	crc := -1
	for i < len(b) {
		if len(b)-i < 3 {
			return Malformed
		}
		kind, size := b[i], int(binary.BigEndian.Uint16(b[i+1:]))
		i += 3
		if len(b)-i < size {
			return Malformed
		}
		v := b[i : i+size : i+size]
		switch kind {
		case tlvCRC32C:
			if size != 4 || crc >= 0 {
				return Malformed
			}
			crc = i
		case tlvUniqueID:
			h.UniqueID = v
		case tlvMarks:
			h.Marks = v
		case tlvAWS:
			if size > 1 && v[0] == awsVPCE {
				h.VPCE = v[1:]
			}
		}
		i += size
	}
	if crc >= 0 && binary.BigEndian.Uint32(b[crc:]) != checksum(b, crc) {
		return BadCRC
	}
	return nil
}

// checksum is the CRC32C of the header b with the four bytes at i, where it is kept, taken as zeros.
func checksum(b []byte, i int) uint32 {
	sum := crc32.Update(0, castagnoli, b[:i])
	sum = crc32.Update(sum, castagnoli, zeroSum[:])
	return crc32.Update(sum, castagnoli, b[i+4:])
}
