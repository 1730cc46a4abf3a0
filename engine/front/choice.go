package front

import (
	"bytes"
	"strings"
)

// Choice is which of several fronts a server name leads to. It is immutable once made: any goroutine may ask it.
type Choice[F comparable] struct {
	rest  F
	whole map[string]F
	below map[string]F // by the end of the name, from its dot on
}

// NewChoice makes a choice that leads to rest, whatever the name.
func NewChoice[F comparable](rest F) *Choice[F] {
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

// Names are those of names, in lower case, that lead to f.
func (c *Choice[F]) Names(f F, names []string) (led []string) {
	for _, n := range names {
		if c.For([]byte(n)) == f {
			led = append(led, n)
		}
	}
	return led
}

// AskedBy is a name to look at f by, which was added as name, or is the rest if that is empty: the first of names that leads to it, or else the
// name itself, or one below it. It is empty when the rest is for none of names.
func (c *Choice[F]) AskedBy(f F, name string, names []string) string {
	if led := c.Names(f, names); len(led) > 0 {
		return led[0]
	}
	end, below := strings.CutPrefix(name, "*")
	if !below {
		return name
	}
	label := "www"
	for range c.whole { // some of which may be fronts of their own below the name
		if c.For([]byte(label+end)) == f {
			break
		}
		label += "w"
	}
	return label + end
}
