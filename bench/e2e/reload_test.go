package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/bench/client"
	"sluice/bench/stand"
)

func otherSecret() client.Secret {
	s := secret
	s.Key[0] ^= 0xff
	return s
}

// reload sends SIGHUP and waits for what the proxy says of it.
func reload(t testing.TB, p *stand.Proxy, says string) {
	t.Helper()
	before := len(p.Lines())
	if err := p.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the reload", func() error {
		for _, l := range p.Lines()[before:] {
			if strings.HasPrefix(l.Get("msg"), says) {
				return nil
			}
		}
		return fmt.Errorf("not logged: %s", says)
	})
}

// A reload puts other secrets in force for those who come, and touches nobody who is there.
func TestReload(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(secret.String())
	r := startRig(t, env{"SLUICE_SECRET": "", "SLUICE_SECRET_FILE": file})
	session := r.dial(t, client.Config{})
	request(t, session, stand.Request{Op: stand.Echo})
	if err := echo(session, 100); err != nil {
		t.Fatal(err)
	}
	download := r.dial(t, client.Config{})
	request(t, download, stand.Request{Op: stand.Down, Size: 64 << 20, Seed: 3})
	fronted := stranger(t, r.proxy.Addr())
	request(t, fronted, stand.Request{Op: stand.Echo})
	if err := echo(fronted, 100); err != nil {
		t.Fatal(err)
	}
	early := stranger(t, r.proxy.Addr()) // its hello is under way while the secrets change
	hello := client.Hello{Host: secret.Host}.Sign(secret.Key)
	if _, err := early.Write(hello[:300]); err != nil {
		t.Fatal(err)
	}

	write(otherSecret().String())
	reload(t, r.proxy, "reloaded")
	if c, err := r.open(client.Config{}); err == nil {
		_ = c.Close()
		t.Error("the old secret is still let in")
	}
	if err := down(r.dial(t, client.Config{Secret: otherSecret()}), 1000); err != nil {
		t.Errorf("the new secret: %v", err)
	}

	write("not a secret")
	reload(t, r.proxy, "reload refused")
	if err := down(r.dial(t, client.Config{Secret: otherSecret()}), 1000); err != nil {
		t.Errorf("after a reload that was refused: %v", err)
	}
	write(secret.String() + "," + otherSecret().String())
	reload(t, r.proxy, "reloaded")
	for _, s := range []client.Secret{secret, otherSecret()} {
		if err := down(r.dial(t, client.Config{Secret: s}), 1000); err != nil {
			t.Errorf("one of two secrets: %v", err)
		}
	}

	if err := echo(session, 100_000); err != nil {
		t.Errorf("a session that lived through the reloads: %v", err)
	}
	if err := stand.CheckStream(download, 3, 64<<20); err != nil {
		t.Errorf("a download that lived through the reloads: %v", err)
	}
	if err := echo(fronted, 100_000); err != nil {
		t.Errorf("a stranger that lived through the reloads: %v", err)
	}
}

// A reload may name another front; strangers who come then see that one.
func TestReloadFront(t *testing.T) {
	file := filepath.Join(t.TempDir(), "front")
	first, second := startPlain(t), startPlain(t)
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(first.Addr().String())
	p := startProxy(t, env{"SLUICE_FRONT_FILE": file, "SLUICE_DC_2": "127.0.0.1:9"})
	old := stranger(t, p.Addr())
	if err := down(old, 10); err != nil {
		t.Fatal(err)
	}
	write(second.Addr().String())
	reload(t, p, "reloaded")
	seen := second.Accepted()
	if err := down(stranger(t, p.Addr()), 10); err != nil {
		t.Fatal(err)
	}
	if second.Accepted() == seen {
		t.Error("the new front was not asked")
	}
	if err := down(old, 1000); err != nil {
		t.Errorf("a stranger at the old front: %v", err)
	}
}

// On SIGTERM a download that runs is finished, nobody new is taken, and the process ends in good order when it is done.
func TestDrain(t *testing.T) {
	eachMode(t, func(t *testing.T, mode env) {
		settings := env{"SLUICE_DRAIN_TIMEOUT": "30s"}
		r := startRig(t, settings.with(mode))
		c := r.dial(t, client.Config{})
		const size = 96 << 20
		request(t, c, stand.Request{Op: stand.DownClose, Size: size, Seed: 4})
		if err := r.proxy.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if _, err := r.proxy.AwaitLog(patience, func(l stand.Line) bool { return l.Get("msg") == "draining" }); err != nil {
			t.Fatal(err)
		}
		eventually(t, "listeners closing", func() error {
			late, err := net.DialTimeout("tcp", r.proxy.Addr().String(), time.Second)
			if err != nil {
				return nil
			}
			_ = late.Close()
			return fmt.Errorf("a connection is still taken")
		})
		if _, err := r.proxy.Page("/healthz"); err != nil {
			t.Errorf("while draining: %v", err)
		}
		if _, err := r.proxy.Page("/readyz"); err == nil {
			t.Error("ready while draining")
		}
		if err := stand.CheckRest(c, 4, size); err != nil {
			t.Errorf("the download: %v", err)
		}
		_ = c.Close()
		select {
		case <-r.proxy.Exited():
			if err := r.proxy.Err(); err != nil {
				t.Errorf("the exit: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("still there, though nothing is left to do")
		}
	})
}

// A session that does not end by itself is cut when the time is over, and a second signal cuts everything at once.
func TestDrainEnds(t *testing.T) {
	for name, second := range map[string]bool{"its time is over": false, "a second signal": true} {
		t.Run(name, func(t *testing.T) {
			limit := "1s"
			if second {
				limit = "10m"
			}
			dc, front := startDC(t, "127.0.0.1:0"), startPlain(t)
			p, err := stand.StartProxy(shortDir(t), env{
				"SLUICE_SECRET": secret.String(), "SLUICE_DC_2": dc.Addr().String(), "SLUICE_FRONT": front.Addr().String(),
				"SLUICE_DRAIN_TIMEOUT": limit,
			}, binary)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.Kill)
			r := &rig{proxy: p, dc: dc, front: front}
			c := r.dial(t, client.Config{})
			request(t, c, stand.Request{Op: stand.Echo})
			if err := echo(c, 10); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			_ = p.Signal(syscall.SIGTERM)
			if second {
				if _, err := p.AwaitLog(patience, func(l stand.Line) bool { return l.Get("msg") == "draining" }); err != nil {
					t.Fatal(err)
				}
				_ = p.Signal(syscall.SIGTERM)
			}
			select {
			case <-p.Exited():
			case <-time.After(10 * time.Second):
				t.Fatal("still there")
			}
			if took := time.Since(began); !second && took < time.Second {
				t.Errorf("ended after %v, the session was given a second", took)
			}
			if n, err := io.Copy(io.Discard, c); n != 0 || isTimeout(err) {
				t.Errorf("the session: %d bytes, %v", n, err)
			}
		})
	}
}
