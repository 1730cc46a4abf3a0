// Package state keeps small files that outlive the process, in the state directory.
package state

import (
	"os"
	"path/filepath"
)

// Write lets path appear, or change, whole or not at all, whatever happens meanwhile; it is readable by its owner alone. The directory is made
// when it is not there. Any goroutine.
func Write(path string, b []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // of what a failure leaves; after the rename there is nothing
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}
