package admin

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

const sampleToken = "Zk9-hJ2_x7~Qw.4+t/e="

func getWith(path, authorization string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: sluice\r\nAuthorization: " + authorization + "\r\n\r\n"
}

func TestToken(t *testing.T) {
	h := Handlers{
		Metrics: func(w io.Writer) { _, _ = io.WriteString(w, "sluice_draining 0\n") },
		Token:   func() string { return sampleToken },
	}
	a := serve(t, "127.0.0.1:0", h)
	for _, tt := range []struct {
		name, wire string
		status     int
	}{
		{"right", getWith("/metrics", "Bearer "+sampleToken), 200},
		{"the scheme in lower case", getWith("/metrics", "bearer "+sampleToken), 200},
		{"none", get("/metrics"), 401},
		{"empty", getWith("/metrics", ""), 401},
		{"the scheme alone", getWith("/metrics", "Bearer"), 401},
		{"an empty token", getWith("/metrics", "Bearer "), 401},
		{"the token alone", getWith("/metrics", sampleToken), 401},
		{"one character less", getWith("/metrics", "Bearer "+sampleToken[:len(sampleToken)-1]), 401},
		{"one character more", getWith("/metrics", "Bearer "+sampleToken+"x"), 401},
		{"another case", getWith("/metrics", "Bearer "+strings.ToLower(sampleToken)), 401},
		{"another scheme", getWith("/metrics", "Basic "+sampleToken), 401},
		{"in the address", get("/metrics?token=" + sampleToken), 401},
		{"wrong first, right second", "GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\nAuthorization: Bearer " + sampleToken + "\r\n\r\n", 401},
		{"HEAD", "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 401},
		{"health", get("/healthz"), 200},
		{"readiness", get("/readyz"), 200},
		{"health with a wrong token", getWith("/healthz", "Bearer x"), 200},
		{"elsewhere", get("/metrics/"), 404},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, header, body := ask(t, a, tt.wire)
			if status != tt.status {
				t.Fatalf("%d %q, want %d", status, body, tt.status)
			}
			if challenge := header.Get("WWW-Authenticate"); (challenge == `Bearer realm="sluice"`) != (status == 401) {
				t.Errorf("%d with the challenge %q", status, challenge)
			}
			if strings.Contains(body, "sluice_draining") != (status == 200 && strings.Contains(tt.wire, "/metrics")) {
				t.Errorf("%d with %q", status, body)
			}
		})
	}
}

// TestTokenChanges: what a reload brings counts for the next request.
func TestTokenChanges(t *testing.T) {
	var token atomic.Value
	token.Store("")
	a := serve(t, "127.0.0.1:0", Handlers{Metrics: func(io.Writer) {}, Token: func() string { return token.Load().(string) }})
	for _, tt := range []struct {
		token, given string
		status       int
	}{
		{"", "", 200},
		{"", "Bearer anything", 200},
		{sampleToken, "", 401},
		{sampleToken, "Bearer " + sampleToken, 200},
		{"another-token-than-that", "Bearer " + sampleToken, 401},
		{"another-token-than-that", "Bearer another-token-than-that", 200},
	} {
		token.Store(tt.token)
		if status, _, _ := ask(t, a, getWith("/metrics", tt.given)); status != tt.status {
			t.Errorf("token %q, given %q: %d, want %d", tt.token, tt.given, status, tt.status)
		}
	}
}

// TestUnixSocketMode: the umask does not open the socket to others, nor close it to the group.
func TestUnixSocketMode(t *testing.T) {
	for _, mask := range []int{0, 0o022, 0o077, 0o777} {
		path := filepath.Join(t.TempDir(), "s")
		old := syscall.Umask(mask)
		s, err := New("unix:"+path, Handlers{})
		syscall.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode(); got != fs.ModeSocket|0o660 {
			t.Errorf("umask %03o gives %v", mask, got)
		}
		_ = s.listener.Close()
	}
}
