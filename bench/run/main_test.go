package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/bench/leak"
	"sluice/bench/load"
)

// TestMain makes this test binary every process that the driver starts from its own executable, and the bad relays.
func TestMain(m *testing.M) {
	err := child(os.Args[1:])
	if errors.Is(err, errNoChild) && len(os.Args) == 4 {
		switch os.Args[1] {
		case "child-flip-down":
			err = badRelay(os.Args[2], os.Args[3], 0, 1)
		case "child-flip-up":
			err = badRelay(os.Args[2], os.Args[3], 1, 0)
		}
	}
	if !errors.Is(err, errNoChild) {
		exit(err)
	}
	os.Exit(leak.Check(m).Run())
}

// badRelay flips a bit of the 3,000th byte up or down, or of none.
func badRelay(listen, target string, up, down byte) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	for {
		a, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer a.Close()
			b, err := net.Dial("tcp", target)
			if err != nil {
				return
			}
			defer b.Close()
			go func() { _, _ = io.Copy(b, &flipper{a, up, 0}) }()
			_, _ = io.Copy(a, &flipper{b, down, 0})
		}()
	}
}

type flipper struct {
	from io.Reader
	mask byte
	seen int
}

func (f *flipper) Read(b []byte) (int, error) {
	const at = 3000
	n, err := f.from.Read(b)
	if f.seen <= at && at < f.seen+n {
		b[at-f.seen] ^= f.mask
	}
	f.seen += n
	return n, err
}

// TestOthers: the usual Go proxy, once as the baseline and once as somebody's peer, given by its command.
func TestOthers(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text := driveQuick(t, "-scenarios", "download-8,upload-8,fronted-8,exchange-4k-64,sessions", "-variants", "plain,peer",
		"-peer", "peer="+self+" child-plain {addr} {dc} {front} {secret}")
	for _, want := range []string{`"peer"`, `"plain"`, `"to_plain"`, `"cpu_us_per_session"`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in the JSON", want)
		}
	}
}

// driveQuick runs the driver as its command line does and returns the JSON it has written.
func driveQuick(t *testing.T, args ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out.json")
	o, err := parseOptions(append(args, "-quick", "-json", out))
	if err != nil {
		t.Fatal(err)
	}
	o.keepLong = true
	if err := drive(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// testBench is a bench on the machine's own loopback, or on one of its own, for short trials.
func testBench(t *testing.T) *bench {
	t.Helper()
	n, err := plainNetwork(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := newBench(t.Context(), options{time: 200 * time.Millisecond, quick: true}, n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	return b
}

// TestWrongBytesFail: a relay that flips one bit, either way, is found out by every scenario that moves enough.
func TestWrongBytesFail(t *testing.T) {
	b := testBench(t)
	for _, direction := range []string{"down", "up"} {
		bad := variant{name: "flip-" + direction, kind: load.Direct, command: peerCommand(b.self + " child-flip-" + direction + " {addr} {dc}")}
		runs := map[string]func(*bench, variant) (values, error){
			"bulk": bulk(2, load.Source, 0, false), "exchange": exchange(2, 4),
		}
		if direction == "down" {
			runs["idle"] = idle(2)
		}
		for name, run := range runs {
			_, err := run(b, bad)
			if err == nil {
				t.Errorf("%s, %s: nothing was noticed", name, direction)
			} else if !strings.Contains(err.Error(), "not what") {
				t.Errorf("%s, %s: %v", name, direction, err)
			}
		}
	}
}

// TestDeadProxyFails: a proxy that ends, or never listens, is an error with its last words.
func TestDeadProxyFails(t *testing.T) {
	b := testBench(t)
	v := variant{name: "dead", kind: load.Direct, command: peerCommand("ls /nonexistent-{port}")}
	_, err := bulk(1, load.Source, 0, false)(b, v)
	if err == nil || !strings.Contains(err.Error(), "has ended") || !strings.Contains(err.Error(), "nonexistent") {
		t.Errorf("%v", err)
	}
}

// TestInterrupt: an interrupted run ends soon, leaving no process.
func TestInterrupt(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	b := testBench(t)
	b.ctx, b.time = ctx, time.Minute
	time.AfterFunc(300*time.Millisecond, stop)
	raw := options{}.allVariants()[0]
	if _, err := bulk(1, load.Source, 0, false)(b, raw); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if left := descendants(os.Getpid())[1:]; len(left) > 1 { // the far side is still there
		t.Errorf("processes left: %v", left)
	}
}

func TestPeerTemplate(t *testing.T) {
	b := testBench(t)
	at := b.farAt.DC[1]
	cmd := peerCommand("prog --listen={addr} {host}:{port} {secret} {dc} {dchost} {dcport} {front}")(b, at, setup{})
	got := strings.Join(cmd.Args, " ")
	want := fmt.Sprintf("prog --listen=%v %v:%d %v %v %v %d %v", at, at.Addr(), at.Port(), b.secret, at, at.Addr(), at.Port(), b.farAt.Front)
	if got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
