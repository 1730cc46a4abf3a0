package figure

import (
	"os"
	"testing"

	"sluice/bench/leak"
)

// TestMain fails the package when its tests leave a descriptor, a goroutine or a process behind.
func TestMain(m *testing.M) { os.Exit(leak.Check(m).Run()) }
