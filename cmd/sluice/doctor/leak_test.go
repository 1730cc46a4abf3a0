package doctor

import (
	"os"
	"testing"

	"sluice/bench/leak"
)

func TestMain(m *testing.M) { os.Exit(leak.Check(m).Run()) }
