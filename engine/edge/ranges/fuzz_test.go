package ranges

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// FuzzParse: a list that is taken holds nothing that a list may not hold, its set has the addresses of each of its prefixes and no others,
// and what is written of it reads back as the same set.
func FuzzParse(f *testing.F) {
	f.Add([]byte("173.245.48.0/20\n# x\n2400:cb00::/32"), uint64(1))
	f.Add([]byte("192.0.2.1\r\n::ffff:192.0.2.0/120\n2001:db8::1/128 # one"), uint64(0))
	f.Add([]byte(`{"prefixes":[{"ip_prefix":"192.0.2.0/24","region":"eu-west-1","service":"GLOBALACCELERATOR"}]}`), uint64(2))
	for i := range known {
		if b, err := snapshots.ReadFile("snapshot/" + known[i].snapshot); err == nil && len(b) < 20_000 {
			f.Add(b, uint64(i))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, near uint64) {
		for _, read := range []parser{ParseList, ParseAWS, readAny} {
			prefixes, err := read(b)
			if (err == nil) != (len(prefixes) > 0) {
				t.Fatalf("%d ranges and %v", len(prefixes), err)
			}
			if len(prefixes) == 0 {
				continue
			}
			s := NewSet(prefixes)
			checkSet(t, s, prefixes, near)
			var text strings.Builder
			k := &Keeper{now: time.Now, lists: []list{{prefixes: prefixes}}}
			k.publish()
			if err := k.Write(&text, Plain, nil); err != nil {
				t.Fatal(err)
			}
			again, err := ParseList([]byte(text.String()))
			if err != nil || !slices.Equal(NewSet(again).all(), s.all()) {
				t.Fatalf("%v is written as\n%s\nwhich reads as %v, %v", s.all(), &text, again, err)
			}
		}
	})
}

// checkSet compares a set with its prefixes one by one, at their borders and at some address near them.
func checkSet(t *testing.T, s *Set, list []netip.Prefix, near uint64) {
	for i, p := range list {
		p = plain(p)
		if least := map[bool]int{true: leastBits4, false: leastBits6}[p.Addr().Is4()]; p.Bits() < least {
			t.Fatalf("%v let in", p)
		}
		if i > 50 {
			continue
		}
		raw := p.Addr().AsSlice()
		raw[near%uint64(len(raw))] ^= byte(near >> 8)
		other, _ := netip.AddrFromSlice(raw)
		for _, a := range []netip.Addr{p.Addr(), p.Addr().Prev(), p.Addr().Next(), other} {
			want := a.IsValid() && slices.ContainsFunc(list, func(p netip.Prefix) bool { return plain(p).Contains(a.Unmap()) })
			if a.IsValid() && s.Contains(a) != want {
				t.Fatalf("%v: %v, want %v", a, s.Contains(a), want)
			}
		}
	}
}

// FuzzSources: what an operator may say of ranges is shown as something that says the same, and no source is named by more than what
// may stand in a file's name.
func FuzzSources(f *testing.F) {
	for _, text := range []string{
		"cloudflare", "192.0.2.1,2001:db8::/32", "https://example.org/list?token=x /etc/ranges", "aws-global-accelerator,gcp-load-balancer,10.0.0.0/8",
		"http://127.0.0.1:8080/", "https://[::1]/a/", "/", "::ffff:10.0.0.1", "0.0.0.0/0", "https://example.org/%2e%2e",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all, err := ParseSources(text)
		if (err == nil) != (len(all) > 0) {
			t.Fatalf("%v, %v", all, err)
		}
		if err != nil {
			return
		}
		for i := range all {
			if name := all[i].Name; filepath.Base(name) != name || unsafe.MatchString(name) || len(name) > 40 {
				t.Fatalf("%q is named %q", text, name)
			}
		}
		if strings.Contains(text, "?") {
			return // the text has not all of it, and two lists may differ in the rest alone
		}
		again, err := ParseSources(Text(all))
		if err != nil || Text(again) != Text(all) {
			t.Fatalf("%q is shown as %q, which reads as %q, %v", text, Text(all), Text(again), err)
		}
	})
}

// FuzzState: whatever the state directory holds, it gives a list that may be in force, not of the future, or a fault.
func FuzzState(f *testing.F) {
	good, _ := json.Marshal(kept{"cloudflare", time.Unix(1e9, 0).UTC(), mustParse("192.0.2.0/24", "2001:db8::/32")})
	f.Add(good)
	f.Add(bytes.Replace(good, []byte("2001"), []byte("9001"), 1))
	f.Add([]byte(`{"prefixes":["0.0.0.0/0"]}`))
	f.Add([]byte(`{"prefixes":[null,""]}`))
	dir := f.TempDir()
	now := time.Unix(1_790_000_000, 0)
	k := &Keeper{dir: dir, now: func() time.Time { return now }}
	source := known[0]
	if err := os.MkdirAll(filepath.Dir(k.file(&source)), 0o700); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(k.file(&source), b, 0o600); err != nil {
			t.Fatal(err)
		}
		list, taken, err := k.load(&source)
		if err != nil {
			return
		}
		if _, err := checked(list); err != nil || taken.After(now) {
			t.Fatalf("%v as of %v: %v", list, taken, err)
		}
		checkSet(t, NewSet(list), list, uint64(len(b)))
	})
}
