package edge

import (
	"net"
	"net/netip"

	proxyproto "github.com/pires/go-proxyproto"
)

// AppendHeader appends to b the PROXY header that tells an upstream, most often the front, that src connected to dst. The version is 1 or 2;
// any other is a mistake of ours and panics. Addresses of two families, or v4-mapped ones beside IPv6, go out as IPv6; when one is not
// valid the header says UNKNOWN (v1) or LOCAL (v2). It allocates: once for each refused connection, never for a relayed one.
func AppendHeader(b []byte, version int, src, dst netip.AddrPort) []byte {
	if version != 1 && version != 2 {
		panic("edge: PROXY header version is neither 1 nor 2")
	}
	h := proxyproto.HeaderProxyFromAddrs(byte(version), net.TCPAddrFromAddrPort(src), net.TCPAddrFromAddrPort(dst))
	out, err := h.Format()
	if err != nil {
		// Format only fails on addresses that do not fit the family, which HeaderProxyFromAddrs has chosen from them.
		panic("edge: format PROXY header: " + err.Error())
	}
	return append(b, out...)
}
