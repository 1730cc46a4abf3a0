package sandbox

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sluice/bench/leak"
	"sluice/bench/seccomp"
)

var update = flag.Bool("update", false, "rewrite the files in packaging")

func TestMain(m *testing.M) {
	Main()
	os.Exit(leak.Check(m).Run())
}

// TestWritten compares the files in packaging with the list.
func TestWritten(t *testing.T) {
	const unit = "../../packaging/sluice.service"
	old, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, begins := strings.Cut(string(old), unitBegins)
	_, tail, ends := strings.Cut(rest, unitEnds)
	if !begins || !ends {
		t.Fatalf("%s has no place for the list", unit)
	}
	for path, want := range map[string]string{
		"../../packaging/seccomp.txt":  Text(),
		"../../packaging/seccomp.json": Profile(),
		unit:                           head + unitBegins + unitFilter() + unitEnds + tail,
	} {
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s is not what the list says (go test ./bench/sandbox -update rewrites it): %v", path, err)
		}
	}
}

func TestList(t *testing.T) {
	names, numbers := map[string]bool{}, map[int32]string{}
	for _, g := range Groups {
		for _, c := range g.Calls {
			if names[c.Name] {
				t.Errorf("%s is there twice", c.Name)
			}
			if other, twice := numbers[c.Number]; twice && c.Number != absent {
				t.Errorf("%s and %s have one number", c.Name, other)
			}
			names[c.Name], numbers[c.Number] = true, c.Name
		}
	}
	for _, never := range []string{"ptrace", "mount", "execveat", "process_vm_readv", "init_module", "unshare", "setns", "keyctl", "io_uring_setup", "mprotect", "fork", "vfork"} {
		if names[never] {
			t.Errorf("%s is on the list", never)
		}
	}
	if !json.Valid([]byte(Profile())) {
		t.Error("the profile is no JSON")
	}
}

// TestProgram runs the filter over every call there is, and over those of other ways into the kernel.
func TestProgram(t *testing.T) {
	var numbers []uint32
	for _, g := range Groups {
		for _, c := range g.Calls {
			if c.Number != absent {
				numbers = append(numbers, uint32(c.Number))
			}
		}
	}
	p := program(unix.SECCOMP_RET_KILL_PROCESS)
	for n := range uint32(1000) {
		want := uint32(unix.SECCOMP_RET_KILL_PROCESS)
		if slices.Contains(numbers, n) {
			want = unix.SECCOMP_RET_ALLOW
		}
		if got := judge(p, seccomp.ThisArch(), n); got != want {
			t.Errorf("call %d: %#x, want %#x", n, got, want)
		}
		const i386, x32 = unix.AUDIT_ARCH_I386, 1 << 30
		if judge(p, i386, n) != unix.SECCOMP_RET_KILL_PROCESS || judge(p, seccomp.ThisArch(), n|x32) != unix.SECCOMP_RET_KILL_PROCESS {
			t.Errorf("call %d is allowed in another architecture's numbers", n)
		}
	}
}

// judge runs a filter as the kernel does; it knows the instructions that program uses.
func judge(p []unix.SockFilter, arch, number uint32) uint32 {
	var a uint32
	for i := 0; ; i++ {
		switch in := p[i]; in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			a = map[uint32]uint32{seccomp.Number: number, seccomp.Arch: arch}[in.K]
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			if a == in.K {
				i += int(in.Jt)
			} else {
				i += int(in.Jf)
			}
		default:
			return in.K
		}
	}
}

// trier builds the program that makes a call.
func trier(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "try")
	build := exec.Command("go", "build", "-o", path, "./try")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// try makes a call in a process of its own, under the list if there is a verdict.
func try(program string, number int, verdict Verdict) (errno syscall.Errno, killed bool, err error) {
	argv := []string{program, strconv.Itoa(number)}
	if verdict != "" {
		argv = Argv(verdict, argv...)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		status := exit.Sys().(syscall.WaitStatus)
		return 0, status.Signaled() && status.Signal() == syscall.SIGSYS, nil
	}
	if err != nil {
		return 0, false, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(out)))
	return syscall.Errno(n), false, err
}

// TestForbidden: what is not on the list is not done, and what is on it is.
func TestForbidden(t *testing.T) {
	program := trier(t)
	for _, tt := range []struct {
		name   string
		number int
	}{
		{"ptrace", unix.SYS_PTRACE},
		{"mount", unix.SYS_MOUNT},
		{"unshare", unix.SYS_UNSHARE},
		{"setns", unix.SYS_SETNS},
		{"process_vm_readv", unix.SYS_PROCESS_VM_READV},
		{"execveat", unix.SYS_EXECVEAT},
		{"init_module", unix.SYS_INIT_MODULE},
		{"keyctl", unix.SYS_KEYCTL},
		{"perf_event_open", unix.SYS_PERF_EVENT_OPEN},
		{"io_uring_setup", unix.SYS_IO_URING_SETUP},
		{"mprotect", unix.SYS_MPROTECT},
		{"getcwd", unix.SYS_GETCWD},
	} {
		t.Run(tt.name, func(t *testing.T) {
			free, killed, err := try(program, tt.number, "")
			if err != nil || killed {
				t.Fatalf("without the list: killed %v, %v", killed, err)
			}
			if _, killed, err = try(program, tt.number, Kill); err != nil || !killed {
				t.Errorf("under the list: killed %v, %v", killed, err)
			}
			got, killed, err := try(program, tt.number, Refuse)
			if err != nil || killed || got != syscall.EPERM {
				t.Errorf("refused with %v (killed %v, %v), want EPERM; free it ends with %v", got, killed, err, free)
			}
		})
	}
	if errno, killed, err := try(program, unix.SYS_GETSOCKNAME, Kill); errno != syscall.EBADF || killed || err != nil {
		t.Errorf("getsockname, which is on the list: %v, killed %v, %v", errno, killed, err)
	}
}

func TestArgvOfNothing(t *testing.T) {
	for _, args := range [][]string{{}, {"kill"}, {"pardon", "true"}, {"kill", "/no/such/program"}} {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(self, append([]string{name}, args...)...)
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 126 || !strings.HasPrefix(string(out), name+": ") {
			t.Errorf("%v: status %d, %q", args, cmd.ProcessState.ExitCode(), out)
		}
	}
}
