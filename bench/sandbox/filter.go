package sandbox

import (
	"golang.org/x/sys/unix"

	"sluice/bench/seccomp"
)

// program is the filter: what is on the list goes on to the kernel, all else gets the verdict, as does all of another architecture. The x32 calls of
// amd64 have a bit in their numbers that none on the list has.
func program(verdict uint32) []unix.SockFilter {
	var numbers []uint32
	for _, g := range Groups {
		for _, c := range g.Calls {
			if c.Number != absent {
				numbers = append(numbers, uint32(c.Number))
			}
		}
	}
	n := len(numbers)
	p := []unix.SockFilter{seccomp.Load(seccomp.Arch), seccomp.Equal(seccomp.ThisArch(), 0, n+1), seccomp.Load(seccomp.Number)}
	for i, number := range numbers {
		p = append(p, seccomp.Equal(number, n-i, 0))
	}
	return append(p, seccomp.End(verdict), seccomp.Allow())
}
