package e2e

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	endian "encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/bench/client"
	"sluice/bench/stand"
)

// traces are the ways in which a key, or a good part of it, could be written in a text: digits, base64 at each of the three places it
// can start at, bytes as package fmt and as a traceback print them, words as a traceback prints those.
func traces(key [16]byte) map[string]string {
	all := map[string]string{
		"raw": string(key[4:12]), "hex": hex.EncodeToString(key[4:12]), "HEX": strings.ToUpper(hex.EncodeToString(key[4:12])),
		"bytes": strings.Trim(fmt.Sprint(key[2:8]), "[]"), "bytes, commas": strings.ReplaceAll(strings.Trim(fmt.Sprint(key[2:8]), "[]"), " ", ", "),
		"traceback's bytes": fmt.Sprintf("%#x, %#x, %#x, %#x", key[0], key[1], key[2], key[3]),
		"first word":        fmt.Sprintf("%x", endian.LittleEndian.Uint64(key[:])), "second word": fmt.Sprintf("%x", endian.LittleEndian.Uint64(key[8:])),
	}
	for i := range 3 {
		whole := (len(key) - i) / 3 * 3
		for name, c := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			all[fmt.Sprintf("%s from %d", name, i)] = c.EncodeToString(key[i : i+whole])[4:16]
		}
	}
	return all
}

// leaks are the ways in which what must be kept stands in a text.
func leaks(text string, key [16]byte, token string) (found []string) {
	for name, trace := range traces(key) {
		if strings.Contains(text, trace) {
			found = append(found, name)
		}
	}
	if strings.Contains(text, token[:12]) {
		found = append(found, "token")
	}
	return found
}

func secretsOfTheDay(t *testing.T) (client.Secret, string) {
	t.Helper()
	s, token := client.Secret{Host: secret.Host}, make([]byte, 24)
	_, _ = rand.Read(s.Key[:])
	_, _ = rand.Read(token)
	return s, hex.EncodeToString(token)
}

// TestLeaksAreSeen: what TestNoLeaks looks for, it finds.
func TestLeaksAreSeen(t *testing.T) {
	s, token := secretsOfTheDay(t)
	raw, err := hex.DecodeString(s.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		s.String(), strings.ToUpper(s.String()), base64.StdEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw),
		string(raw), hex.EncodeToString(s.Key[:]), base64.StdEncoding.EncodeToString(s.Key[:]), fmt.Sprint(s.Key), fmt.Sprintf("%+v", struct{ Key any }{s.Key}),
		fmt.Sprintf("f(%#x, %#x)", endian.LittleEndian.Uint64(s.Key[:]), 3), "Bearer " + token,
	} {
		if len(leaks("before "+text+" after", s.Key, token)) == 0 {
			t.Errorf("not seen: %q", text)
		}
	}
	if found := leaks(secret.String()+" and other text", s.Key, token); len(found) > 0 {
		t.Errorf("seen where it is not: %v", found)
	}
}

// TestNoLeaks: at every level and in every form of the log, whatever clients, strangers and operators do, neither the secret nor the token
// gets into the log, onto the pages, into what the commands print, into the list of processes, or into the traceback of a crash.
func TestNoLeaks(t *testing.T) {
	for _, level := range []string{"debug", "info", "warn", "error"} {
		for _, format := range []string{"text", "json"} {
			t.Run(level+" "+format, func(t *testing.T) { leakFree(t, level, format) })
		}
	}
}

// leaky is a proxy with every occasion to tell what it must not.
type leaky struct {
	*rig
	t       *testing.T
	dir     string
	manager *net.UnixConn // the service manager, as the proxy sees it
	secret  client.Secret
	token   string
	env     env
	told    map[string]string // what was said, by where
}

func leakFree(t *testing.T, level, format string) {
	l := startLeaky(t, format)
	l.write("level", level) // in force from the next reload: the line of where it listens has to be logged
	l.reload()
	l.visitEverybody()
	l.makeMistakes(level)
	if err := down(l.dial(t, client.Config{Secret: l.secret}), 1000); err != nil {
		t.Fatalf("after the mistakes: %v", err)
	}
	l.collect()
	for where, text := range l.told {
		if found := leaks(text, l.secret.Key, l.token); len(found) > 0 {
			t.Errorf("%s shows it (%v)", where, found)
			for line := range strings.Lines(text) {
				if len(leaks(line, l.secret.Key, l.token)) > 0 {
					t.Logf("%.300q", line)
				}
			}
		}
	}
}

func startLeaky(t *testing.T, format string) *leaky {
	t.Helper()
	l := &leaky{t: t, dir: shortDir(t), told: map[string]string{}}
	l.secret, l.token = secretsOfTheDay(t)
	dc, front := startDC(t, "127.0.0.1:0"), startPlain(t)
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(l.dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = manager.Close() })
	l.manager = manager
	l.env = env{
		"SLUICE_LOG_FORMAT": format, "SLUICE_DC_2": dc.Addr().String(), "SLUICE_DC_3": "127.0.0.1:9", "SLUICE_PROXY_PROTOCOL": "optional",
		"SLUICE_ADMIN_LISTEN": "unix:" + filepath.Join(l.dir, "admin.sock"), "SLUICE_STATE_DIR": l.dir, "GOTRACEBACK": "system",
		"NOTIFY_SOCKET": filepath.Join(l.dir, "notify"), "SLUICE_LOG_LEVEL": "", "SLUICE_LISTEN": "", // which are in files
		"SLUICE_SECRET_FILE": l.write("secret", l.secret.String()), "SLUICE_ADMIN_TOKEN_FILE": l.write("token", l.token),
		"SLUICE_FRONT_FILE": l.write("front", front.Addr().String()), "SLUICE_LOG_LEVEL_FILE": l.write("level", "info"),
		"SLUICE_LISTEN_FILE": l.write("listen", "127.0.0.1:0"),
	}
	p, err := stand.StartProxy(l.dir, l.env, binary)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	l.rig = &rig{proxy: p, dc: dc, front: front}
	return l
}

func (l *leaky) write(name, text string) string {
	l.t.Helper()
	path := filepath.Join(l.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return path
}

// reload returns when the proxy says that it has.
func (l *leaky) reload() {
	l.t.Helper()
	if err := l.proxy.Signal(syscall.SIGHUP); err != nil {
		l.t.Fatal(err)
	}
	_ = l.manager.SetReadDeadline(time.Now().Add(patience))
	buf, began := make([]byte, 4096), false
	for {
		n, err := l.manager.Read(buf)
		if err != nil {
			l.t.Fatalf("the reload: %v", err)
		}
		said := string(buf[:n])
		l.told["what the service manager hears"] += said + "\n"
		began = began || strings.HasPrefix(said, "RELOADING=1")
		if began && strings.HasPrefix(said, "READY=1") {
			return
		}
	}
}

// makeMistakes puts into each file what it must not have, and in the end what it had.
func (l *leaky) makeMistakes(level string) {
	l.t.Helper()
	hexed := l.secret.String()
	good := map[string]string{"secret": hexed, "token": l.token, "front": l.front.Addr().String(), "level": level, "listen": "127.0.0.1:0"}
	for name, was := range good {
		for _, bad := range []string{"dd" + hexed[2:34], hexed[2:34], hexed[:33], l.token, hexed + "!", l.token + "!", "tg://proxy?secret=" + hexed} {
			l.write(name, bad)
			l.reload()
		}
		l.write(name, was)
	}
	l.reload()
}

// collect asks for all that the proxy and its commands say, and ends it with a traceback of everything.
func (l *leaky) collect() {
	t, p := l.t, l.proxy
	t.Helper()
	for _, page := range []string{"/healthz", "/readyz", "/metrics", "/", "/debug/pprof/"} {
		text, err := p.Page(page)
		l.told[page] = fmt.Sprint(text, err)
	}
	l.told["/metrics with the token"] = l.metrics()
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	l.told["the list of processes"] = string(cmdline)
	l.told["check"] = l.command("check", nil)
	l.told["health"] = l.command("health", nil)
	l.told["run, refused"] = l.command("run", env{"SLUICE_IDLE_TIMEOUT": l.secret.String(), "SLUICE_EDGE": l.token})
	if err := p.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	<-p.Exited()
	for _, line := range p.Lines() {
		one, _ := json.Marshal(line)
		l.told["the log"] += line.Get("text") + "\n" + string(one) + "\n"
	}
	for where, want := range map[string]string{
		"the log": "goroutine ", "/metrics": "401", "/metrics with the token": "sluice_accepted_total", "check": "SLUICE_ADMIN_TOKEN", "health": "healthy\n",
		"run, refused": "SLUICE_IDLE_TIMEOUT", "the list of processes": "run", "/healthz": "ok",
	} {
		if !strings.Contains(l.told[where], want) {
			t.Errorf("%s: %q, want %q in it", where, l.told[where], want)
		}
	}
}

// metrics is the page, asked for with the token.
func (l *leaky) metrics() string {
	l.t.Helper()
	c, err := net.Dial("unix", filepath.Join(l.dir, "admin.sock"))
	if err != nil {
		l.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, "GET /metrics HTTP/1.0\r\nAuthorization: Bearer "+l.token+"\r\n\r\n"); err != nil {
		l.t.Fatal(err)
	}
	page, err := io.ReadAll(c)
	if err != nil {
		l.t.Fatal(err)
	}
	return string(page)
}

// command is what a command of the proxy prints, with the proxy's own settings and more.
func (l *leaky) command(name string, more env) string {
	cmd := exec.Command(binary, name)
	for k, v := range l.env.with(more) {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	out, _ := cmd.CombinedOutput()
	return string(out)
}

// visitEverybody sends who may come: a client, a second one with the same hello, one with another key, with another name, with a wrong
// clock, with garbage for a frame, for a DC that is not there, and strangers.
func (l *leaky) visitEverybody() {
	t, s := l.t, l.secret
	t.Helper()
	if err := down(l.dial(t, client.Config{Secret: s}), 100_000); err != nil {
		t.Fatal(err)
	}
	hello := client.Hello{Host: s.Host}.Sign(s.Key)
	late := client.Hello{Host: s.Host, Time: time.Now().AddDate(-1, 0, 0)}
	for _, said := range [][]byte{
		hello, hello, client.Hello{Host: s.Host}.Foreign(), client.Hello{Host: "other.example"}.Sign(s.Key), late.Sign(s.Key), hello[:100],
		append([]byte("PROXY TCP4 192.0.2.7 192.0.2.1 5555 443\r\n"), hello...), []byte("PROXY TCP4 nonsense\r\n"), []byte(s.String()), s.Key[:],
		[]byte("GET /?secret=" + s.String() + " HTTP/1.1\r\n\r\n"), append(client.Hello{Host: s.Host}.Sign(s.Key), bytes.Repeat(s.Key[:], 10)...),
	} {
		c := stranger(t, l.proxy.Addr())
		_, _ = c.Write(said)
		_ = c.CloseWrite()
		_, _ = io.Copy(io.Discard, c) // until it has been dealt with
	}
	if c, err := l.open(client.Config{Secret: s, DC: 3}); err == nil {
		_, _ = c.Write(make([]byte, 100))
		_, _ = io.Copy(io.Discard, c)
		_ = c.Close()
	}
}
