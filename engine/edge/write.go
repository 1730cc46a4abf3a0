package edge

import (
	"errors"
	"net"
	"net/netip"

	proxyproto "github.com/pires/go-proxyproto"
)

// MarkerLen is the length of a proxy's mark, by which it knows its own connections when they come back.
const MarkerLen = 8

// AppendHeader appends to b the PROXY header that tells an upstream, most often the front, that src connected to dst. The version is 1 or 2;
// any other is a mistake of ours and panics. Addresses of two families, or v4-mapped ones beside IPv6, go out as IPv6; when one is not
// valid the header says UNKNOWN (v1) or LOCAL (v2). A header of version 2 with addresses carries the marks, if there are any. [MaxHeader] has
// room for hundreds; the caller sees to it that there are no more. It allocates: once for each refused connection, never for a relayed one.
func AppendHeader(b []byte, version int, src, dst netip.AddrPort, marks []byte) []byte {
	if version != 1 && version != 2 {
		panic("edge: PROXY header version is neither 1 nor 2")
	}
	h := proxyproto.HeaderProxyFromAddrs(byte(version), net.TCPAddrFromAddrPort(src), net.TCPAddrFromAddrPort(dst))
	var err error
	if version == 2 && len(marks) > 0 {
		err = h.SetTLVs([]proxyproto.TLV{{Type: tlvMarks, Value: marks}})
	}
	out, formatErr := h.Format()
	if err = errors.Join(err, formatErr); err != nil {
		// Format only fails on addresses that do not fit the family, which HeaderProxyFromAddrs has chosen from them, and on TLVs above 64 KiB.
		panic("edge: format PROXY header: " + err.Error())
	}
	return append(b, out...)
}
