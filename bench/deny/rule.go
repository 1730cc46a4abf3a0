package deny

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Rule is a system call, or one use of it, and the error that it answers.
type Rule struct {
	Call  string
	Args  []Arg // all of them must be so; none: every use
	Errno unix.Errno
}

// Arg is an argument that a call must have for the rule to hold. The lower 32 bits are compared: an int of C.
type Arg struct {
	Index int
	Value uint32
}

// maxArgs is how many arguments a system call has at most.
const maxArgs = 6

// Always denies every use of a call.
func Always(call string, errno unix.Errno) Rule { return Rule{Call: call, Errno: errno} }

// Option denies the setting of a socket option.
func Option(level, option int, errno unix.Errno) Rule {
	return Rule{Call: "setsockopt", Args: []Arg{{1, uint32(level)}, {2, uint32(option)}}, Errno: errno}
}

// Fcntl denies a command of fcntl.
func Fcntl(command int, errno unix.Errno) Rule {
	return Rule{Call: "fcntl", Args: []Arg{{1, uint32(command)}}, Errno: errno}
}

var (
	errForm  = errors.New("want a rule like splice=ENOSYS or setsockopt(_,6,25)=ENOPROTOOPT")
	errCall  = errors.New("no system call that rules know: see the table of calls")
	errErrno = errors.New("no error's name")
)

// Parse reads a rule as String writes it: a call, what its first arguments are if that matters ("_": anything), and the error's name.
func Parse(s string) (Rule, error) {
	call, errno, ok := strings.Cut(s, "=")
	if !ok {
		return Rule{}, fmt.Errorf("%q: %w", s, errForm)
	}
	call, list, some := strings.Cut(call, "(")
	r := Rule{Call: call}
	if _, ok := calls[call]; !ok {
		return Rule{}, fmt.Errorf("%q: %w", s, errCall)
	}
	if some {
		list, ok = strings.CutSuffix(list, ")")
		if r.Args, some = parseArgs(list); !ok || !some {
			return Rule{}, fmt.Errorf("%q: %w", s, errForm)
		}
	}
	if r.Errno, ok = errnoNamed(errno); !ok {
		return Rule{}, fmt.Errorf("%q: %w", s, errErrno)
	}
	return r, nil
}

func parseArgs(list string) (args []Arg, ok bool) {
	for i, word := range strings.Split(list, ",") {
		if word == "_" && i < maxArgs {
			continue
		}
		v, err := strconv.ParseUint(word, 0, 32)
		if err != nil || i >= maxArgs {
			return nil, false
		}
		args = append(args, Arg{i, uint32(v)})
	}
	return args, len(args) > 0
}

func errnoNamed(name string) (unix.Errno, bool) {
	const last = 133 // EHWPOISON
	for e := unix.Errno(1); e <= last; e++ {
		if name != "" && unix.ErrnoName(e) == name {
			return e, true
		}
	}
	return 0, false
}

// String writes the rule as Parse reads it.
func (r Rule) String() string {
	var b strings.Builder
	b.WriteString(r.Call)
	if len(r.Args) > 0 {
		var words []string
		for _, a := range r.Args {
			for len(words) < a.Index {
				words = append(words, "_")
			}
			words = append(words, strconv.FormatUint(uint64(a.Value), 10))
		}
		b.WriteString("(" + strings.Join(words, ",") + ")")
	}
	return b.String() + "=" + unix.ErrnoName(r.Errno)
}
