package front

import (
	"bytes"
	"strings"
)

// Choice is which of several fronts a server name leads to. It is immutable once made: any goroutine may ask it.
type Choice[F any] struct {
	rest  F
	whole map[string]F
	below map[string]F // by the end of the name, from its dot on
}

// NewChoice makes a choice that leads to rest, whatever the name.
func NewChoice[F any](rest F) *Choice[F] {
	return &Choice[F]{rest: rest, whole: map[string]F{}, below: map[string]F{}}
}

// Add has a name, or with "*." before it every name that ends like it, lead to f. It must not be called once anybody asks.
func (c *Choice[F]) Add(name string, f F) {
	if end, ok := strings.CutPrefix(name, "*"); ok {
		c.below[end] = f
		return
	}
	c.whole[name] = f
}

// Alone says whether every name leads to the same front.
func (c *Choice[F]) Alone() bool { return len(c.whole)+len(c.below) == 0 }

// For is the front of a name in lower case, which may be empty. A whole name goes before an end, a longer end before a shorter one. It does not
// allocate.
func (c *Choice[F]) For(name []byte) F {
	if f, ok := c.whole[string(name)]; ok {
		return f
	}
	for end := name; len(c.below) > 0; {
		dot := bytes.IndexByte(end[min(1, len(end)):], '.')
		if dot < 0 {
			break
		}
		end = end[1+dot:]
		if f, ok := c.below[string(end)]; ok {
			return f
		}
	}
	return c.rest
}
