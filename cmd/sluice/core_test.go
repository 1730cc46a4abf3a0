package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// keptIn says whether process pid's memory is kept out of core dumps: no file, and nothing for a program that dumps are piped to.
func keptIn(pid int) error {
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(string(limits), "Max core file size")
	if f := strings.Fields(rest); len(f) < 2 || f[0] != "0" || f[1] != "0" {
		return fmt.Errorf("the limit is %v", f[:min(len(f), 2)])
	}
	filter, err := os.ReadFile(fmt.Sprintf("/proc/%d/coredump_filter", pid))
	if err != nil {
		return err
	}
	if text := strings.TrimSpace(string(filter)); text != "00000000" {
		return fmt.Errorf("the filter is %s", text)
	}
	return nil
}

// TestNoCores: the limit is there before the first secret is read, which here waits in a pipe, and while clients are carried. A crash
// then leaves no file.
func TestNoCores(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "secret")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := keptIn(os.Getpid()); err == nil {
		t.Fatal("this process has the limit already: the test would say nothing")
	}
	r := prepare(t, "SLUICE_SECRET_FILE="+fifo, "SLUICE_FRONT=127.0.0.1:9", "GOTRACEBACK=crash")
	r.Dir = t.TempDir()
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Process.Kill(); _ = r.Wait() })
	secret := openWriter(t, fifo)
	if err := keptIn(r.Process.Pid); err != nil {
		t.Errorf("before the secret is read: %v", err)
	}
	if _, err := secret.WriteString("ee00112233445566778899aabbccddeeff6578616d706c652e6f7267\n"); err != nil {
		t.Fatal(err)
	}
	_ = secret.Close()
	r.hear("READY=1")
	if err := keptIn(r.Process.Pid); err != nil {
		t.Errorf("while it serves: %v", err)
	}
	r.signal(syscall.SIGABRT)
	_ = r.status()
	if ws := r.ProcessState.Sys().(syscall.WaitStatus); !ws.Signaled() || ws.CoreDump() {
		t.Errorf("the end: %v, core dumped: %v", ws, ws.CoreDump())
	}
	if names, err := os.ReadDir(r.Dir); err != nil || len(names) != 0 {
		t.Errorf("left behind: %v, %v", names, err)
	}
	if strings.Contains(r.stderr.String(), "33445566") {
		t.Errorf("the traceback shows the key:\n%s", &r.stderr)
	}
}

// openWriter waits until somebody reads the pipe.
func openWriter(t *testing.T, path string) *os.File {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err == nil {
			t.Cleanup(func() { _ = f.Close() })
			return f
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
