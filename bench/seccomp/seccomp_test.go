package seccomp

import (
	"errors"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"sluice/bench/leak"
)

const inner = "SECCOMP_TEST"

// TestMain fails the package when its tests leave a descriptor, a goroutine or a process behind. As a child of its own it becomes what it is told, without uname.
func TestMain(m *testing.M) {
	if os.Getenv(inner) != "" {
		program := []unix.SockFilter{
			Load(Arch), Equal(ThisArch(), 1, 0), Allow(), Load(Number), Equal(unix.SYS_UNAME, 0, 1), Refuse(unix.EDOM), Allow(),
		}
		_, _ = os.Stderr.WriteString(Exec(program, os.Args[1:]).Error())
		os.Exit(126)
	}
	os.Exit(leak.Check(m).Run())
}

func TestExec(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		program string
		fails   bool
	}{{"true", false}, {"uname", true}, {"no-such-program", true}} {
		cmd := exec.Command(self, tt.program)
		cmd.Env = append(os.Environ(), inner+"=1")
		if out, err := cmd.CombinedOutput(); (err != nil) != tt.fails {
			t.Errorf("%s: %v\n%s", tt.program, err, out)
		}
	}
}

func TestLimits(t *testing.T) {
	if e := Equal(7, 255, 0); e.Jt != 255 {
		t.Errorf("%+v", e)
	}
	for _, jump := range []int{256, -1} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a jump of %d", jump)
				}
			}()
			Equal(7, 0, jump)
		}()
	}
	if _, err := Install(nil, 0); !errors.Is(err, unix.EINVAL) {
		t.Errorf("an empty filter: %v", err)
	}
}
