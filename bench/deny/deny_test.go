package deny

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sluice/bench/leak"
)

func TestMain(m *testing.M) {
	Main()
	if len(os.Args) > 1 && os.Args[1] == "try" {
		for _, p := range probes {
			fmt.Println(p.name, errnoName(p.try()))
		}
		os.Exit(0)
	}
	os.Exit(leak.Check(m).Run())
}

// probes are uses of the kernel that all succeed when nothing is denied.
var probes = []struct {
	name string
	try  func() error
}{
	{"pipe2", func() error { _, err := somePipe(); return err }},
	{"splice", func() error {
		from, err := somePipe()
		to, err2 := somePipe()
		if err := errors.Join(err, err2); err != nil {
			return nil // pipe2's probe says so
		}
		_, _ = unix.Write(from[1], []byte("x"))
		_, err = unix.Splice(from[0], nil, to[1], nil, 1, unix.SPLICE_F_NONBLOCK)
		return err
	}},
	{"F_GETFD", func() error { _, err := unix.FcntlInt(1, unix.F_GETFD, 0); return err }},
	{"F_DUPFD", func() error { _, err := unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 0); return err }},
	{"TCP_NODELAY", func() error { return setOption(unix.IPPROTO_TCP, unix.TCP_NODELAY) }},
	{"TCP_QUICKACK", func() error { return setOption(unix.IPPROTO_TCP, unix.TCP_QUICKACK) }},
	{"SO_KEEPALIVE", func() error { return setOption(unix.SOL_SOCKET, unix.SO_KEEPALIVE) }},
	{"IP_RECVERR", func() error { return setOption(unix.IPPROTO_IP, unix.IP_RECVERR) }},
}

func somePipe() (fds [2]int, err error) { return fds, unix.Pipe2(fds[:], unix.O_CLOEXEC) }

func setOption(level, option int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	return unix.SetsockoptInt(fd, level, option, 1)
}

func errnoName(err error) string {
	var e unix.Errno
	if errors.As(err, &e) {
		return unix.ErrnoName(e)
	}
	return "ok"
}

// A rule denies what it names, with the error it names, and nothing else; also to what the program starts.
func TestRules(t *testing.T) {
	for name, test := range map[string]struct {
		rules []Rule
		fail  []string
	}{
		"none":                       {},
		"a call":                     {[]Rule{Always("splice", unix.ENOSYS)}, []string{"splice ENOSYS"}},
		"an option":                  {[]Rule{Option(unix.IPPROTO_TCP, unix.TCP_NODELAY, unix.ENOPROTOOPT)}, []string{"TCP_NODELAY ENOPROTOOPT"}},
		"an option of another level": {[]Rule{Option(unix.SOL_SOCKET, unix.TCP_NODELAY, unix.EPERM)}, nil},
		"a level of options": {
			[]Rule{{Call: "setsockopt", Args: []Arg{{1, unix.IPPROTO_TCP}}, Errno: unix.EINVAL}},
			[]string{"TCP_NODELAY EINVAL", "TCP_QUICKACK EINVAL"},
		},
		"a command":     {[]Rule{Fcntl(unix.F_DUPFD_CLOEXEC, unix.EMFILE)}, []string{"F_DUPFD EMFILE"}},
		"several rules": {[]Rule{Always("pipe2", unix.EMFILE), Option(unix.SOL_SOCKET, unix.SO_KEEPALIVE, unix.EACCES)}, []string{"pipe2 EMFILE", "SO_KEEPALIVE EACCES"}},
		"the first of two": {
			[]Rule{Option(unix.IPPROTO_TCP, unix.TCP_NODELAY, unix.EPERM), Always("setsockopt", unix.ENOSYS)},
			[]string{"TCP_NODELAY EPERM", "TCP_QUICKACK ENOSYS", "SO_KEEPALIVE ENOSYS", "IP_RECVERR ENOSYS"},
		},
	} {
		for _, shell := range []bool{false, true} {
			argv := []string{os.Args[0], "try"}
			if shell {
				argv = []string{"sh", "-c", `"$0" try; true`, os.Args[0]}
			}
			out, err := Command(test.rules, argv...).CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, out)
			}
			var failed []string
			for line := range strings.Lines(string(out)) {
				if line = strings.TrimSpace(line); !strings.HasSuffix(line, " ok") {
					failed = append(failed, line)
				}
			}
			if !slices.Equal(failed, test.fail) {
				t.Errorf("%s, by a shell: %v: %q, want %q", name, shell, failed, test.fail)
			}
		}
	}
}

func TestRuleText(t *testing.T) {
	for _, text := range []string{"splice=ENOSYS", "setsockopt(_,6,25)=ENOPROTOOPT", "fcntl(_,1031)=EPERM", "bpf(5)=EPERM"} {
		r, err := Parse(text)
		if err != nil || r.String() != text {
			t.Errorf("%q: %v, %v", text, r, err)
		}
	}
	for text, want := range map[string]error{
		"": errForm, "splice": errForm, "frobnicate=EPERM": errCall, "splice=": errErrno, "splice=EWHAT": errErrno, "splice()=EPERM": errForm,
		"splice(_)=EPERM": errForm, "splice(1=EPERM": errForm, "splice(1,x)=EPERM": errForm, "splice(_,_,_,_,_,_,7)=EPERM": errForm,
	} {
		if r, err := Parse(text); !errors.Is(err, want) {
			t.Errorf("%q: %v, %v, want %v", text, r, err, want)
		}
	}
}

// What cannot be run, or not under these rules, says so and is not run without them.
func TestMainRefuses(t *testing.T) {
	for want, args := range map[string][]string{
		errCall.Error():             {"frobnicate=EPERM", "--", "true"},
		"nothing to run":            {"splice=EPERM", "--"},
		"executable file not found": {"splice=EPERM", "--", "no-such-program"},
		"no such file or directory": {"--", "/no/such/program"},
	} {
		out, err := exec.Command(os.Args[0], append([]string{name}, args...)...).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 126 || !strings.Contains(string(out), want) {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
}
