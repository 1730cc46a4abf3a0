package main

import (
	"net"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestProcessCPU compares the clock of a process with what the process itself is told.
func TestProcessCPU(t *testing.T) {
	own := func() time.Duration {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	ownBefore := own()
	before, err := processCPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for x := 1; own()-ownBefore < 100*time.Millisecond; x++ {
		_ = x * x
	}
	after, err := processCPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if d := after - before; d < 90*time.Millisecond || d > 5*time.Second {
		t.Errorf("%v for at least 100 ms", d)
	}
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := processCPU(ended.Process.Pid); err == nil {
		t.Error("the clock of a process that is not there")
	}
}

func TestDescendants(t *testing.T) {
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if got := descendants(os.Getpid()); got[0] != os.Getpid() || !slices.Contains(got, cmd.Process.Pid) {
		t.Errorf("%v lacks %d", got, cmd.Process.Pid)
	}
	_ = in.Close()
	_ = cmd.Wait()
}

func TestResident(t *testing.T) {
	before, err := resident(os.Getpid())
	if err != nil || before < 1<<20 {
		t.Fatalf("%d, %v", before, err)
	}
	const size = 32 << 20
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < size; i += 4096 {
		b[i] = 1
	}
	after, err := resident(os.Getpid())
	if err != nil || after-before < size*9/10 || after-before > size*2 {
		t.Errorf("%d more for %d, %v", after-before, size, err)
	}
	if err := unix.Munmap(b); err != nil {
		t.Fatal(err)
	}
}

func TestField(t *testing.T) {
	text := []byte("sockets: used 7\nTCP: inuse 3 orphan 0 mem 42\nRss:   900 kB\n")
	for word, want := range map[string]int64{"used": 7, "mem": 42, "Rss:": 900} {
		if got, err := field(text, word); err != nil || got != want {
			t.Errorf("%s: %d, %v", word, got, err)
		}
	}
	for _, word := range []string{"absent", "kB"} {
		if _, err := field(text, word); err == nil {
			t.Errorf("%s has a number", word)
		}
	}
}

// TestEachSocket: bytes that wait unread are found at the socket that holds them.
func TestEachSocket(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	const size = 50_000
	if _, err := a.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).AddrPort().Port()
	var held int64
	for end := time.Now().Add(10 * time.Second); held < size && time.Now().Before(end); {
		held = 0
		err := eachSocket(unix.AF_INET, func(local, _ uint16, n int64) {
			if local == port {
				held += n
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if held < size || held > 10*size {
		t.Errorf("%d bytes held, want a little over %d", held, size)
	}
}

func TestDiagMessagesRejects(t *testing.T) {
	for name, b := range map[string][]byte{
		"too short a message": append([]byte{8, 0, 0, 0}, make([]byte, 12)...),
		"too long a message":  append([]byte{200, 0, 0, 0}, make([]byte, 12)...),
		"an error":            {20, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff},
	} {
		if _, err := diagMessages(b, func(uint16, uint16, int64) {}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if got := diagHeld([]byte{3, 0, 0, 0}); got != 0 {
		t.Errorf("an attribute without a length: %d", got)
	}
}
