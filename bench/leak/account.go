package leak

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// addDescriptors adds the open descriptors. The one that reads the list is gone before it can be asked what it is.
func (a account) addDescriptors() {
	list, _ := os.ReadDir("/proc/self/fd")
	for _, f := range list {
		if to, err := os.Readlink("/proc/self/fd/" + f.Name()); err == nil {
			a["descriptor "+f.Name()+" "+to] = "descriptor " + f.Name() + ": " + to
		}
	}
}

// lasting are functions whose goroutines belong to the runtime or the test binary for the life of the process, such as the delivery of
// signals.
var lasting = []string{
	"os/signal.loop(", "os/signal.signal_recv(", "runtime.ensureSigM", "testing.(*M).", "testing.runFuzz", "internal/fuzz.",
}

// addGoroutines adds the goroutines but this one.
func (a account) addGoroutines() {
	b := make([]byte, 1<<20)
	for {
		n := runtime.Stack(b, true)
		if n < len(b) {
			b = b[:n]
			break
		}
		b = make([]byte, 2*len(b))
	}
	for i, stack := range bytes.Split(b, []byte("\n\n")) {
		text := string(stack)
		if i == 0 || lasts(text) { // the first is who asks
			continue
		}
		head, _, _ := strings.Cut(text, " [")
		a[head] = text
	}
}

func lasts(stack string) bool {
	for _, name := range lasting {
		if strings.Contains(stack, name) {
			return true
		}
	}
	return false
}

// addChildren adds the processes whose parent is this one, also those that have ended and that nobody has waited for.
func (a account) addChildren() {
	list, _ := os.ReadDir("/proc")
	self := strconv.Itoa(os.Getpid())
	for _, p := range list {
		if _, err := strconv.Atoi(p.Name()); err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + p.Name() + "/stat")
		if err != nil {
			continue
		}
		name, rest, _ := strings.Cut(string(stat), ") ") // a name may hold anything but this
		if f := strings.Fields(rest); len(f) > 1 && f[1] == self {
			a["process "+p.Name()] = fmt.Sprintf("process %s) in state %s", name, f[0])
		}
	}
}
