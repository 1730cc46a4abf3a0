package e2e

import (
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice/bench/client"
	"sluice/bench/sandbox"
	"sluice/bench/stand"
)

// listServer serves a list of ranges by HTTPS; the folder has its certificate, behind a link, as systems keep theirs.
func listServer(t *testing.T) (list *atomic.Value, url, certificates string) {
	t.Helper()
	list = new(atomic.Value)
	list.Store("127.0.0.0/8\n")
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, list.Load().(string)) }))
	t.Cleanup(s.Close)
	dir := t.TempDir()
	certificates = filepath.Join(dir, "certs")
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(dir, "real.pem"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(certificates, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../real.pem", filepath.Join(certificates, "link.pem")); err != nil {
		t.Fatal(err)
	}
	return list, s.URL + "/list", certificates
}

// TestSandbox: a proxy that is killed for any system call off the list carries sessions in both modes, shows strangers a front that has a
// name, fetches ranges, guards its listeners where it may, reloads, answers for its health, and drains.
func TestSandbox(t *testing.T) {
	eachMode(t, func(t *testing.T, mode env) {
		list, url, certificates := listServer(t)
		dir := t.TempDir()
		file := filepath.Join(dir, "secret")
		write := func(s client.Secret) {
			t.Helper()
			if err := os.WriteFile(file, []byte(s.String()), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(secret)
		site := startSite(t)
		settings := env{
			"SLUICE_SECRET": "", "SLUICE_SECRET_FILE": file, "SLUICE_EDGE": "custom", "SLUICE_EDGE_MODE": "opaque", "SLUICE_EDGE_RANGES": url,
			"SLUICE_EDGE_GUARD": "auto", "SSL_CERT_DIR": certificates, "SSL_CERT_FILE": "/nonexistent", "SLUICE_STATE_DIR": filepath.Join(dir, "state"),
			"SLUICE_FRONT": fmt.Sprintf("localhost:%d", site.Addr().Port()), "SLUICE_DRAIN_TIMEOUT": "20s",
		}
		r := startRig(t, settings.with(mode), sandbox.Argv(sandbox.Kill, real)...)
		if _, err := r.proxy.AwaitLog(patience, func(l stand.Line) bool { return l.Get("msg") == "a list of ranges has changed" }); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(dir, "state", "ranges")); err != nil {
			t.Errorf("the list was not kept: %v", err)
		}
		underFilter(t, r.proxy.PID())
		session := r.dial(t, client.Config{})
		for _, step := range []error{down(session, 3<<20), up(session, 3<<20)} {
			if step != nil {
				t.Fatal(step)
			}
		}
		eventually(t, "the front", func() error {
			if got := leafSeenAt(t, r.proxy.Addr()); got != leafSeenAt(t, site.Addr()) {
				return fmt.Errorf("another certificate")
			}
			return nil
		})
		write(otherSecret())
		list.Store("127.0.0.0/8\n::1/128\n")
		reload(t, r.proxy, "reloaded")
		last := r.dial(t, client.Config{Secret: otherSecret()})
		request(t, last, stand.Request{Op: stand.DownClose, Size: 32 << 20, Seed: 4})
		if err := r.proxy.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := stand.CheckRest(last, 4, 32<<20); err != nil {
			t.Errorf("the drain: %v", err)
		}
		_, _ = last.Close(), session.Close()
		select {
		case <-r.proxy.Exited():
			if err := r.proxy.Err(); err != nil {
				t.Errorf("the end: %v", err)
			}
		case <-time.After(patience):
			t.Error("still there")
		}
	})
}

// underFilter fails the test unless process pid is under a seccomp filter and can get no new privileges.
func underFilter(t *testing.T, pid int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Seccomp:\t2\n", "NoNewPrivs:\t1\n"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the process is not under the list: no %q in its status", want)
		}
	}
}

// TestSandboxTrial: a first start without settings makes its secret and keeps it, a stop (SIGSTOP) in between does no harm, and a crash
// is the crash it would be elsewhere.
func TestSandboxTrial(t *testing.T) {
	dir := shortDir(t)
	p, err := stand.StartProxy(dir, env{"SLUICE_SECRET": "", "GOTRACEBACK": "all"}, sandbox.Argv(sandbox.Kill, real)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	if info, err := os.Stat(filepath.Join(dir, "secret")); err != nil || info.Mode() != 0o600 {
		t.Errorf("the trial's secret: %v, %v", info, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "admin.sock")); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("the admin socket: %v, %v", info, err)
	}
	for range 3 {
		_ = p.Signal(syscall.SIGSTOP)
		time.Sleep(50 * time.Millisecond) // so that its threads are stopped in their sleep
		_ = p.Signal(syscall.SIGCONT)
		if _, err := p.Page("/metrics"); err != nil {
			t.Error(err)
		}
	}
	_ = p.Signal(syscall.SIGQUIT)
	<-p.Exited()
	if err := p.Err(); err == nil || err.Error() != "exit status 2" {
		t.Errorf("the end: %v, want the runtime's own", err)
	}
}

// TestSandboxCommands: the other commands, as a container engine runs one to ask for health, do under the list what they do without.
func TestSandboxCommands(t *testing.T) {
	for _, args := range [][]string{{"check"}, {"secret", "example.org"}, {"link"}, {"version"}, {"help"}, {"health"}, {"ranges", "--of", "cloudflare"}, {"doctor", "--offline"}} {
		argv := sandbox.Argv(sandbox.Kill, append([]string{real}, args...)...)
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Env = []string{"SLUICE_SECRET=" + secret.String(), "SLUICE_PUBLIC_HOST=proxy.example", "SLUICE_ADMIN_LISTEN=127.0.0.1:1"}
		out, err := cmd.CombinedOutput()
		want := map[string][]int{"health": {1}, "doctor": {0, 1}}[args[0]] // doctor's depends on the machine
		if want == nil {
			want = []int{0}
		}
		if !slices.Contains(want, cmd.ProcessState.ExitCode()) {
			t.Errorf("%v: %v, want one of the statuses %d\n%s", args, err, want, out)
		}
	}
}
