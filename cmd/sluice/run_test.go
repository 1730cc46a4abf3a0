package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/engine/config"
)

// patience bounds every wait on the process under test.
const patience = 20 * time.Second

// running is a `sluice run` under test, with a service manager that hears what it says of itself.
type running struct {
	*exec.Cmd
	t              *testing.T
	manager        *net.UnixConn
	admin          string
	stdout, stderr bytes.Buffer // complete after wait
}

// start runs the program with environ and waits until it says that it is ready.
func start(t *testing.T, environ ...string) *running {
	t.Helper()
	r := prepare(t, environ...)
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Process.Kill(); _ = r.Wait() })
	r.hear("READY=1")
	return r
}

func prepare(t *testing.T, environ ...string) *running {
	t.Helper()
	dir, err := os.MkdirTemp("", "sluice") // short: a socket's path has 107 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	notify := filepath.Join(dir, "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { manager.Close() })
	r := &running{Cmd: exec.Command("sluice", "run"), t: t, manager: manager, admin: "unix:" + filepath.Join(dir, "admin")}
	r.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "NOTIFY_SOCKET=" + notify, "HOME=" + dir, "GORACE=" + noRaceSleep,
		"SLUICE_LISTEN=127.0.0.1:0", "SLUICE_ADMIN_LISTEN=" + r.admin, "SLUICE_DRAIN_TIMEOUT=0",
	}, environ...)
	r.Stdout, r.Stderr = &r.stdout, &r.stderr
	return r
}

// hear waits for a state that holds want.
func (r *running) hear(want string) {
	r.t.Helper()
	buf := make([]byte, 4096)
	if err := r.manager.SetReadDeadline(time.Now().Add(patience)); err != nil {
		r.t.Fatal(err)
	}
	for {
		n, err := r.manager.Read(buf)
		if err != nil {
			_ = r.Process.Kill()
			_ = r.Wait()
			r.t.Fatalf("never said %s: %v\n%s", want, err, &r.stderr)
		}
		if strings.Contains(string(buf[:n]), want) {
			return
		}
	}
}

func (r *running) signal(sig syscall.Signal) {
	r.t.Helper()
	if err := r.Process.Signal(sig); err != nil {
		r.t.Fatal(err)
	}
}

// status waits for the end and returns the exit status.
func (r *running) status() int {
	r.t.Helper()
	late := time.AfterFunc(patience, func() { _ = r.Process.Kill() })
	defer late.Stop()
	var exit *exec.ExitError
	if err := r.Wait(); err != nil && !errors.As(err, &exit) {
		r.t.Fatal(err)
	}
	return r.ProcessState.ExitCode()
}

func TestRunTrial(t *testing.T) {
	r := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := askHealth(ctx, r.admin); err != nil {
		t.Errorf("health: %v", err)
	}
	kept := trialSecret(filepath.Join(filepath.Dir(strings.TrimPrefix(r.admin, "unix:")), ".local/state/sluice"))
	if kept.problem != nil {
		t.Errorf("the trial's secret was not kept: %v", kept.problem)
	}
	r.signal(syscall.SIGTERM)
	r.hear("STOPPING=1")
	if code := r.status(); code != 0 {
		t.Errorf("exit status %d after SIGTERM\n%s", code, &r.stderr)
	}
	told := r.stdout.String()
	for _, want := range []string{"tg://proxy?server=127.0.0.1&port=", "&secret=" + kept.secret.Hex(), "SLUICE_PUBLIC_HOST", "█"} {
		if !strings.Contains(told, want) {
			t.Errorf("the welcome lacks %q:\n%s", want, told)
		}
	}
	if strings.Contains(told, "port=0&") {
		t.Error("the link has port 0, not the one the kernel chose")
	}
	if strings.Contains(r.stderr.String(), kept.secret.Hex()[2:34]) {
		t.Errorf("the log shows the key:\n%s", &r.stderr)
	}
}

// A library that logs by itself does so in the format that was asked for: here the metrics', for want of a descriptor.
func TestForeignLogLines(t *testing.T) {
	r := start(t, "SLUICE_LOG_FORMAT=json")
	var d net.Dialer
	web := http.Client{Timeout: patience, Transport: &http.Transport{
		MaxConnsPerHost: 1, // the second page comes over the first one's connection: another could not be accepted
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "unix", strings.TrimPrefix(r.admin, "unix:"))
		},
	}}
	page := func() {
		t.Helper()
		answer, err := web.Get("http://proxy/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("%s, %v", answer.Status, err)
		}
	}
	page()
	var old unix.Rlimit
	if err := unix.Prlimit(r.Process.Pid, unix.RLIMIT_NOFILE, nil, &old); err != nil {
		t.Fatal(err)
	}
	if err := unix.Prlimit(r.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: old.Max}, nil); err != nil {
		t.Fatal(err)
	}
	page()
	if err := unix.Prlimit(r.Process.Pid, unix.RLIMIT_NOFILE, &old, nil); err != nil {
		t.Fatal(err)
	}
	r.signal(syscall.SIGTERM)
	if code := r.status(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	found := false
	for line := range strings.Lines(r.stderr.String()) {
		var fields struct{ Level, Msg string }
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Errorf("not in the log's format: %s", line)
		}
		found = found || fields.Level == "INFO" && strings.Contains(fields.Msg, "/proc/self/stat")
	}
	if !found {
		t.Errorf("the library said nothing:\n%s", &r.stderr)
	}
}

func TestRunTrialWithoutState(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, "SLUICE_STATE_DIR="+file+"/below")
	r.signal(syscall.SIGINT)
	if code := r.status(); code != 0 {
		t.Errorf("exit status %d\n%s", code, &r.stderr)
	}
	if !strings.Contains(r.stderr.String(), "secret cannot be kept") || !strings.Contains(r.stdout.String(), "tg://proxy?") {
		t.Errorf("want a warning and a link all the same:\n%s\n%s", &r.stderr, &r.stdout)
	}
}

func TestRunReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("ee00112233445566778899aabbccddeeff6578616d706c652e6f7267\n")
	format := filepath.Join(t.TempDir(), "format")
	if err := os.WriteFile(format, []byte("text\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, "SLUICE_SECRET_FILE="+path, "SLUICE_FRONT=127.0.0.1:9", "SLUICE_LOG_FORMAT_FILE="+format)
	if err := os.WriteFile(format, []byte("json\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"ee01010101010101010101010101010101616161", "nonsense!"} {
		write(text)
		r.signal(syscall.SIGHUP)
		r.hear("RELOADING=1")
		r.hear("READY=1")
	}
	r.signal(syscall.SIGTERM)
	if code := r.status(); code != 0 {
		t.Errorf("exit status %d\n%s", code, &r.stderr)
	}
	told := r.stderr.String()
	if strings.Count(told, "reload refused") != 1 || !strings.Contains(told, "msg=reloaded") || !strings.Contains(told, "SLUICE_SECRET") {
		t.Errorf("want one reload that worked and one that was refused by name:\n%s", told)
	}
	if !strings.Contains(told, "variable=SLUICE_LOG_FORMAT") {
		t.Errorf("the setting that needs a restart is not named:\n%s", told)
	}
	if r.stdout.Len() > 0 {
		t.Errorf("a proxy with a secret shows it:\n%s", &r.stdout)
	}
}

func TestRunPortTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r := prepare(t, "SLUICE_LISTEN="+taken.Addr().String())
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	if code := r.status(); code != exitFailure {
		t.Errorf("exit status %d, want %d", code, exitFailure)
	}
	lines := bufio.NewScanner(&r.stderr)
	var errorLine, hintLine bool
	for lines.Scan() {
		errorLine = errorLine || strings.HasPrefix(lines.Text(), "sluice: error: ")
		hintLine = hintLine || strings.HasPrefix(lines.Text(), "sluice: hint: another program has that port")
	}
	if !errorLine || !hintLine {
		t.Errorf("want an error and a hint: %v, %v", errorLine, hintLine)
	}
}

func TestBindHints(t *testing.T) {
	socket := &net.OpError{Op: "listen", Net: "unix", Err: os.NewSyscallError("bind", syscall.EACCES)}
	for _, tt := range []struct {
		name, hint string
		err        error
	}{
		{"a low port", "ports below 1024", os.NewSyscallError("bind", syscall.EACCES)},
		{"a folder of somebody else's", "folder of SLUICE_ADMIN_LISTEN's socket", fmt.Errorf("SLUICE_ADMIN_LISTEN: %w", socket)},
		{"taken", "another program", os.NewSyscallError("bind", syscall.EADDRINUSE)},
		{"not ours", "an address of this machine", os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)},
		{"else", "", syscall.ENOMEM},
	} {
		got := withBindHint(tt.err)
		var h hinted
		if errors.As(got, &h) != (tt.hint != "") || !strings.Contains(h.hint, tt.hint) || !errors.Is(got, tt.err) {
			t.Errorf("%s: %v, hint %q", tt.name, got, h.hint)
		}
	}
}

func TestAskHealth(t *testing.T) {
	var status atomic.Int32
	status.Store(http.StatusOK)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			status.Store(http.StatusNotFound)
		}
		w.WriteHeader(int(status.Load()))
		_, _ = io.WriteString(w, "loop 1 stands still\n")
	})}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(listener)
	defer server.Close()
	if err := askHealth(t.Context(), listener.Addr().String()); err != nil {
		t.Errorf("200 gives %v", err)
	}
	status.Store(http.StatusServiceUnavailable)
	err = askHealth(t.Context(), listener.Addr().String())
	if err == nil || err.Error() != "503 Service Unavailable: loop 1 stands still" {
		t.Errorf("503 gives %v", err)
	}
}

func TestDialable(t *testing.T) {
	for _, tt := range []struct{ admin, network, address string }{
		{"127.0.0.1:9180", "tcp", "127.0.0.1:9180"},
		{"[::]:9180", "tcp", "127.0.0.1:9180"},
		{"0.0.0.0:9180", "tcp", "127.0.0.1:9180"},
		{"[2001:db8::1]:1", "tcp", "[2001:db8::1]:1"},
		{"unix:/run/a", "unix", "/run/a"},
	} {
		if network, address := dialable(tt.admin); network != tt.network || address != tt.address {
			t.Errorf("%s: got %s %s", tt.admin, network, address)
		}
	}
}

// TestDrawQR reads the half blocks back: they must hold exactly the code's modules with light around them.
func TestDrawQR(t *testing.T) {
	var out bytes.Buffer
	endpoint{host: "a.example", port: 443}.print(&out, config.Secret{Host: "a.example"}, true)
	_, picture, _ := strings.Cut(out.String(), "\n\n")
	rows := strings.Split(strings.TrimRight(picture, "\n"), "\n")
	width := len([]rune(rows[0]))
	for i, row := range rows {
		if n := len([]rune(row)); n != width {
			t.Fatalf("row %d is %d wide, the first %d", i, n, width)
		}
	}
	if rows[0] != strings.Repeat("█", width) || !strings.HasPrefix(rows[5], "██") {
		t.Errorf("no light border:\n%s", picture)
	}
	// The finder pattern: seven dark modules, a light ring, a dark core of three by three.
	want := []string{"██ ▄▄▄▄▄ ", "██ █   █ ", "██ █▄▄▄█ "}
	for i, w := range want {
		if !strings.HasPrefix(rows[1+i], w) {
			t.Errorf("row %d begins %q, want %q", 1+i, string([]rune(rows[1+i])[:9]), w)
		}
	}
}
