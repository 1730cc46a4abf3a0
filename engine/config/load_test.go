package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func mustLoad(t *testing.T, environ ...string) *Config {
	t.Helper()
	c, err := Load(environ)
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	return c
}

func problemsOf(t *testing.T, environ ...string) Problems {
	t.Helper()
	c, err := Load(environ)
	var ps Problems
	if !errors.As(err, &ps) {
		t.Fatalf("load: %v, want problems", err)
	}
	if c != nil {
		t.Error("a Config came with the problems")
	}
	return ps
}

func TestTrialDefaults(t *testing.T) {
	c := mustLoad(t, "HOME=/home/op")
	want := &Config{
		Listen: []netip.AddrPort{netip.MustParseAddrPort("[::]:8443")}, Edge: Edge{Profile: "none"}, Edges: []Edge{{Profile: "none"}},
		EdgeRefresh: 24 * time.Hour, Front: Front{Builtin: true},
		PublicPort: 8443, DC: map[int][]netip.AddrPort{}, AlignedDownloads: true,
		ClockBehind: 5 * time.Minute, ClockAhead: 30 * time.Second, AdminListen: "127.0.0.1:9180",
		StateDir: "/home/op/.local/state/sluice", LogLevel: slog.LevelInfo, LogFormat: "text",
		DrainTimeout: 30 * time.Second, IdleTimeout: 330 * time.Second, KeepAlive: time.Minute, HandshakeTimeout: 10 * time.Second, Trial: true,
	}
	diffConfig(t, want, c)
	for _, line := range c.Effective() {
		if !line.Default || line.Source != "default" {
			t.Errorf("%s: source %q of a setting nobody set", line.Variable, line.Source)
		}
	}
}

func TestEverySetting(t *testing.T) {
	c := mustLoad(t,
		"SLUICE_SECRET="+sample.Hex(), "SLUICE_LISTEN=192.0.2.7:443, [2001:db8::7]:443,localhost:0", "SLUICE_PUBLIC_HOST=Proxy.Example.org",
		"SLUICE_PUBLIC_PORT=4430", "SLUICE_FRONT=unix:/run/web.sock", "SLUICE_FRONT_PROXY_PROTOCOL=V2", "SLUICE_PROXY_PROTOCOL=required",
		"SLUICE_EDGE=aws-nlb", "SLUICE_EDGE_MODE=proxy", "SLUICE_EDGE_RANGES=none", "SLUICE_EDGE_REFRESH=90m", "SLUICE_EDGE_OUTSIDERS=front", "SLUICE_EDGE_GUARD=off",
		"SLUICE_IP_PREFERENCE=prefer-ipv6", "SLUICE_DC_2=192.0.2.1:80, 2001:db8::2", "SLUICE_DC_203=[::1]:1", "SLUICE_DC_TEST_3=127.0.0.1:2",
		"SLUICE_ALIGNED_DOWNLOADS=off", "SLUICE_HYBRID_KEY_SHARE=on", "SLUICE_CLOCK_SKEW=90s", "SLUICE_MAX_CONNECTIONS=77",
		"SLUICE_HANDSHAKE_TIMEOUT=3s", "SLUICE_IDLE_TIMEOUT=1h", "SLUICE_KEEPALIVE=2m", "SLUICE_DRAIN_TIMEOUT=0", "SLUICE_ADMIN_LISTEN=/run/admin.sock",
		"SLUICE_ADMIN_TOKEN="+sampleToken, "SLUICE_STATE_DIR=/srv/sluice/", "SLUICE_LOG_LEVEL=warn", "SLUICE_LOG_FORMAT=json")
	nlb := Edge{Profile: "aws-nlb", Mode: Proxied, Header: Required, Outsiders: ToFront}
	want := &Config{
		Listen: []netip.AddrPort{
			netip.MustParseAddrPort("192.0.2.7:443"), netip.MustParseAddrPort("[2001:db8::7]:443"), netip.MustParseAddrPort("127.0.0.1:0"),
		},
		Secrets: []Secret{sample}, Front: Front{Network: "unix", Host: "/run/web.sock"}, FrontProxyProtocol: 2,
		Edge: nlb, Edges: []Edge{nlb, nlb, nlb}, EdgeRefresh: 90 * time.Minute, EdgeGuard: GuardOff,
		DC: map[int][]netip.AddrPort{
			2:     {netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("[2001:db8::2]:443")},
			203:   {netip.MustParseAddrPort("[::1]:1")},
			10003: {netip.MustParseAddrPort("127.0.0.1:2")},
		},
		IPPreference: PreferIPv6, PublicHost: "proxy.example.org", PublicPort: 4430, HybridKeyShare: true,
		ClockBehind: 90 * time.Second, ClockAhead: 90 * time.Second, MaxConnections: 77, AdminListen: "unix:/run/admin.sock", AdminToken: sampleToken,
		StateDir: "/srv/sluice", LogLevel: slog.LevelWarn, LogFormat: "json",
		IdleTimeout: time.Hour, KeepAlive: 2 * time.Minute, HandshakeTimeout: 3 * time.Second,
	}
	diffConfig(t, want, c)
}

// The public name is ours, wherever it leads: behind a CDN not even its addresses tell.
func TestFrontIsNotThePublicName(t *testing.T) {
	host := "SLUICE_PUBLIC_HOST=" + sample.Host
	for _, env := range [][]string{
		{"SLUICE_SECRET=" + sample.Hex(), host, "SLUICE_PUBLIC_PORT=443"}, // the default front
		{"SLUICE_SECRET=" + sample.Hex(), host, "SLUICE_LISTEN=:8443", "SLUICE_FRONT=" + strings.ToUpper(sample.Host) + ":8443"},
	} {
		if text := problemsOf(t, env...).Error(); !strings.Contains(text, "FRONT: "+sample.Host) || !strings.Contains(text, "for ever") {
			t.Errorf("%v: %s", env, text)
		}
	}
	mustLoad(t, "SLUICE_SECRET="+sample.Hex(), host, "SLUICE_PUBLIC_PORT=443", "SLUICE_FRONT="+sample.Host+":8443")
	mustLoad(t, "SLUICE_SECRET="+sample.Hex(), host, "SLUICE_PUBLIC_PORT=443", "SLUICE_FRONT=127.0.0.1:443", "SLUICE_LISTEN=127.0.0.2:443")
}

// diffConfig compares what the operator set, not the lines that describe it.
func diffConfig(t *testing.T, want, got *Config) {
	t.Helper()
	bare := *got
	bare.lines, bare.Warnings = nil, nil
	same := cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
	keys := cmp.Transformer("key", func(s Secret) string { return s.Hex() })
	if diff := cmp.Diff(want, &bare, same, keys, cmp.AllowUnexported(Config{})); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct{ name, variable, value, text string }{
		{"listen without port", "LISTEN", "192.0.2.1", "has no :port"},
		{"listen on a name", "LISTEN", "example.org:443", "is not an address"},
		{"listen on port 65536", "LISTEN", ":65536", "is not a port"},
		{"listen twice", "LISTEN", ":443,[::]:443", "given twice"},
		{"listen on bare IPv6", "LISTEN", "2001:db8::1:443", "too many colons"},
		{"listen with half a bracket", "LISTEN", "[::1:443", "misplaced brackets"},
		{"listen on bracketed IPv4", "LISTEN", "[192.0.2.1]:443", "misplaced brackets"},
		{"listen list with a hole", "LISTEN", ":443,", "has no :port"},
		{"front is a URL", "FRONT", "https://example.org", "is a URL"},
		{"front port 0", "FRONT", "example.org:0", "is not a port"},
		{"front is everything", "FRONT", "0.0.0.0:443", "not an address to connect to"},
		{"front path is relative", "FRONT", "unix:run/web.sock", "begin with a slash"},
		{"front path is missing", "FRONT", "Unix", "without its path"},
		{"front path is long", "FRONT", "unix:/" + strings.Repeat("x", 107), "107 bytes at most"},
		{"front path ends with a blank", "FRONT", "/ /", "must not end with a blank"},
		{"two fronts for every name", "FRONT", "127.0.0.1:1,127.0.0.1:2", "are both for every name"},
		{"no front for every name", "FRONT", "a.example=127.0.0.1:1", "no front for all other names"},
		{"two fronts for a name", "FRONT", "127.0.0.1:1,a.example=127.0.0.1:2,A.example=127.0.0.1:3", "has two fronts"},
		{"a front for no name", "FRONT", "127.0.0.1:1,=127.0.0.1:2", "name is empty"},
		{"a front for half a name", "FRONT", "127.0.0.1:1,a.*=127.0.0.1:2", "may hold only letters"},
		{"a name without a front", "FRONT", "127.0.0.1:1,a.example=", "name is empty"},
		{"a name's front is the proxy", "FRONT", "127.0.0.1:1,a.example=127.0.0.1:8443", "own address"},
		{"front name has a blank", "FRONT", "exam ple.org:443", "may hold only letters"},
		{"front is the proxy", "FRONT", "127.0.0.1:8443", "own address"},
		{"front is the proxy by name", "FRONT", "localhost:8443", "own address"},
		{"public host with port", "PUBLIC_HOST", "example.org:443", "is not a name or an address"},
		{"public host unspecified", "PUBLIC_HOST", "::", "every address"},
		{"public port 0", "PUBLIC_PORT", "0", "not a port"},
		{"policy", "PROXY_PROTOCOL", "on", "not a choice"},
		{"header version", "FRONT_PROXY_PROTOCOL", "3", "not a choice"},
		{"preference", "IP_PREFERENCE", "ipv5", "not a choice"},
		{"DC by name", "DC_1", "venus.example.org:443", "not an address and port"},
		{"DC port 0", "DC_5", "192.0.2.1:0", "not an address to connect to"},
		{"DC list with a hole", "DC_5", "192.0.2.1,,192.0.2.2", "not an address and port"},
		{"switch", "ALIGNED_DOWNLOADS", "yes", "not a choice"},
		{"skew without unit", "CLOCK_SKEW", "300", "has no unit"},
		{"skew too small", "CLOCK_SKEW", "5m,0s", "outside 1s to 24h"},
		{"skew of three", "CLOCK_SKEW", "1m,1m,1m", "not a duration"},
		{"connections in words", "MAX_CONNECTIONS", "many", "not a whole number"},
		{"connections below zero", "MAX_CONNECTIONS", "-1", "outside 0 to"},
		{"handshake too long", "HANDSHAKE_TIMEOUT", "1h", "outside 1s to 2m"},
		{"idle too short", "IDLE_TIMEOUT", "1s", "outside 10s to 24h"},
		{"idle too long", "IDLE_TIMEOUT", "24h1s", "outside 10s to 24h"},
		{"keep-alive too short", "KEEPALIVE", "9.9s", "outside 10s to 10m"},
		{"keep-alive too long", "KEEPALIVE", "10m1s", "outside 10s to 10m"},
		{"keep-alive of nothing", "KEEPALIVE", "0", "outside 10s to 10m"},
		{"keep-alive in words", "KEEPALIVE", "never", "not a duration"},
		{"drain below zero", "DRAIN_TIMEOUT", "-1s", "outside 0s to 24h"},
		{"admin without port", "ADMIN_LISTEN", "127.0.0.1", "has no :port"},
		{"admin path is relative", "ADMIN_LISTEN", "unix:sock", "begin with a slash"},
		{"state dir is relative", "STATE_DIR", "state", "begin with a slash"},
		{"level", "LOG_LEVEL", "trace", "not a choice"},
		{"format", "LOG_FORMAT", "xml", "not a choice"},
		{"no secret in the list", "SECRET", ",", "holds no secret"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ps := problemsOf(t, Prefix+tt.variable+"="+tt.value)
			if len(ps) != 1 || ps[0].Variable != Prefix+tt.variable || !strings.Contains(ps[0].Text, tt.text) {
				t.Errorf("got %+v, want one of %s that says %q", ps, tt.variable, tt.text)
			}
			if strings.HasSuffix(ps[0].Text, ".") {
				t.Errorf("%q ends with a full stop", ps[0].Text)
			}
		})
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	ps := problemsOf(t, "SLUICE_LOG_LEVEL=loud", "SLUICE_LISTEN=x", "SLUICE_SECRET=ee", "SLUICE_LISTNE=:1",
		"SLUICE_DC_1=[::1]:1", "SLUICE_IP_PREFERENCE=only-ipv4")
	var got []string
	for _, p := range ps {
		got = append(got, p.Variable)
	}
	want := []string{"SLUICE_SECRET", "SLUICE_LISTEN", "SLUICE_DC_1", "SLUICE_LOG_LEVEL", "SLUICE_LISTNE"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if lines := strings.Split(ps.Error(), "\n"); len(lines) < len(want) {
		t.Errorf("%d lines for %d problems", len(lines), len(want))
	}
}

// TestSecretsAreNeverEchoed puts a secret into every variable and its file variable, whole and damaged.
func TestSecretsAreNeverEchoed(t *testing.T) {
	hexKey := sample.Hex()[2:34]
	for _, s := range settings {
		for _, value := range []string{sample.Hex(), sample.Base64(), hexKey, sample.Hex() + "!", "x," + sample.Hex(), sample.Hex() + ":443", "[" + hexKey + "]:1"} {
			for _, name := range []string{Prefix + s.name, Prefix + s.name + "_FILE"} {
				var told strings.Builder
				c, err := Load([]string{name + "=" + value})
				fmt.Fprintln(&told, err)
				if c != nil {
					fmt.Fprintf(&told, "%v %+v %#v %v", c.Effective(), c.Secrets, c.Secrets, c.Warnings)
				}
				for _, part := range []string{hexKey, hexKey[:16], sample.Base64()[:20]} {
					if strings.Contains(told.String(), part) {
						t.Errorf("%s=%s: the key shows in %s", name, value, &told)
					}
				}
			}
		}
	}
}

func TestUnknownNames(t *testing.T) {
	for _, tt := range []struct{ name, hint string }{
		{"SLUICE_LISTNE", "did you mean SLUICE_LISTEN?"},
		{"SLUICE_SECRETS", "did you mean SLUICE_SECRET?"},
		{"SLUICE_SECRETS_FILE", "did you mean SLUICE_SECRET_FILE?"},
		{"SLUICE_BIND_TO", "did you mean SLUICE_LISTEN?"},
		{"SLUICE_DC_6", "did you mean SLUICE_DC_1?"},
		{"SLUICE_QUETZALCOATLUS", "sluice check lists every setting"},
		{"SLUICE_PORT", "did you mean SLUICE_LISTEN?"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ps := problemsOf(t, tt.name+"=1")
			if want := (Problem{Variable: tt.name, Text: "is not a setting", Hint: tt.hint}); len(ps) != 1 || ps[0] != want {
				t.Errorf("got %+v, want %+v", ps, want)
			}
		})
	}
}

func TestKubernetesServiceVariables(t *testing.T) {
	mustLoad(t, "SLUICE_SERVICE_HOST=10.0.0.1", "SLUICE_SERVICE_PORT=443", "SLUICE_SERVICE_PORT_MTPROTO=443",
		"SLUICE_PORT=tcp://10.0.0.1:443", "SLUICE_PORT_443_TCP=tcp://10.0.0.1:443", "SLUICE_PORT_443_TCP_PROTO=tcp",
		"SLUICE_PORT_443_TCP_PORT=443", "SLUICE_PORT_443_TCP_ADDR=10.0.0.1", "SLUICE_ADMIN_SERVICE_HOST=10.0.0.2",
		"SLUICE_ADMIN_PORT=tcp://10.0.0.2:9180")
}

func TestEmptyIsUnset(t *testing.T) {
	c := mustLoad(t, "SLUICE_LISTEN=", "SLUICE_SECRET= ", "SLUICE_SECRET_FILE=", "SLUICE_NO_SUCH_THING=")
	if !c.Trial || c.Listen[0].Port() != 8443 {
		t.Errorf("trial %v, listen %v: want the defaults", c.Trial, c.Listen)
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	secret := write("secret", sample.Hex()+"\n")
	t.Run("value and source", func(t *testing.T) {
		c := mustLoad(t, "SLUICE_SECRET_FILE="+secret, "SLUICE_LOG_LEVEL_FILE="+write("level", "debug\r\n"))
		if len(c.Secrets) != 1 || c.Secrets[0] != sample || c.LogLevel != slog.LevelDebug || len(c.Warnings) != 0 {
			t.Errorf("got %v, level %v, warnings %v", c.Secrets, c.LogLevel, c.Warnings)
		}
		want := Line{Variable: "SLUICE_SECRET", Value: "ee…example.org", Source: "file " + secret}
		if got := c.Effective()[0]; got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
	t.Run("several secrets, one a line", func(t *testing.T) {
		other := sample
		other.Key[0]++
		c := mustLoad(t, "SLUICE_SECRET_FILE="+write("two", sample.Hex()+"\n"+other.Base64()+"\n"))
		if len(c.Secrets) != 2 || c.Secrets[1] != other {
			t.Errorf("got %d secrets", len(c.Secrets))
		}
	})
	t.Run("readable by others", func(t *testing.T) {
		open := write("open", sample.Hex())
		if err := os.Chmod(open, 0o644); err != nil {
			t.Fatal(err)
		}
		if c := mustLoad(t, "SLUICE_SECRET_FILE="+open); len(c.Warnings) != 1 {
			t.Errorf("warnings %v, want one", c.Warnings)
		}
	})
	for _, tt := range []struct {
		name, variable, text string
		environ              []string
	}{
		{"both", "SLUICE_SECRET", "given twice", []string{"SLUICE_SECRET=" + sample.Hex(), "SLUICE_SECRET_FILE=" + secret}},
		{"missing", "SLUICE_SECRET_FILE", "no such file", []string{"SLUICE_SECRET_FILE=" + dir + "/none"}},
		{"a folder", "SLUICE_SECRET_FILE", "is a directory", []string{"SLUICE_SECRET_FILE=" + dir}},
		{"empty", "SLUICE_SECRET_FILE", "file is empty", []string{"SLUICE_SECRET_FILE=" + write("empty", "\n")}},
		{"huge", "SLUICE_SECRET_FILE", "larger than", []string{"SLUICE_SECRET_FILE=" + write("huge", strings.Repeat("x", maxFile+1))}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ps := problemsOf(t, tt.environ...)
			if len(ps) != 1 || ps[0].Variable != tt.variable || !strings.Contains(ps[0].Text, tt.text) {
				t.Errorf("got %+v", ps)
			}
		})
	}
}

func TestFronts(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       Front
	}{
		{"name and port", "Example.ORG:8443", Front{Network: "tcp", Host: "example.org", Port: 8443}},
		{"name alone", "example.org", Front{Network: "tcp", Host: "example.org", Port: 443}},
		{"container name", "web_1:80", Front{Network: "tcp", Host: "web_1", Port: 80}},
		{"IPv4", "192.0.2.1:444", Front{Network: "tcp", Host: "192.0.2.1", Port: 444}},
		{"IPv6", "[2001:db8::1]:444", Front{Network: "tcp", Host: "2001:db8::1", Port: 444}},
		{"IPv6 alone", "2001:db8::1", Front{Network: "tcp", Host: "2001:db8::1", Port: 443}},
		{"mapped IPv4", "[::ffff:192.0.2.1]:1", Front{Network: "tcp", Host: "192.0.2.1", Port: 1}},
		{"unix", "unix:/run/a", Front{Network: "unix", Host: "/run/a"}},
		{"path", "/run/a", Front{Network: "unix", Host: "/run/a"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseFront(tt.text)
			if err != nil || got != tt.want {
				t.Fatalf("got %+v, %v, want %+v", got, err, tt.want)
			}
			if again, err := parseFront(got.String()); err != nil || again != got {
				t.Errorf("%q reads back as %+v, %v", got, again, err)
			}
		})
	}
	t.Run("named", func(t *testing.T) {
		for text, want := range map[string]bool{"example.org": true, "web:80": true, "localhost:80": false, "192.0.2.1": false, "[::1]:444": false, "/run/a": false} {
			if f, err := parseFront(text); err != nil || f.Named() != want {
				t.Errorf("%s: %v, %v", text, f.Named(), err)
			}
		}
	})
	t.Run("names of their own", func(t *testing.T) {
		text := "127.0.0.1:8444,blog.example.org=unix:/run/a=b.sock,*.example.net=shop:444"
		c := mustLoad(t, "SLUICE_SECRET="+sample.Base64(), "SLUICE_FRONT=*.Example.NET = shop:444, /run/x=y,blog.example.org=1.2.3.4", "SLUICE_LISTEN=:1")
		if got, want := showFronts(c), "unix:/run/x=y,*.example.net=shop:444,blog.example.org=1.2.3.4:443"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got := showFronts(mustLoad(t, "SLUICE_SECRET="+sample.Base64(), "SLUICE_FRONT="+text, "SLUICE_LISTEN=:1")); got != text {
			t.Errorf("%s reads back as %s", text, got)
		}
	})
	t.Run("each secret's host", func(t *testing.T) {
		second := Secret{Key: [16]byte{2}, Host: "second.example"}
		c := mustLoad(t, "SLUICE_SECRET="+sample.Hex()+","+second.Hex()+","+Secret{Key: [16]byte{3}, Host: second.Host}.Hex())
		if got, want := showFronts(c), "example.org:443,second.example=second.example:443"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
	t.Run("the secret's host", func(t *testing.T) {
		c := mustLoad(t, "SLUICE_SECRET="+sample.Base64())
		if want := (Front{Network: "tcp", Host: "example.org", Port: 443}); c.Front != want || c.Trial {
			t.Errorf("got %+v, trial %v", c.Front, c.Trial)
		}
	})
}

func TestStateDir(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		environ    []string
	}{
		{"set", "/a", []string{"SLUICE_STATE_DIR=/a", "STATE_DIRECTORY=/b", "HOME=/d"}},
		{"systemd", "/b", []string{"STATE_DIRECTORY=/b:/bb", "XDG_STATE_HOME=/c", "HOME=/d"}},
		{"xdg", "/c/sluice", []string{"XDG_STATE_HOME=/c", "HOME=/d"}},
		{"home", "/d/.local/state/sluice", []string{"XDG_STATE_HOME=relative", "HOME=/d"}},
		{"nothing", "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := mustLoad(t, tt.environ...).StateDir; got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	c := mustLoad(t, "SLUICE_ADMIN_LISTEN=:9180", "SLUICE_FRONT_PROXY_PROTOCOL=v1")
	if len(c.Warnings) != 2 {
		t.Errorf("got %v, want one for each variable", c.Warnings)
	}
}

func TestWithSecretLeavesTheOriginal(t *testing.T) {
	c := mustLoad(t)
	d := c.WithSecret(sample)
	if len(c.Secrets) != 0 || len(d.Secrets) != 1 || d.Secrets[0] != sample || !d.Trial {
		t.Errorf("original %v, copy %v", c.Secrets, d.Secrets)
	}
}

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Second: "1s", time.Minute: "1m", 330 * time.Second: "5m30s", time.Hour: "1h", 90 * time.Minute: "1h30m", 10 * time.Second: "10s",
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("%d: got %s, want %s", d, got, want)
		}
	}
}
