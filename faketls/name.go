package faketls

// EqualName says whether the server name a is b, which must be in lower case, when letters of ASCII are compared without their case.
func EqualName(a []byte, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i, c := range a {
		if lower(c) != b[i] {
			return false
		}
	}
	return true
}

// AppendLower appends a server name to dst with its ASCII letters in lower case. It allocates nothing when dst has the room.
func AppendLower(dst, name []byte) []byte {
	for _, c := range name {
		dst = append(dst, lower(c))
	}
	return dst
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
