package interop

import (
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// varies matches what differs between two connections to the same server.
var varies = regexp.MustCompile(`(?m)^\s*(Session-ID|Session-ID-ctx|Resumption PSK|Master-Key|Start Time|Date|date|SSL handshake has read|[0-9a-f]{4} - |Connecting to|CONNECTED|TLS session ticket lifetime hint|\* .*|[{}<>] .*)(.*)$`)

// TestOpenSSL compares what openssl's client sees in whole: certificate, version, cipher, page.
func TestOpenSSL(t *testing.T) {
	f := startFront(t, nil)
	page := "GET / HTTP/1.0\r\nHost: front.example\r\n\r\n"
	for name, args := range map[string][]string{
		"TLS 1.3":                   {"-tls1_3", "-servername", secret.Host},
		"TLS 1.2":                   {"-tls1_2", "-servername", secret.Host},
		"TLS 1.1, refused":          {"-tls1_1", "-servername", secret.Host, "-cipher", "ALL:@SECLEVEL=0"},
		"TLS 1.3, second name":      {"-tls1_3", "-servername", otherHost},
		"TLS 1.2, second name":      {"-tls1_2", "-servername", otherHost},
		"TLS 1.3, unknown name":     {"-tls1_3", "-servername", "nobody.example"},
		"TLS 1.3, no name":          {"-tls1_3", "-noservername"},
		"TLS 1.2, no name":          {"-tls1_2", "-noservername"},
		"ALPN h2":                   {"-tls1_3", "-servername", secret.Host, "-alpn", "h2"},
		"a group the front lacks":   {"-tls1_3", "-servername", secret.Host, "-groups", "ffdhe8192"},
		"retry for another group":   {"-tls1_3", "-servername", secret.Host, "-groups", "X448:P-384"},
		"OCSP status":               {"-tls1_2", "-servername", secret.Host, "-status"},
		"renegotiation not offered": {"-tls1_2", "-servername", secret.Host, "-legacy_server_connect"},
	} {
		t.Run(name, func(t *testing.T) {
			view := func(addr string) string {
				all := append([]string{"s_client", "-connect", addr, "-showcerts", "-ign_eof"}, args...)
				stdout, stderr, status := run(t, page, "openssl", all...)
				text := varies.ReplaceAllString(stdout+stderr, "")
				text = strings.ReplaceAll(text, addr, "ADDR")
				// Errors are prefixed by a thread's number.
				text = regexp.MustCompile(`(?m)^[0-9A-F]{16}:`).ReplaceAllString(text, "")
				return fmt.Sprintf("%s\nstatus %d", text, status)
			}
			direct, through := view(f.addr.String()), view(f.proxy.Addr().String())
			if direct != through {
				t.Errorf("the front:\n%s\nthe proxy:\n%s", direct, through)
			}
			if strings.Contains(direct, "BEGIN CERTIFICATE") {
				host := secret.Host
				if strings.Contains(name, "second") {
					host = otherHost
				}
				block, _ := pem.Decode([]byte(through[strings.Index(through, "-----BEGIN"):]))
				if block == nil || sha256.Sum256(block.Bytes) != sha256.Sum256(f.certs[host].Certificate[0]) {
					t.Errorf("the certificate is not the one of %s", host)
				}
			}
		})
	}
}

// TestCurl compares whole visits: pages, statuses, errors.
func TestCurl(t *testing.T) {
	f := startFront(t, nil)
	if _, err := exec.LookPath("curl"); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"page":               {"-k", "https://front.example:PORT/"},
		"HTTP/1.1":           {"-k", "--http1.1", "https://front.example:PORT/some/where?x=1"},
		"TLS 1.2":            {"-k", "--tls-max", "1.2", "https://front.example:PORT/"},
		"second name":        {"-k", "https://other.example:PORT/"},
		"unknown name":       {"-k", "https://nobody.example:PORT/"},
		"address":            {"-k", "https://127.0.0.1:PORT/"},
		"certificate's name": {"https://front.example:PORT/"},
		"plain HTTP":         {"http://front.example:PORT/"},
		"plain HTTP/1.0":     {"--http1.0", "http://front.example:PORT/"},
		"two pages":          {"-k", "https://front.example:PORT/1", "https://front.example:PORT/2"},
		"upload":             {"-k", "-X", "POST", "--data", strings.Repeat("x", 100_000), "https://front.example:PORT/"},
		"telnet":             {"-m", "5", "telnet://127.0.0.1:PORT"},
	} {
		t.Run(name, func(t *testing.T) {
			view := func(port uint16) string {
				text := fmt.Sprint(port)
				all := []string{"-s", "-S", "-i", "-w", "\n%{http_code} %{http_version} %{size_download} %{num_connects} %{ssl_verify_result}"}
				for _, host := range []string{secret.Host, otherHost, "nobody.example"} {
					all = append(all, "--resolve", host+":"+text+":127.0.0.1")
				}
				for _, a := range args {
					all = append(all, strings.ReplaceAll(a, "PORT", text))
				}
				stdout, stderr, status := run(t, "hello?\r\n", "curl", all...)
				said := varies.ReplaceAllString(stdout+stderr, "")
				return fmt.Sprintf("%s\nstatus %d", strings.ReplaceAll(said, text, "PORT"), status)
			}
			if direct, through := view(f.addr.Port()), view(f.proxy.Addr().Port()); direct != through {
				t.Errorf("the front:\n%s\nthe proxy:\n%s", direct, through)
			}
		})
	}
}
