package interop

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/bench/client"
)

// machine is a systemd that runs as on a host that has just been set up with the package's files, in namespaces of its own but for the network.
type machine struct {
	t   *testing.T
	pid int
}

// bootMachine lasts until the test ends.
func bootMachine(t *testing.T) *machine {
	t.Helper()
	group, err := os.MkdirTemp(groupsDir(t), "sluice-machine-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		eventually(t, "the machine's control groups are empty", func() error { return removeGroups(group) })
	})
	fd, err := os.Open(group)
	if err != nil {
		t.Fatal(err)
	}
	defer fd.Close()
	var log lockedBuffer
	cmd := exec.Command("bash", "testdata/machine.sh", t.TempDir(), copied(t, os.Getenv("SLUICE_BIN")))
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL, UseCgroupFD: true, CgroupFD: int(fd.Fd()),
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m := &machine{t, cmd.Process.Pid}
	t.Cleanup(func() {
		if t.Failed() {
			journal, _ := m.run("journalctl", "--no-pager", "--lines=80")
			status, _ := m.run("systemctl", "status", "--no-pager", "--lines=0", "sluice")
			t.Logf("the machine:\n%s\n%s\nits journal:\n%s", log.String(), status, journal)
		}
		_ = cmd.Process.Kill() // and with it all that it has started
		_ = cmd.Wait()
	})
	eventually(t, "the machine is up", func() error {
		if state, status := m.run("systemctl", "is-active", "machine.target"); status != 0 {
			return fmt.Errorf("machine.target is %s", state)
		}
		return nil
	})
	return m
}

// groupsDir is where the hierarchy of control groups is that systemd uses.
func groupsDir(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); f[2] == "cgroup2" {
			return f[1]
		}
	}
	t.Fatal("cgroup2 must be mounted")
	return ""
}

// removeGroups removes a control group with those in it.
func removeGroups(dir string) error {
	under, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, u := range under {
		if u.IsDir() {
			if err := removeGroups(filepath.Join(dir, u.Name())); err != nil {
				return err
			}
		}
	}
	return os.Remove(dir)
}

// run has the machine run a command.
func (m *machine) run(name string, args ...string) (output string, status int) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"--target", fmt.Sprint(m.pid), "--mount", "--pid", "--cgroup", "--ipc", "--uts", name}, args...)...)
	out, _ := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), cmd.ProcessState.ExitCode()
}

func (m *machine) must(name string, args ...string) string {
	m.t.Helper()
	out, status := m.run(name, args...)
	if status != 0 {
		m.t.Fatalf("%s %s: status %d\n%s", name, strings.Join(args, " "), status, out)
	}
	return out
}

// put writes a file of the machine, which root may read.
func (m *machine) put(path, text string) {
	m.t.Helper()
	path = fmt.Sprintf("/proc/%d/root%s", m.pid, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	writeFile(m.t, path, text)
}

// change writes a drop-in for the unit.
func (m *machine) change(name, text string) {
	m.t.Helper()
	m.put("/etc/systemd/system/sluice.service.d/"+name+".conf", "[Service]\n"+text+"\n")
	m.must("systemctl", "daemon-reload")
}

// is waits until the unit's property is as wanted.
func (m *machine) is(property, want string) {
	m.t.Helper()
	eventually(m.t, property, func() error {
		if got := m.must("systemctl", "show", "--property="+property, "--value", "sluice"); got != want {
			return fmt.Errorf("%s is %q, want %q", property, got, want)
		}
		return nil
	})
}

// TestService: the unit as it is packaged, under a real systemd: the service serves with the unit's user, capabilities, sandbox and list of system calls; it is
// started again when it is killed or stands still, and not when its settings are wrong; a reload and a stop disturb no session, also a stop that
// takes longer than the unit allows for.
func TestService(t *testing.T) {
	dc := startDC(t, "127.0.0.1:0")
	at := netip.MustParseAddrPort("127.93.7.1:443")
	const settings = "SLUICE_LISTEN=127.93.7.1:443\nSLUICE_SECRET_FILE=/etc/sluice/secret\nSLUICE_FRONT=127.0.0.1:9\nSLUICE_ADMIN_LISTEN=unix:/run/sluice/admin.sock\n" +
		"SLUICE_EDGE=custom\nSLUICE_EDGE_MODE=opaque\nSLUICE_EDGE_RANGES=127.0.0.0/8\nSLUICE_EDGE_GUARD=required\n"
	m := bootMachine(t)
	settle := func(more string) {
		m.put("/etc/sluice/sluice.env", settings+"SLUICE_DC_2="+dc.Addr().String()+"\n"+more)
	}
	share := func(s client.Secret) {
		m.put("/etc/sluice/secret", s.String()+"\n")
		m.must("chown", "sluice", "/etc/sluice/secret")
		m.must("chmod", "600", "/etc/sluice/secret")
	}
	session := func(s client.Secret) (c *client.Conn) {
		t.Helper()
		eventually(t, "a client is served", func() (err error) {
			if c, err = client.Dial(context.Background(), client.Config{Addr: at, Secret: s, DC: 2}); err != nil {
				return err
			}
			if err = down(c, 1<<20); err != nil {
				c.Close()
			}
			return err
		})
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	served := func(s client.Secret) { _ = session(s).Close() }
	settle("")
	share(secret)

	m.must("systemctl", "start", "sluice")
	first := session(secret)
	if got := m.must("stat", "--format=%U %a", "/var/lib/sluice", "/run/sluice"); got != "sluice 700\nsluice 750" {
		t.Errorf("the service's directories: %s", got)
	}
	eventually(t, "the guard", func() error {
		page := m.must("curl", "-s", "--unix-socket", "/run/sluice/admin.sock", "http://admin/metrics")
		if !strings.Contains(page, "\nsluice_edge_guard 1\n") {
			return errors.New("it is not there")
		}
		return nil
	})

	other := client.Secret{Key: [16]byte{3, 3, 3}, Host: secret.Host}
	share(other)
	m.must("systemctl", "reload", "sluice")
	served(other)
	m.is("ActiveState", "active")

	m.must("systemctl", "kill", "--signal=KILL", "--kill-whom=main", "sluice")
	m.is("NRestarts", "1")
	served(other)
	if err := down(first, 1); err == nil {
		t.Error("a session has outlived its proxy")
	}

	// It stands still: the service manager misses its reports.
	m.change("watchdog", "WatchdogSec=2")
	m.must("systemctl", "restart", "sluice")
	served(other)
	m.must("systemctl", "kill", "--signal=STOP", "--kill-whom=main", "sluice")
	m.is("NRestarts", "1") // counted from the restart on
	served(other)

	// Sessions may go on for longer than the unit's own time to stop.
	settle("SLUICE_DRAIN_TIMEOUT=8s\n")
	m.change("stop", "TimeoutStopSec=2")
	m.must("systemctl", "restart", "sluice")
	last := session(other)
	began := time.Now()
	m.must("systemctl", "stop", "--no-block", "sluice")
	m.is("ActiveState", "deactivating")
	time.Sleep(time.Until(began.Add(5 * time.Second)))
	if err := down(last, 1<<20); err != nil {
		t.Errorf("a session of a service that stops: %v", err)
	}
	m.is("ActiveState", "inactive")
	m.is("Result", "success")

	// Wrong settings are wrong the next time, too.
	settle("SLUICE_EDGE=nowhere\n")
	if _, status := m.run("systemctl", "start", "sluice"); status == 0 {
		t.Error("it starts with wrong settings")
	}
	m.is("ActiveState", "failed")
	m.is("ExecMainStatus", "78")
	time.Sleep(3 * time.Second) // RestartSec is 1 s
	m.is("NRestarts", "0")
	if journal := m.must("journalctl", "--no-pager", "--output=cat", "--unit=sluice"); !strings.Contains(journal, "nowhere") || strings.Contains(journal, other.String()) {
		t.Errorf("the journal says nothing of what is wrong, or tells the secret:\n%s", journal)
	}
}
