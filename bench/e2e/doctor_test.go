package e2e

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"sluice/bench/client"
	"sluice/bench/stand"
)

// diagnosis is what sluice doctor says, by the names of its looks.
type diagnosis map[string]finding

type finding struct {
	Status, Seen, Do string
	Details          []string
}

// doctor asks the program what is wrong, with the proxy's own settings and more. It makes no call beyond this host, and its exit
// status must agree with what it says.
func doctor(t *testing.T, p *stand.Proxy, more env) diagnosis {
	t.Helper()
	cmd := p.Command(env{"SLUICE_LISTEN": p.Addr().String()}.with(more), "doctor", "--offline", "--json")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	var report struct {
		Counts   map[string]int
		Findings []struct {
			ID string
			finding
		}
	}
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := 0
	if report.Counts["fail"] > 0 {
		want = 1
	}
	if got := cmd.ProcessState.ExitCode(); got != want {
		t.Errorf("exit status %d with %d failures", got, report.Counts["fail"])
	}
	all := diagnosis{}
	for _, f := range report.Findings {
		all[f.ID] = f.finding
	}
	return all
}

func (d diagnosis) want(t *testing.T, id, status, says string) {
	t.Helper()
	f := d[id]
	if all := f.Seen + " " + f.Do + "\n" + strings.Join(f.Details, "\n"); f.Status != status || !strings.Contains(all, says) {
		t.Errorf("%s is %q, want %q with %q: %s", id, f.Status, status, says, all)
	}
}

// noCentres keeps the doctor from asking data centres beyond this host.
func noCentres() env {
	all := env{}
	for _, n := range strings.Fields("1 2 3 4 5 203 TEST_1 TEST_2 TEST_3") {
		all["SLUICE_DC_"+n] = "127.0.0.1:1"
	}
	return all
}

// The proxy shows its front to whoever comes by the public name: the doctor sees one certificate on both sides.
func TestDoctorOfAGoodProxy(t *testing.T) {
	site := startSite(t)
	p := startProxy(t, env{"SLUICE_FRONT": site.Addr().String()})
	d := doctor(t, p, noCentres().with(env{"SLUICE_PUBLIC_HOST": "127.0.0.1"}))
	d.want(t, "proxy-running", "ok", "is well")
	d.want(t, "public-tls", "ok", secret.Host)
	d.want(t, "front-reachable", "ok", "200 OK")
	d.want(t, "front-certificate", "warn", "not believed")
	d.want(t, "front-flight", "warn", "X25519MLKEM768")
	d.want(t, "proxy-header", "ok", "is off")
	d.want(t, "limit-descriptors", "ok", "the running proxy")
	d.want(t, "limit-pipes", "ok", "the running proxy")
	d.want(t, "dc-2", "warn", "nothing beyond this host")
	if p.Command(nil, "doctor", "--costs").Run() != nil {
		t.Error("the running proxy tells no costs")
	}
}

// roundabout takes connections, and leads them to the address that it is told later.
func roundabout(t *testing.T) (addr string, to chan<- string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan string, 1)
	go func() {
		next, found := <-told
		if !found {
			return
		}
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				back, err := net.Dial("tcp", next)
				if err != nil {
					return
				}
				defer back.Close()
				go func() {
					_, _ = io.Copy(struct{ io.Writer }{back}, c)
					_ = back.(*net.TCPConn).CloseWrite()
				}()
				_, _ = io.Copy(struct{ io.Writer }{c}, back)
			}()
		}
	}()
	t.Cleanup(func() { close(told); _ = l.Close() })
	return l.Addr().String(), told
}

// oldSite is a web site for host that has no TLS 1.3.
func oldSite(t *testing.T, host string) (addr string) {
	t.Helper()
	cert, err := stand.NewCertificate(host)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: patience, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = web.Serve(l) }()
	t.Cleanup(func() { _ = web.Close() })
	return l.Addr().String()
}

// Each of several fronts is looked at, and what is wrong with one of them has its name; the proxy itself tells which one leads back to it.
func TestDoctorOfSeveralFronts(t *testing.T) {
	site := startSite(t)
	round, told := roundabout(t)
	secrets := []string{secret.String()}
	for i, host := range []string{"down.example", "old.example", "round.example", "wrong.example"} {
		secrets = append(secrets, client.Secret{Key: [16]byte{byte(i) + 7}, Host: host}.String())
	}
	at := site.Addr().String()
	p := startProxy(t, env{
		"SLUICE_SECRET": strings.Join(secrets, ","),
		"SLUICE_FRONT": at + ",down.example=127.0.0.1:1,old.example=" + oldSite(t, "old.example") + ",round.example=" + round + ",wrong.example=" + at +
			",*.nobody.example=" + at,
	})
	told <- p.Addr().String()
	wantMetric(t, p, `sluice_front_looped{front="4"}`, 1)
	d := doctor(t, p, noCentres())
	d.want(t, "front-reachable", "fail", "2 of 6 fronts: down.example=127.0.0.1:1: cannot be asked")
	d.want(t, "front-reachable", "fail", "fail: round.example="+round+": leads back to this proxy, by its own word")
	d.want(t, "front-certificate", "fail", "wrong.example="+at+": is not for wrong.example")
	d.want(t, "front-flight", "fail", ": old.example=")
	d.want(t, "front-flight", "fail", "turn TLS 1.3 on")
	d.want(t, "outbound", "ok", "the front of *.nobody.example, "+at)
	text, err := p.Command(noCentres(), "doctor", "--offline").Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("doctor: %v, want exit status 1", err)
	}
	for _, line := range []string{"\nfail  front-reachable      2 of 6 fronts: down.example=", "\n                           - fail: round.example="} {
		if !strings.Contains("\n"+string(text), line) {
			t.Errorf("%q is not in what people read:\n%s", line, text)
		}
	}
}

// Behind a load balancer: outsiders get nothing from a proxy that has its ranges, and the doctor says so of one that has none.
func TestDoctorBehindAnEdge(t *testing.T) {
	site := startSite(t)
	edge := env{
		"SLUICE_FRONT": site.Addr().String(), "SLUICE_EDGE": "custom", "SLUICE_EDGE_MODE": "opaque", "SLUICE_EDGE_RANGES": "192.0.2.0/24",
		"SLUICE_PUBLIC_HOST": "127.0.0.1",
	}
	closed := startProxy(t, edge)
	d := doctor(t, closed, noCentres().with(edge))
	d.want(t, "outside-answer", "ok", "")
	d.want(t, "public-name", "fail", "this very host")
	open := startProxy(t, env{"SLUICE_FRONT": site.Addr().String()})
	d = doctor(t, open, noCentres().with(edge))
	d.want(t, "outside-answer", "fail", "close the port")
	d.want(t, "edge-guard", "warn", "restart")
}

// A header that nobody expects, and one that does not come.
func TestDoctorOfHeaders(t *testing.T) {
	for _, tt := range []struct {
		name     string
		settings env
		prefix   string
		result   string
		says     string
	}{
		{"unexpected", env{}, "PROXY TCP4 192.0.2.7 192.0.2.1 5555 443\r\n", "unexpected", "SLUICE_PROXY_PROTOCOL=required"},
		{"missing", env{"SLUICE_PROXY_PROTOCOL": "required", "SLUICE_EDGE_RANGES": "127.0.0.0/8"}, "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", "missing", "turn PROXY on"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := startRig(t, tt.settings)
			if _, err := stranger(t, r.proxy.Addr()).Write([]byte(tt.prefix)); err != nil {
				t.Fatal(err)
			}
			wantMetric(t, r.proxy, `sluice_proxy_headers_total{result="`+tt.result+`"}`, 1)
			doctor(t, r.proxy, noCentres().with(tt.settings)).want(t, "proxy-header", "fail", tt.says)
		})
	}
}
