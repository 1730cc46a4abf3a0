package interop

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"sluice/bench/stand"
)

// site is nginx with two names, each with a certificate of its own, and short timers.
type site struct {
	addr  netip.AddrPort
	slow  netip.AddrPort // the same with timers of 30 seconds
	certs map[string]tls.Certificate
}

const (
	otherHost = "other.example"
	timer     = 3 * time.Second // nginx's, for a handshake, a request's header, and a connection kept alive
)

// paths are the directories nginx must be able to write to.
const nginxPaths = `
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;`

const nginxMain = `
daemon off; master_process off; worker_processes 1; pid %[1]s/pid; error_log %[1]s/error.log info;
events { worker_connections 4096; }
`

const nginxServer = `
	server {
		listen %[2]s ssl; server_name %[3]s;
		ssl_certificate %[1]s/%[3]s.crt; ssl_certificate_key %[1]s/%[3]s.key; ssl_protocols TLSv1.2 TLSv1.3;
		client_header_timeout %[4]d; keepalive_timeout %[4]d; lingering_timeout 1;
		location / { default_type text/html; return 200 "<p>This is %[3]s.\n"; }
	}`

// startSite runs nginx as a front.
func startSite(t testing.TB) *site {
	t.Helper()
	dir := t.TempDir()
	s := &site{addr: freePort(t, "127.0.0.1"), slow: freePort(t, "127.0.0.1"), certs: map[string]tls.Certificate{}}
	conf := fmt.Sprintf(nginxMain, dir) + "http {\n\taccess_log off;" + fmt.Sprintf(nginxPaths, dir)
	for _, host := range []string{secret.Host, otherHost} {
		cert, err := stand.NewCertificate(host)
		if err != nil {
			t.Fatal(err)
		}
		s.certs[host] = cert
		crt, key, err := stand.EncodeCertificate(cert)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, host+".crt"), string(crt))
		writeFile(t, filepath.Join(dir, host+".key"), string(key))
		conf += fmt.Sprintf(nginxServer, dir, s.addr, host, int(timer.Seconds()))
		conf += fmt.Sprintf(nginxServer, dir, s.slow, host, 30)
	}
	writeFile(t, filepath.Join(dir, "nginx.conf"), conf+"\n}\n")
	startProgram(t, []netip.AddrPort{s.addr, s.slow}, "nginx", "-p", dir, "-c", filepath.Join(dir, "nginx.conf"))
	return s
}

// front is a proxy before a site, with a data centre behind it.
type front struct {
	*site
	proxy *stand.Proxy
	dc    *stand.DC
}

func startFront(t testing.TB, settings env) *front {
	t.Helper()
	f := &front{site: startSite(t), dc: startDC(t, "127.0.0.1:0")}
	base := env{"SLUICE_FRONT": f.addr.String(), "SLUICE_DC_2": f.dc.Addr().String()}
	f.proxy = startProxy(t, base.with(settings))
	if _, err := f.proxy.AwaitLog(patience, func(l stand.Line) bool { return l.Get("match") != "" }); err != nil {
		t.Fatalf("the front's handshake is not learned: %v", err)
	}
	return f
}
