package access

import "testing"

func TestCandidates(t *testing.T) {
	table := NewTable([]User{
		{Key: [16]byte{1}, Host: "a.example"},
		{Key: [16]byte{2}, Host: "B.example"},
		{Key: [16]byte{3}, Host: "a.example"},
	})
	if table.Len() != 3 {
		t.Fatalf("%d users, want 3", table.Len())
	}
	for host, want := range map[string][]byte{"a.example": {1, 3}, "b.example": {2}, "c.example": nil, "": nil} {
		got := table.Candidates([]byte(host))
		if len(got) != len(want) {
			t.Fatalf("%q: %d candidates, want %d", host, len(got), len(want))
		}
		for i, u := range got {
			if u.Key[0] != want[i] {
				t.Errorf("%q: candidate %d has key %d, want %d", host, i, u.Key[0], want[i])
			}
		}
	}
	host := []byte("a.example")
	if n := testing.AllocsPerRun(100, func() { table.Candidates(host) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
