package mtproto

import (
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"
)

// TestDoctor: the doctor's question is one that gotd's servers understand, and their answer one that it does; what their message
// ids say of the time is right. It asks every data centre; those that are not here refuse the connection.
func TestDoctor(t *testing.T) {
	r := startRig(t, nil, nil)
	settings := map[string]string{"SLUICE_LISTEN": r.clients[v4].String()}
	for _, n := range strings.Fields("1 3 5 203 TEST_1 TEST_2 TEST_3") {
		settings["SLUICE_DC_"+n] = "127.0.0.1:1"
	}
	out, err := r.proxy.Command(settings, "doctor", "--offline", "--json").Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	var report struct {
		Findings []struct {
			ID, Status, Seen string
			Details          []string
		}
	}
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := map[string][2]string{
		"dc-2": {"ok", r.centres[v4].addr().String() + " answers"}, "dc-4": {"ok", r.centres[v6].addr().String() + " answers"},
		"dc-1": {"warn", "connection refused"}, "clock": {"ok", "right by 3 sources"}, // the third is the front
	}
	for _, f := range report.Findings {
		if w, asked := want[f.ID]; asked && (f.Status != w[0] || !strings.Contains(f.Seen, w[1])) {
			t.Errorf("%s is %s, want %v: %s %q", f.ID, f.Status, w, f.Seen, f.Details)
		}
	}
	for family, c := range r.centres {
		if got := c.seen(); got.home != 1 || got.media != 0 {
			t.Errorf("%s: %+v frames, want the doctor's alone", family, got)
		}
	}
}
