package ranges

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"sluice/engine/state"
)

// kept is a list as the state directory holds it.
type kept struct {
	Source   string         `json:"source"`
	Taken    time.Time      `json:"taken"`
	Prefixes []netip.Prefix `json:"prefixes"`
}

func (k *Keeper) file(s *Source) string { return filepath.Join(k.dir, "ranges", s.Name+".json") }

// load reads the last good list of a source.
func (k *Keeper) load(s *Source) ([]netip.Prefix, time.Time, error) {
	if k.dir == "" || !s.Changes() {
		return nil, time.Time{}, nil
	}
	b, err := os.ReadFile(k.file(s))
	if err != nil {
		return nil, time.Time{}, err
	}
	var l kept
	if err := json.Unmarshal(b, &l); err != nil {
		return nil, time.Time{}, fmt.Errorf("%s: %w", k.file(s), err)
	}
	if _, err := checked(l.Prefixes); err != nil {
		return nil, time.Time{}, fmt.Errorf("%s: %w", k.file(s), err)
	}
	if now := k.now(); l.Taken.After(now) { // the clock was ahead then
		l.Taken = now
	}
	return l.Prefixes, l.Taken, nil
}

// save keeps a good list. A crash leaves the old file or the new one, whole.
func (k *Keeper) save(l *list) error {
	if k.dir == "" {
		return nil
	}
	b, err := json.MarshalIndent(kept{l.source.Name, l.taken.UTC(), l.prefixes}, "", " ")
	if err != nil {
		return err
	}
	return state.Write(k.file(&l.source), append(b, '\n'))
}
