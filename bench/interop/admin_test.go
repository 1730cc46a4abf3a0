package interop

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/bench/stand"
)

const token = "f3a7c1d95b2e48067d1c9ba05e83f246"

// TestAdminToken: curl with the token gets the metrics and without it a 401 that says how; the health pages, and the health command, never
// want it. Prometheus takes the sample in docs/security.md.
func TestAdminToken(t *testing.T) {
	dir := shortDir(t)
	path, credentials := filepath.Join(dir, "token"), filepath.Join(dir, "header")
	writeFile(t, path, token+"\n")
	writeFile(t, credentials, "Authorization: Bearer "+token+"\n")
	p, err := stand.StartProxy(dir, env{"SLUICE_SECRET": secret.String(), "SLUICE_ADMIN_TOKEN_FILE": path}, os.Getenv("SLUICE_BIN"))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	for _, tt := range []struct {
		name, page, want string
		args             []string
	}{
		{"with the token", "/metrics", "200", []string{"-H", "@" + credentials}},
		{"without", "/metrics", "401", nil},
		{"with another", "/metrics", "401", []string{"-H", "Authorization: Bearer 0123456789abcdef"}},
		{"as a password", "/metrics", "401", []string{"-u", "sluice:" + token}},
		{"health", "/healthz", "200", nil},
	} {
		stdout, _, _ := run(t, "", "curl", append(tt.args, "-s", "-i", "--unix-socket", filepath.Join(dir, "admin.sock"), "-o", filepath.Join(dir, "answer"), "-w", "%{http_code}", "http://sluice"+tt.page)...)
		answer, err := os.ReadFile(filepath.Join(dir, "answer"))
		if err != nil {
			t.Fatal(err)
		}
		if stdout != tt.want || strings.Contains(string(answer), `Www-Authenticate: Bearer realm="sluice"`) != (tt.want == "401") {
			t.Errorf("%s: %s, want %s\n%.300s", tt.name, stdout, tt.want, answer)
		}
		if strings.Contains(string(answer), "sluice_accepted_total") != (tt.want == "200" && tt.page == "/metrics") {
			t.Errorf("%s: %.300s", tt.name, answer)
		}
	}
	page, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, sample, _ := strings.Cut(string(page), "```yaml\n")
	sample, _, ok := strings.Cut(sample, "```")
	if !ok || !strings.Contains(sample, "credentials_file: /etc/prometheus/sluice-token") {
		t.Fatal("docs/security.md has no sample")
	}
	config := filepath.Join(dir, "prometheus.yml")
	writeFile(t, config, strings.Replace(sample, "/etc/prometheus/sluice-token", path, 1))
	if stdout, stderr, status := run(t, "", "promtool", "check", "config", config); status != 0 {
		t.Errorf("promtool: %s%s", stdout, stderr)
	}
}
