package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// rule says what the packages of one room may import beside the standard library and their own room.
type rule struct {
	room    string
	may     []string // rooms of this module, with everything below them
	modules []string // other modules
	never   []string // packages of the standard library
}

// silent are the packages by which a leaf could log, count or read its surroundings.
var silent = []string{"log", "log/slog", "expvar", "os", "flag"}

// rules are the arrows of the design: cmd → engine → {engine/*, splice} → {faketls, obfs, bpf} → the standard library, x/sys
// and what a rule names.
// The first rule whose room holds a package counts.
var rules = []rule{
	// The doctor asks in the ways that the proxy does, so it borrows from the leaves, and never from the engine itself.
	{
		room: "sluice/cmd/sluice/doctor", may: []string{"sluice/engine/", "sluice/faketls", "sluice/obfs"}, modules: []string{"golang.org/x/sys"},
		never: []string{"log", "log/slog", "expvar", "flag"},
	},
	{room: "sluice/cmd", may: []string{"sluice/engine"}, modules: []string{"golang.org/x/sys", "rsc.io/qr"}},
	// What a list of ranges may be is for ranges to say, and for config to refuse at once and by the name of the variable.
	{room: "sluice/engine/config", may: []string{"sluice/engine/edge/ranges"}, modules: []string{"github.com/caarlos0/env/v11"}},
	{room: "sluice/engine/metric", modules: []string{"github.com/VictoriaMetrics/metrics"}, never: []string{"log", "log/slog"}},
	{room: "sluice/engine/edge/ranges", may: []string{"sluice/engine/state"}, never: []string{"log", "log/slog", "expvar", "flag"}},
	{room: "sluice/engine/replay", may: []string{"sluice/engine/state"}, never: []string{"log", "log/slog", "expvar", "flag"}},
	{room: "sluice/engine/edge", modules: []string{"github.com/pires/go-proxyproto"}, never: silent},
	{room: "sluice/engine/admin", modules: []string{"github.com/pires/go-proxyproto"}, never: []string{"log/slog"}},
	// net/http asks for a log.Logger, to be silenced; hence only slog is out of bounds here and in admin.
	{room: "sluice/engine/front", may: leaves, modules: []string{"golang.org/x/sys"}, never: []string{"log/slog"}},
	{room: "sluice/engine/", may: leaves, modules: []string{"golang.org/x/sys"}, never: []string{"log", "log/slog"}},
	{
		room: "sluice/engine", may: append([]string{"sluice/engine", "sluice/splice"}, leaves...),
		modules: []string{"github.com/panjf2000/gnet/v2", "golang.org/x/sys"},
	},
	{room: "sluice/splice", may: leaves, modules: []string{"golang.org/x/sys"}, never: []string{"log", "log/slog", "expvar", "flag"}},
	{room: "sluice/faketls", modules: []string{"filippo.io/edwards25519"}, never: silent},
	{room: "sluice/obfs", never: silent},
	{room: "sluice/bpf", modules: []string{"golang.org/x/sys", "github.com/cilium/ebpf"}, never: silent},
}

var leaves = []string{"sluice/faketls", "sluice/obfs", "sluice/bpf"}

// TestImportRules reads the direct imports of every package; bench may import what it likes.
func TestImportRules(t *testing.T) {
	list := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...")
	list.Dir = "../.."
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		if under(words[0], "sluice/bench") {
			continue
		}
		i := slices.IndexFunc(rules, func(r rule) bool { return under(words[0], r.room) })
		if i < 0 {
			t.Errorf("%s is in no room", words[0])
			continue
		}
		seen++
		for _, imported := range words[1:] {
			if why := rules[i].forbids(words[0], imported); why != "" {
				t.Errorf("%s imports %s: %s", words[0], imported, why)
			}
		}
	}
	if seen < 3 {
		t.Errorf("only %d packages were looked at", seen)
	}
}

func (r rule) forbids(from, imported string) string {
	first, _, _ := strings.Cut(imported, "/")
	switch {
	case slices.Contains(r.never, imported):
		return "this room does not log, count or read its surroundings"
	case first == "sluice":
		if under(imported, room(from)) || slices.ContainsFunc(r.may, func(m string) bool { return under(imported, m) }) {
			return ""
		}
		return "the arrows do not go this way"
	case !strings.Contains(first, "."):
		return ""
	case !slices.ContainsFunc(r.modules, func(m string) bool { return under(imported, m) }):
		return "this module is named in another room"
	}
	return ""
}

// room is the part of a path that names the package's room: two elements, or three below engine.
func room(path string) string {
	parts := strings.Split(path, "/")
	n := 2
	if parts[1] == "engine" {
		n = 3
	}
	return strings.Join(parts[:min(n, len(parts))], "/")
}

// under says whether path is room or below it. A room that ends with a slash holds only what is below.
func under(path, room string) bool {
	if strings.HasSuffix(room, "/") {
		return strings.HasPrefix(path, room)
	}
	return path == room || strings.HasPrefix(path, room+"/")
}

func TestImportRulesBite(t *testing.T) {
	for _, tt := range []struct {
		from, imported string
		allowed        bool
	}{
		{"sluice/cmd/sluice", "sluice/engine/config", true},
		{"sluice/cmd/sluice", "sluice/splice", false},
		{"sluice/cmd/sluice/doctor", "sluice/engine/dc", true},
		{"sluice/cmd/sluice/doctor", "sluice/obfs", true},
		{"sluice/cmd/sluice/doctor", "sluice/engine", false},
		{"sluice/cmd/sluice/doctor", "log/slog", false},
		{"sluice/engine", "sluice/engine/edge", true},
		{"sluice/engine", "github.com/panjf2000/gnet/v2", true},
		{"sluice/engine", "github.com/caarlos0/env/v11", false},
		{"sluice/engine/edge", "sluice/engine/config", false},
		{"sluice/engine/front", "sluice/faketls", true},
		{"sluice/engine/front", "sluice/splice", false},
		{"sluice/engine/metric/gen", "sluice/engine/metric", true},
		{"sluice/engine/config", "sluice/engine", false},
		{"sluice/splice/wheel", "sluice/splice", true},
		{"sluice/splice", "sluice/engine", false},
		{"sluice/faketls", "sluice/obfs", false},
		{"sluice/faketls/probe", "sluice/faketls", true},
		{"sluice/faketls", "log/slog", false},
		{"sluice/obfs", "golang.org/x/sys/unix", false},
		{"sluice/obfs", "crypto/aes", true},
	} {
		i := slices.IndexFunc(rules, func(r rule) bool { return under(tt.from, r.room) })
		if got := rules[i].forbids(tt.from, tt.imported) == ""; got != tt.allowed {
			t.Errorf("%s imports %s: allowed is %v, want %v", tt.from, tt.imported, got, tt.allowed)
		}
	}
}
