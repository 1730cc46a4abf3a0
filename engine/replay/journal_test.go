package replay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

const journalWindow = 5 * time.Minute

var noon = time.Unix(1_800_000_000, 0)

func keyOf(n int) (k [16]byte) {
	binary.BigEndian.PutUint64(k[3:], uint64(n)+1)
	return k
}

// reopen is a start at now with room for limit keys.
func reopen(t testing.TB, dir string, limit int, now time.Time) (*Journal, *Table, int, error) {
	t.Helper()
	table := New(journalWindow, limit)
	j, kept, err := OpenJournal(dir, table, journalWindow, now, now.Add(-journalWindow))
	return j, table, kept, err
}

func note(j *Journal, at time.Time, from, to int) {
	for n := from; n < to; n++ {
		j.Note(keyOf(n), uint32(at.Unix()))
	}
}

// A key is known after an orderly end, after a kill, after several of them in a row, and as long as its hello has time.
func TestJournal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state") // which is made
	j, _, kept, err := reopen(t, dir, 1000, noon)
	if kept != 0 || err != nil {
		t.Fatal(kept, err)
	}
	note(j, noon, 0, 100)
	for start := range 3 {
		if err := j.Flush(noon); err != nil {
			t.Fatal(err)
		}
		now := noon.Add(time.Duration(start+1) * time.Minute)
		var table *Table
		if j, table, kept, err = reopen(t, dir, 1000, now); kept != 100+10*start || err != nil {
			t.Fatalf("start %d: %d kept, %v", start, kept, err)
		}
		for n := range kept {
			if r := table.Insert(keyOf(n), now); r != Replayed {
				t.Fatalf("start %d: key %d is %v", start, n, r)
			}
		}
		note(j, now, kept, kept+10)
	}
	if err := j.Flush(noon); err != nil {
		t.Fatal(err)
	}
	if _, _, kept, _ = reopen(t, dir, 1000, noon.Add(journalWindow)); kept != 130 {
		t.Errorf("at the end of the window %d are kept", kept)
	}
	if _, _, kept, _ = reopen(t, dir, 1000, noon.Add(journalWindow+time.Second)); kept != 30 {
		t.Errorf("behind it %d are kept, want those that came later", kept)
	}
	if st, err := os.Stat(filepath.Join(dir, older)); err != nil || st.Mode() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
}

// The files do not grow for ever, and what is less than a window old is in one of them.
func TestJournalTurns(t *testing.T) {
	dir := t.TempDir()
	j, _, _, _ := reopen(t, dir, 1000, noon)
	for minute := range 60 {
		now := noon.Add(time.Duration(minute) * time.Minute)
		note(j, now, 10*minute, 10*minute+10)
		if err := j.Flush(now); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{newer, older} {
			if st, err := os.Stat(filepath.Join(dir, name)); err == nil && st.Size() > int64(len(journalHead)+7*10*recordSize) {
				t.Fatalf("minute %d: %s has %d bytes", minute, name, st.Size())
			}
		}
	}
	if _, _, kept, err := reopen(t, dir, 1000, noon.Add(59*time.Minute)); kept != 60 || err != nil {
		t.Errorf("%d kept, %v; want those of the last five minutes and the one that is just that old", kept, err)
	}
}

// When somebody removes the file under way what comes then is kept nevertheless.
func TestJournalRemoved(t *testing.T) {
	dir := t.TempDir()
	j, _, _, _ := reopen(t, dir, 1000, noon)
	note(j, noon, 0, 10)
	if err := errors.Join(j.Flush(noon), os.Remove(filepath.Join(dir, newer))); err != nil {
		t.Fatal(err)
	}
	note(j, noon, 10, 15)
	if err := j.Flush(noon); err != nil {
		t.Error(err)
	}
	if _, _, kept, err := reopen(t, dir, 1000, noon); kept != 5 || err != nil {
		t.Errorf("%d kept, %v", kept, err)
	}
}

// Whatever the files hold, the start goes on, and half of the room is left.
func TestJournalDamaged(t *testing.T) {
	record := append(binary.LittleEndian.AppendUint32(nil, uint32(noon.Unix())), bytes.Repeat([]byte{7}, 16)...)
	many := []byte(journalHead)
	for n := range 1000 {
		k := keyOf(n)
		many = append(append(many, record[:4]...), k[:]...)
	}
	for name, tt := range map[string]struct {
		file []byte
		kept int
		want error
	}{
		"empty":            {nil, 0, nil},
		"the head alone":   {[]byte(journalHead), 0, nil},
		"half a head":      {[]byte(journalHead)[:5], 0, errForeign},
		"of another":       {[]byte("#!/bin/sh\n"), 0, errForeign},
		"half a record":    {append([]byte(journalHead), record[:19]...), 0, nil},
		"one and a half":   {append(append([]byte(journalHead), record...), record[:7]...), 1, nil},
		"the same twice":   {append(append([]byte(journalHead), record...), record...), 1, nil},
		"more than fits":   {many, 50, nil},
		"of the year 1970": {append([]byte(journalHead), make([]byte, recordSize)...), 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, newer), tt.file, 0o600); err != nil {
				t.Fatal(err)
			}
			j, table, kept, err := reopen(t, dir, 100, noon)
			if kept != tt.kept || !errors.Is(err, tt.want) {
				t.Errorf("%d kept, %v; want %d, %v", kept, err, tt.kept, tt.want)
			}
			if r := table.Insert(keyOf(1<<20), noon); r != Fresh {
				t.Errorf("a new key is %v", r)
			}
			note(j, noon, 1<<21, 1<<21+1)
			if err := j.Flush(noon); err != nil {
				t.Error(err)
			}
			if _, _, again, err := reopen(t, dir, 100, noon); again != min(kept+1, 50) || err != nil {
				t.Errorf("at the next start %d kept, %v", again, err)
			}
		})
	}
}

// While the disk takes nothing what is new waits, bounded, and is written when it can be.
func TestJournalWithoutADisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // no directory
		t.Fatal(err)
	}
	j, table, _, err := reopen(t, dir, 1<<20, noon)
	if err == nil {
		t.Error("a journal without a directory, and nobody is told")
	}
	if table.Insert(keyOf(0), noon) != Fresh {
		t.Error("the table does not work")
	}
	note(j, noon, 0, mostWaiting)
	if j.Flush(noon) == nil || j.Lost() != 0 {
		t.Errorf("at the limit %d were lost", j.Lost())
	}
	note(j, noon, mostWaiting, mostWaiting+3)
	if j.Flush(noon) == nil || j.Lost() != 3 {
		t.Errorf("beyond the limit %d were lost, want 3", j.Lost())
	}
	if err := errors.Join(os.Remove(dir), os.Mkdir(dir, 0o700), j.Flush(noon)); err != nil {
		t.Fatal(err)
	}
	if _, _, kept, err := reopen(t, dir, 1<<20, noon); kept != mostWaiting || err != nil {
		t.Errorf("%d kept, %v", kept, err)
	}
}

// FuzzJournal: whatever two files hold, a start makes a journal of it that the next start reads the same.
func FuzzJournal(f *testing.F) {
	record := append(binary.LittleEndian.AppendUint32([]byte(journalHead), uint32(noon.Unix())), make([]byte, 16)...)
	f.Add(record, []byte(nil))
	f.Add(record[:30], append(record, record[len(journalHead):]...))
	f.Add([]byte("sluice"), []byte(journalHead))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		dir := t.TempDir()
		for name, content := range map[string][]byte{older: a, newer: b} {
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, _, kept, err := reopen(t, dir, 1000, noon)
		if most := (len(a) + len(b)) / recordSize; kept > most || err != nil && !errors.Is(err, errForeign) {
			t.Fatalf("%d kept of at most %d, %v", kept, most, err)
		}
		if _, _, again, err := reopen(t, dir, 1000, noon); again != kept || err != nil {
			t.Fatalf("%d kept, and then %d, %v", kept, again, err)
		}
	})
}

// BenchmarkJournal is what a hello's note costs, and a start with as many as half a table holds.
func BenchmarkJournal(b *testing.B) {
	b.Run("note", func(b *testing.B) {
		j := &Journal{}
		for n := range b.N {
			j.Note(keyOf(n), 0)
			if n%mostWaiting == mostWaiting-1 {
				j.waiting.records = nil
			}
		}
	})
	b.Run("start with a million", func(b *testing.B) {
		dir := b.TempDir()
		file := []byte(journalHead)
		for n := range 1 << 20 {
			k := keyOf(n)
			file = append(binary.LittleEndian.AppendUint32(file, uint32(noon.Unix())), k[:]...)
		}
		if err := os.WriteFile(filepath.Join(dir, newer), file, 0o600); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, _, kept, err := reopen(b, dir, 1<<21, noon); kept != 1<<20 || err != nil {
				b.Fatal(kept, err)
			}
		}
	})
}
