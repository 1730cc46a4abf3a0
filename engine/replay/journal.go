package replay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sluice/engine/state"
)

// The journal is two files: the newer grows for a window, then it becomes the older, in the place of which it comes. Together they hold every
// key that may still matter. Each begins with a line that names the format; then come records, each of a hello's time and its key.
const (
	journalHead = "sluice hellos 1\n"
	recordSize  = 4 + 16 // little-endian seconds of the epoch, and the key
	newer       = "hellos"
	older       = "hellos.old"
	mostWaiting = 1 << 16 // records that wait for the disk; beyond them the oldest are forgotten
)

var errForeign = errors.New("is not a file of ours")

// Journal keeps on disk what a [Table] holds, so that a hello is known after a restart. What it holds was seen on the wire by whoever
// looked: it is no secret, but says when clients came. Its methods may be called by any goroutine; a nil Journal keeps nothing.
type Journal struct {
	dir    string
	window time.Duration

	waiting struct {
		sync.Mutex
		records []byte
		lost    uint64 // forgotten, for the disk took none
	}

	disk struct {
		sync.Mutex
		end  int64     // of the newer file, where the next record comes; behind it there may be half of one. 0 before there is a file
		turn time.Time // when it becomes the older
	}
}

// OpenJournal puts what the journal in dir holds into t, as far as it comes from hellos not older than oldest, and begins a new one; kept is how
// many keys that were. The window is the table's. The journal works whatever the error, which is about files that cannot be read, and are replaced, or about a
// directory that takes none: Flush tries that again.
func OpenJournal(dir string, t *Table, window time.Duration, now, oldest time.Time) (j *Journal, kept int, err error) {
	j = &Journal{dir: dir, window: window}
	var live []byte
	for _, name := range []string{older, newer} {
		records, unread := readJournal(filepath.Join(dir, name), t.limit)
		err = errors.Join(err, unread)
		for r := range chunks(records) {
			at, key := time.Unix(int64(binary.LittleEndian.Uint32(r)), 0), [16]byte(r[4:])
			// Half of the room is left to those who come, whatever a file says.
			if !at.Before(oldest) && int64(kept) < t.limit/2 && t.Insert(key, now) == Fresh {
				live = append(live, r...)
				kept++
			}
		}
	}
	// All of it becomes the older file before the newer one is emptied: whenever the process is killed, one of them has it.
	unkept := state.Write(filepath.Join(dir, older), append([]byte(journalHead), live...))
	if unkept != nil {
		j.giveBack(live)
	} else if gone := os.Remove(filepath.Join(dir, newer)); !errors.Is(gone, os.ErrNotExist) {
		unkept = gone
	}
	return j, kept, errors.Join(err, unkept)
}

// readJournal reads one file's records. One that is not there has none; of one that breaks off, those that are whole count.
func readJournal(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(len(journalHead))+limit*recordSize))
	if err != nil {
		return nil, err
	}
	return parseJournal(path, b)
}

func parseJournal(path string, b []byte) ([]byte, error) {
	records, ours := bytes.CutPrefix(b, []byte(journalHead))
	if !ours && len(b) > 0 {
		return nil, fmt.Errorf("%s: %w", path, errForeign)
	}
	return records[:len(records)/recordSize*recordSize], nil
}

// chunks are the records in b, one after the other.
func chunks(b []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for ; len(b) >= recordSize && yield(b[:recordSize]); b = b[recordSize:] {
		}
	}
}

// Note has the next Flush keep a hello's key and its time, in seconds of the epoch. It takes a short lock and never waits for the disk.
func (j *Journal) Note(key [16]byte, at uint32) {
	if j == nil {
		return
	}
	w := &j.waiting
	w.Lock()
	defer w.Unlock()
	if len(w.records) >= mostWaiting*recordSize {
		w.records = w.records[recordSize:]
		w.lost++
	}
	w.records = append(binary.LittleEndian.AppendUint32(w.records, at), key[:]...)
}

// Lost is how many keys were forgotten while the disk took none.
func (j *Journal) Lost() uint64 {
	j.waiting.Lock()
	defer j.waiting.Unlock()
	return j.waiting.lost
}

// Flush writes what was noted since the last time. What fails is tried again the next time. It waits for the disk.
func (j *Journal) Flush(now time.Time) error {
	if j == nil {
		return nil
	}
	d := &j.disk
	d.Lock()
	defer d.Unlock()
	if d.end > 0 && now.After(d.turn) {
		if err := os.Rename(filepath.Join(j.dir, newer), filepath.Join(j.dir, older)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		d.end = 0
	}
	w := &j.waiting
	w.Lock()
	records := w.records
	w.records = nil
	w.Unlock()
	if len(records) == 0 {
		return nil
	}
	err := j.append(records, now)
	if err != nil {
		j.giveBack(records)
	}
	return err
}

// append writes records to the newer file. It is open for that long only: a descriptor held would keep the file system from being unmounted,
// or mounted to be read only.
func (j *Journal) append(records []byte, now time.Time) error {
	d, how := &j.disk, os.O_WRONLY
	if d.end == 0 {
		how |= os.O_CREATE | os.O_TRUNC
		records = append([]byte(journalHead), records...)
	}
	f, err := os.OpenFile(filepath.Join(j.dir, newer), how, 0o600)
	if errors.Is(err, os.ErrNotExist) && d.end > 0 { // somebody has removed it
		d.end = 0
		return j.append(records, now)
	}
	if err != nil {
		return err
	}
	n, err := f.WriteAt(records, d.end)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if d.end == 0 {
		d.turn = now.Add(j.window)
	}
	d.end += int64(n)
	return nil
}

// giveBack has records that could not be written wait again, before those that came meanwhile.
func (j *Journal) giveBack(records []byte) {
	w := &j.waiting
	w.Lock()
	defer w.Unlock()
	all := append(records, w.records...)
	if over := len(all) - mostWaiting*recordSize; over > 0 {
		all = all[over:]
		w.lost += uint64(over / recordSize)
	}
	w.records = all
}
