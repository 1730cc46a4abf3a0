package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/bench/client"
	"sluice/bench/sandbox"
	"sluice/bench/stand"
)

const unit = "../../packaging/sluice.service"

// TestUnit: systemd takes the unit without a word, and finds little in reach of the service.
func TestUnit(t *testing.T) {
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	binary, err := filepath.Abs(os.Getenv("SLUICE_BIN"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "sluice.service")
	writeFile(t, path, strings.Replace(string(text), "/usr/bin/sluice", binary, 1))
	stdout, stderr, status := run(t, "", "systemd-analyze", "verify", "--man=no", path)
	if status != 0 || stdout+stderr != "" {
		t.Errorf("verify: status %d\n%s%s", status, stdout, stderr)
	}
	stdout, stderr, status = run(t, "", "systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", path)
	if status != 0 {
		t.Errorf("security: status %d\n%s%s", status, stdout, stderr)
	}
	// What systemd does not know it ignores: a word that is misspelt is one that is not there.
	writeFile(t, path, strings.Replace(string(text), "NoNewPrivileges=", "NoNewPrivilege=", 1))
	if stdout, stderr, _ = run(t, "", "systemd-analyze", "verify", "--man=no", path); !strings.Contains(stdout+stderr, "'NoNewPrivilege'") {
		t.Errorf("a misspelt key: %s%s", stdout, stderr)
	}
}

// unitValue is what the unit sets a key to.
func unitValue(t *testing.T, key string) string {
	t.Helper()
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^` + key + `=(.*)$`).FindSubmatch(text)
	if found == nil {
		t.Fatalf("the unit has no %s", key)
	}
	return string(found[1])
}

// TestUnitsCapabilities: an unprivileged user with the unit's capabilities and nothing else, under its list of system calls, listens on
// port 443, guards it in the kernel, serves, and reloads.
func TestUnitsCapabilities(t *testing.T) {
	n := newNets(t)
	dir := shortDir(t)
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	caps := strings.ToLower(strings.ReplaceAll(unitValue(t, "AmbientCapabilities"), "CAP_", "+"))
	all := "-all," + strings.ReplaceAll(caps, " ", ",")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	user := []string{
		"ip", "netns", "exec", n.inner, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=" + all, "--ambient-caps=" + all, "--bounding-set=" + all,
	}
	argv := sandbox.Argv(sandbox.Kill, copied(t, os.Getenv("SLUICE_BIN")))
	argv[0] = copied(t, self)
	p, err := stand.StartProxy(dir, env{
		"SLUICE_LISTEN": ":443", "SLUICE_SECRET": secret.String(), "SLUICE_FRONT": innerAddr + ":9", "SLUICE_DRAIN_TIMEOUT": "1s",
		"SLUICE_EDGE": "custom", "SLUICE_EDGE_MODE": "opaque", "SLUICE_EDGE_RANGES": edgeAddr, "SLUICE_EDGE_GUARD": "required",
	}, append(user, argv...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(patience); err != nil {
			t.Errorf("the proxy's end: %v\n%s", err, p.Log())
		}
	})
	wantMetric(t, p, "sluice_edge_guard", 1)
	reload(t, p)
	if _, err := p.AwaitLog(patience, func(l stand.Line) bool { return l.Get("msg") == "reloaded" }); err != nil {
		t.Error(err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Uid:\t65534\t65534", "Seccomp:\t2", "NoNewPrivs:\t1", "CapBnd:\t0000008000001400", "CapEff:\t0000008000001400"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("no %q in the status:\n%s", want, status)
		}
	}
}

// TestContainer: a container engine starts the proxy under the profile, with new privileges ruled out and without that, as nobody in a
// file system that it cannot write to; a client is served.
func TestContainer(t *testing.T) {
	for name, noNew := range map[string]bool{"no-new-privileges": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			dc := startDC(t, "127.0.0.1:0")
			bundle, state := shortDir(t), shortDir(t)
			if err := os.Chmod(state, 0o777); err != nil {
				t.Fatal(err)
			}
			writeBundle(t, bundle, state, noNew, []string{
				"SLUICE_LISTEN=127.0.0.1:0", "SLUICE_ADMIN_LISTEN=unix:/state/admin.sock", "SLUICE_SECRET=" + secret.String(), "SLUICE_LOG_FORMAT=json",
				"SLUICE_DC_2=" + dc.Addr().String(), "SLUICE_FRONT=127.0.0.1:9", "SLUICE_STATE_DIR=/state", "SLUICE_DRAIN_TIMEOUT=1s",
			})
			ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
			t.Cleanup(cancel) // last of all
			id := fmt.Sprintf("sluice-%d-%v", os.Getpid(), noNew)
			cmd := exec.CommandContext(ctx, "runc", "--root", filepath.Join(bundle, "run"), "run", "-b", bundle, id)
			var log lockedBuffer
			cmd.Stdout, cmd.Stderr = &log, &log
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			if err := cmd.Start(); err != nil {
				t.Fatalf("runc must be installed: %v", err)
			}
			t.Cleanup(func() {
				_ = cmd.Process.Signal(syscall.SIGTERM) // runc passes it on
				late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
				defer late.Stop()
				if err := cmd.Wait(); err != nil {
					t.Errorf("the end: %v\n%s", err, log.String())
				}
				_ = exec.Command("runc", "--root", filepath.Join(bundle, "run"), "delete", "--force", id).Run()
			})
			proxy := listeningAt(t, &log)
			c, err := client.Dial(context.Background(), client.Config{Addr: proxy, Secret: secret, DC: 2})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := down(c, 3<<20); err != nil {
				t.Error(err)
			}
		})
	}
}

// writeBundle makes a container of the binary alone, as the runtime specification has it.
func writeBundle(t *testing.T, bundle, state string, noNew bool, environ []string) {
	t.Helper()
	run(t, "", "runc", "spec", "-b", bundle)
	root := filepath.Join(bundle, "rootfs")
	for _, dir := range []string{"proc", "dev", "sys", "state"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(copied(t, os.Getenv("SLUICE_BIN")), filepath.Join(root, "sluice")); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(bundle, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	profile, err := os.ReadFile("../../packaging/seccomp.json")
	if err != nil {
		t.Fatal(err)
	}
	var c map[string]any
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	process, linux := c["process"].(map[string]any), c["linux"].(map[string]any)
	process["args"], process["env"], process["terminal"] = []string{"/sluice", "run"}, environ, false
	process["user"], process["noNewPrivileges"] = map[string]int{"uid": 65534, "gid": 65534}, noNew
	linux["seccomp"], linux["namespaces"] = json.RawMessage(profile), []map[string]string{{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}}
	c["mounts"] = append(c["mounts"].([]any), map[string]any{"destination": "/state", "type": "bind", "source": state, "options": []string{"bind", "rw"}})
	if text, err = json.Marshal(c); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(bundle, "config.json"), string(text))
}

var listening = regexp.MustCompile(`"msg":"listening","address":"([^"]+)"`)

// listeningAt waits until the log says where the proxy listens.
func listeningAt(t *testing.T, log *lockedBuffer) (at netip.AddrPort) {
	t.Helper()
	eventually(t, "listening", func() error {
		found := listening.FindStringSubmatch(log.String())
		if found == nil {
			return fmt.Errorf("the log says no such thing:\n%s", log.String())
		}
		var err error
		at, err = netip.ParseAddrPort(found[1])
		return err
	})
	return at
}
