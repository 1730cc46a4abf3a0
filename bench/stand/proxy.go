package stand

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
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Proxy is a running proxy process with what it has logged. Its methods may be called from any goroutine.
type Proxy struct {
	cmd    *exec.Cmd
	addrs  []netip.AddrPort
	admin  *http.Client
	exited chan struct{}
	err    error // of the exit, once exited is closed

	reading sync.Mutex // held while nobody is to read the log

	mu      sync.Mutex
	lines   []Line
	changed chan struct{}
}

// Line is a line of the proxy's log: its fields, or its text under "text" where it was no JSON.
type Line map[string]any

// Get is the field named key as text.
func (l Line) Get(key string) string {
	if v, ok := l[key]; ok {
		return fmt.Sprint(v)
	}
	return ""
}

const (
	startTime = 20 * time.Second
	keptLines = 1 << 17
)

// ErrExited says that the proxy's process has ended.
var ErrExited = errors.New("the proxy has exited")

// StartProxy runs "command... run" with env and waits until the proxy listens. The environment holds nothing but env, a PATH,
// and settings that env may override: it listens on one port of 127.0.0.1 that the kernel chooses, serves its admin page on a
// socket in dir, keeps its state in dir, and logs everything in JSON. Stop must be called.
func StartProxy(dir string, env map[string]string, command ...string) (*Proxy, error) {
	socket := filepath.Join(dir, "admin.sock")
	all := map[string]string{
		"SLUICE_LISTEN": "127.0.0.1:0", "SLUICE_ADMIN_LISTEN": "unix:" + socket, "SLUICE_STATE_DIR": dir,
		"SLUICE_LOG_FORMAT": "json", "SLUICE_LOG_LEVEL": "debug", "PATH": os.Getenv("PATH"),
	}
	for k, v := range env {
		all[k] = v
	}
	cmd := exec.Command(command[0], append(command[1:], "run")...)
	for k, v := range all {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	// Nothing that a test starts outlives it, however it ends.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	logs, err := cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	p := &Proxy{cmd: cmd, exited: make(chan struct{}), changed: make(chan struct{}), admin: adminClient(socket)}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	go p.read(logs)
	if err := p.awaitListening(); err != nil {
		p.Kill()
		return nil, fmt.Errorf("proxy: %w\n%s", err, p.Log())
	}
	return p, nil
}

func adminClient(socket string) *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}
}

// read keeps what the proxy logs until it exits.
func (p *Proxy) read(logs io.Reader) {
	scan := bufio.NewScanner(logs)
	scan.Buffer(make([]byte, 64<<10), 1<<20)
	for scan.Scan() {
		line := Line{}
		if json.Unmarshal(scan.Bytes(), &line) != nil {
			line = Line{"text": scan.Text()}
			if _, address, ok := strings.Cut(scan.Text(), " msg=listening address="); ok { // SLUICE_LOG_FORMAT=text
				line["msg"], line["address"] = "listening", address
			}
		}
		p.reading.Lock()
		p.note(line)
		p.reading.Unlock()
	}
	p.err = p.cmd.Wait()
	close(p.exited)
}

// HoldLog has nobody read what the proxy logs, until the returned function is called: its pipe fills up.
func (p *Proxy) HoldLog() (release func()) {
	p.reading.Lock()
	return p.reading.Unlock
}

func (p *Proxy) note(line Line) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.lines) < keptLines {
		p.lines = append(p.lines, line)
	}
	if line.Get("msg") == "listening" {
		if a, err := netip.ParseAddrPort(line.Get("address")); err == nil {
			p.addrs = append(p.addrs, a)
		}
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// awaitListening waits until the proxy is up, as its own health page says, and has logged every address.
func (p *Proxy) awaitListening() error {
	if _, err := p.AwaitLog(startTime, func(l Line) bool { return l.Get("msg") == "listening" }); err != nil {
		return err
	}
	deadline := time.Now().Add(startTime)
	for {
		_, err := p.Page("/healthz")
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// AwaitLog returns the first line, past or to come, that f says yes to.
func (p *Proxy) AwaitLog(limit time.Duration, f func(Line) bool) (Line, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	seen, exited := 0, p.exited
	for {
		p.mu.Lock()
		lines, changed := p.lines, p.changed
		p.mu.Unlock()
		for ; seen < len(lines); seen++ {
			if f(lines[seen]) {
				return lines[seen], nil
			}
		}
		select {
		case <-changed:
		case <-exited:
			return nil, fmt.Errorf("%w: %v", ErrExited, p.err)
		case <-timer.C:
			return nil, errors.New("the log line did not come")
		}
	}
}

// Lines are those that were logged so far.
func (p *Proxy) Lines() []Line {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lines[:len(p.lines):len(p.lines)]
}

// Log is the last of what was logged, for a failed test's message.
func (p *Proxy) Log() string {
	lines := p.Lines()
	var b strings.Builder
	for _, l := range lines[max(0, len(lines)-12):] {
		if text := l.Get("text"); text != "" {
			b.WriteString(text + "\n")
			continue
		}
		one, _ := json.Marshal(l)
		b.Write(append(bytes.TrimSpace(one), '\n'))
	}
	return b.String()
}

// Addr is the first address the proxy listens on.
func (p *Proxy) Addr() netip.AddrPort {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.addrs[0]
}

// Addrs are all the addresses the proxy listens on, in the order of its setting.
func (p *Proxy) Addrs() []netip.AddrPort {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.addrs[:len(p.addrs):len(p.addrs)]
}

// Page reads a page of the admin listener. Another status than 200 is an error.
func (p *Proxy) Page(path string) (string, error) {
	r, err := p.admin.Get("http://proxy" + path)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, r.Status, bytes.TrimSpace(b))
	}
	return string(b), err
}

// Signal sends the process a signal.
func (p *Proxy) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Exited is closed when the process has ended.
func (p *Proxy) Exited() <-chan struct{} { return p.exited }

// Err is how the process ended, nil for an exit status of 0. Valid after Exited.
func (p *Proxy) Err() error { return p.err }

// Kill ends the process at once and waits for it.
func (p *Proxy) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// Stop asks the process to end, then insists: after limit, or at once when the process is already draining.
func (p *Proxy) Stop(limit time.Duration) error {
	_ = p.Signal(syscall.SIGTERM)
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-p.exited:
		return p.err
	case <-t.C:
		p.Kill()
		return fmt.Errorf("not ended within %v of SIGTERM", limit)
	}
}
