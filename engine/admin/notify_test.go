package admin

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func manager(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestNotify(t *testing.T) {
	for name, socket := range map[string]string{
		"path":     filepath.Join(t.TempDir(), "notify"),
		"abstract": fmt.Sprintf("@sluice-notify-test-%d", os.Getpid()),
	} {
		t.Run(name, func(t *testing.T) {
			m := manager(t, socket)
			for _, want := range []string{
				Ready,
				Stopping(30 * time.Second),
				Watchdog,
				Status("12 relays"),
				Reloading(90*time.Second + 1500*time.Nanosecond),
				Ready + "\n" + Status("serving"),
			} {
				if err := Notify(socket, want); err != nil {
					t.Fatal(err)
				}
				b := make([]byte, 4096)
				n, err := m.Read(b)
				if err != nil || string(b[:n]) != want {
					t.Errorf("got %q, %v, want %q", b[:n], err, want)
				}
			}
		})
	}
}

func TestStates(t *testing.T) {
	for got, want := range map[string]string{
		Ready:                             "READY=1",
		Stopping(45 * time.Second):        "STOPPING=1\nEXTEND_TIMEOUT_USEC=45000000",
		Watchdog:                          "WATCHDOG=1",
		Status("two\nlines"):              "STATUS=two; lines",
		Reloading(90 * time.Second):       "RELOADING=1\nMONOTONIC_USEC=90000000",
		Reloading(1999 * time.Nanosecond): "RELOADING=1\nMONOTONIC_USEC=1",
		Status("") + "\n" + Reloading(0):  "STATUS=\nRELOADING=1\nMONOTONIC_USEC=0",
		Status("FDSTORE=1\r\nMAINPID=1"):  "STATUS=FDSTORE=1; MAINPID=1",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestNotifyWithoutManager(t *testing.T) {
	if err := Notify("", Ready); err != nil {
		t.Errorf("no socket: %v", err)
	}
	if err := Notify("vsock:2:1234", Ready); !errors.Is(err, ErrNotifySocket) {
		t.Errorf("another kind of socket: %v", err)
	}
	if err := Notify(filepath.Join(t.TempDir(), "nobody"), Ready); err == nil || !strings.HasPrefix(err.Error(), "notify service manager: ") {
		t.Errorf("nobody there: %v", err)
	}
}
