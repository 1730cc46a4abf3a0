package splice

import (
	"crypto/cipher"

	"sluice/obfs"
)

// crypt is one direction's two streams: what comes in is decrypted by the one and encrypted by the other. A relay that has
// been quiet keeps keys and offset only (two live streams cost 1 KiB) and builds them anew, 0.7 µs each, when it goes on.
type crypt struct {
	inKeys, outKeys obfs.Keys
	in, out         cipher.Stream
	offset          uint64
	used            int64
	skip            uint8 // payload bytes that are still to be passed over: the client's frame
}

// ciphers makes the streams that q's mode needs.
func (q *Relay) ciphers() (upload, download *crypt) {
	if q.Mode == Raw {
		return nil, nil
	}
	upload = &crypt{inKeys: q.FromClient, outKeys: q.ToDC, offset: uint64(q.Skip), skip: q.Skip}
	if q.Mode == Recrypt {
		download = &crypt{inKeys: q.FromDC, outKeys: q.ToClient}
	}
	return upload, download
}

// apply passes b through both streams, in place.
func (c *crypt) apply(b []byte, now int64) {
	if len(b) == 0 {
		return
	}
	if c.in == nil {
		c.in, c.out = c.inKeys.Stream(c.offset), c.outKeys.Stream(c.offset)
	}
	c.in.XORKeyStream(b, b)
	c.out.XORKeyStream(b, b)
	c.offset += uint64(len(b))
	c.used = now
}

// live says whether the streams exist.
func (c *crypt) live() bool { return c != nil && c.in != nil }

// restIfQuiet drops the streams of a relay that has been quiet.
func (c *crypt) restIfQuiet(now int64) {
	if c.live() && now-c.used >= int64(quietAfter) {
		c.in, c.out = nil, nil
	}
}
