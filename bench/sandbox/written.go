package sandbox

import (
	"encoding/json"
	"strings"
)

// Text is packaging/seccomp.txt: a call a line, and why.
func Text() string {
	var b strings.Builder
	b.WriteString("# The system calls that sluice makes, for whoever writes a sandbox of his own. Written from bench/sandbox/calls.go.\n" +
		"# Those without a remark were seen in runs of the whole program; the others are made in rarer places.\n")
	for _, g := range Groups {
		b.WriteString("\n# " + g.Title + "\n")
		for _, c := range g.Calls {
			b.WriteString(c.Name)
			if c.Why != seen {
				b.WriteString("  # " + c.Why)
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

// profile is what container engines take for --security-opt seccomp=, and what the runtime specification has as linux.seccomp.
type profile struct {
	DefaultAction   string   `json:"defaultAction"`
	DefaultErrnoRet int      `json:"defaultErrnoRet"`
	Architectures   []string `json:"architectures"`
	Syscalls        []rule   `json:"syscalls"`
}

type rule struct {
	Names   []string `json:"names"`
	Action  string   `json:"action"`
	Comment string   `json:"comment"`
}

// forEngine is what a container engine itself calls between putting on the filter and the exec: the first two even with
// no-new-privileges, when it puts it on as late as it can, the others without. (Found with runc 1.1, one after the other; close_range is newer.)
var forEngine = []string{"fstatfs", "close_range", "capget", "capset", "chdir", "faccessat2", "getcwd", "getppid", "setgid", "setgroups", "setuid"}

// Profile is packaging/seccomp.json.
func Profile() string {
	p := profile{
		DefaultAction: "SCMP_ACT_ERRNO", DefaultErrnoRet: 1,
		Architectures: []string{"SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"},
	}
	for _, g := range Groups {
		r := rule{Action: "SCMP_ACT_ALLOW", Comment: g.Title}
		for _, c := range g.Calls {
			r.Names = append(r.Names, c.Name)
		}
		p.Syscalls = append(p.Syscalls, r)
	}
	p.Syscalls = append(p.Syscalls, rule{forEngine, "SCMP_ACT_ALLOW", "Of the container engine, between the filter and the start"})
	b, err := json.MarshalIndent(p, "", "\t")
	if err != nil {
		panic("sluice: " + err.Error()) // strings alone
	}
	return string(b) + "\n"
}

// unitBegins and unitEnds enclose what the unit has from the list.
const (
	unitBegins = "# Written from bench/sandbox/calls.go, as packaging/seccomp.txt is.\n"
	unitEnds   = "SystemCallErrorNumber=EPERM\n"
)

// unitFilter is the unit's part.
func unitFilter() string {
	var b strings.Builder
	for _, g := range Groups {
		b.WriteString("SystemCallFilter=")
		for i, c := range g.Calls {
			if i > 0 {
				b.WriteString(" ")
			}
			b.WriteString(c.Name)
		}
		b.WriteString("\n")
	}
	return b.String()
}
