// Command demo shows the proxy at work, offline: it starts a data centre's stand-in, a web site, the proxy, a client and a
// prober, moves a file through, sets what the prober sees beside the site itself, and says so in a dozen lines. It ends with
// status 1 if anything is not as it should be.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"time"

	"sluice/bench/client"
	"sluice/bench/stand"
)

const (
	host     = "www.example.org"
	fileSize = 64 << 20
	seed     = 2024
	patience = 30 * time.Second
)

func main() {
	binary := flag.String("sluice", "bin/sluice", "the program to show")
	flag.Parse()
	if err := run(*binary, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "demo: error:", err)
		os.Exit(1)
	}
}

func run(binary string, out io.Writer) error {
	dir, err := os.MkdirTemp("", "sluice-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	dc, err := stand.ListenDC("127.0.0.1:0")
	if err != nil {
		return err
	}
	defer dc.Close()
	site, err := stand.ListenSite("127.0.0.1:0", host)
	if err != nil {
		return err
	}
	defer site.Close()
	secret := client.Secret{Host: host}
	_, _ = rand.Read(secret.Key[:])
	proxy, err := stand.StartProxy(dir, map[string]string{
		"SLUICE_SECRET": secret.String(), "SLUICE_FRONT": site.Addr().String(), "SLUICE_DC_2": dc.Addr().String(),
	}, binary)
	if err != nil {
		return err
	}
	defer proxy.Kill()
	learned, err := proxy.AwaitLog(patience, func(l stand.Line) bool { return l.Get("match") != "" })
	if err != nil {
		return fmt.Errorf("the proxy did not learn the site's handshake: %w", err)
	}
	fmt.Fprintf(out, "web site     https://%s on %v\n", host, site.Addr())
	fmt.Fprintf(out, "data centre  stand-in for DC 2 on %v\n", dc.Addr())
	fmt.Fprintf(out, "proxy        %s on %v, process %d\n", binary, proxy.Addr(), proxy.PID())
	fmt.Fprintf(out, "learned      %s\n\n", learned.Get("match"))

	show := &show{out: out, proxy: proxy, dc: dc, site: site, secret: secret}
	for _, step := range []func() error{show.download, show.upload, show.probe, show.replay, show.counters} {
		if err := step(); err != nil {
			return fmt.Errorf("%w\n%s", err, proxy.Log())
		}
	}
	return proxy.Stop(patience)
}

// show is what the steps of the demonstration share.
type show struct {
	out    io.Writer
	proxy  *stand.Proxy
	dc     *stand.DC
	site   *stand.Site
	secret client.Secret
	hello  []byte // of the client's first session
}

func (s *show) open() (*client.Conn, error) {
	c, err := client.Dial(context.Background(), client.Config{
		Addr: s.proxy.Addr(), Secret: s.secret, DC: 2, Hello: client.Hello{Hybrid: true},
	})
	if err != nil {
		return nil, err
	}
	return c, c.SetDeadline(time.Now().Add(patience))
}

func (s *show) download() error {
	c, err := s.open()
	if err != nil {
		return err
	}
	defer c.Close()
	s.hello = c.HelloSent
	began := time.Now()
	if _, err := c.Write(stand.Request{Op: stand.DownClose, Size: fileSize, Seed: seed}.Bytes()); err != nil {
		return err
	}
	if err := stand.CheckRest(c, seed, fileSize); err != nil {
		return fmt.Errorf("download: %w", err)
	}
	fmt.Fprintf(s.out, "client       hello of %d bytes, answered by TLS 1.3's %#x and a record of %d bytes\n",
		len(s.hello), c.Flight.Cipher, c.Flight.Final)
	fmt.Fprintf(s.out, "             %d MiB down in %v, every byte right, then the end of the stream\n", fileSize>>20, round(began))
	return nil
}

func (s *show) upload() error {
	c, err := s.open()
	if err != nil {
		return err
	}
	defer c.Close()
	began := time.Now()
	body := make([]byte, fileSize/4)
	_, _ = stand.NewPattern(seed).Read(body)
	if _, err := c.Write(append(stand.Request{Op: stand.Up, Size: uint64(len(body))}.Bytes(), body...)); err != nil {
		return err
	}
	got, err := stand.ReadReceipt(c)
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	if got.Size != uint64(len(body)) || got.Digest != sha256.Sum256(body) {
		return fmt.Errorf("upload: the data centre got other bytes")
	}
	fmt.Fprintf(s.out, "             %d MiB up in %v, the data centre's digest is the file's\n\n", len(body)>>20, round(began))
	return nil
}

func round(began time.Time) time.Duration { return time.Since(began).Round(time.Millisecond) }

// probe asks for the page as somebody without the secret does, of the site itself and of the proxy.
func (s *show) probe() error {
	direct, err := look(s.site.Addr())
	if err != nil {
		return fmt.Errorf("the site itself: %w", err)
	}
	through, err := look(s.proxy.Addr())
	if err != nil {
		return fmt.Errorf("the site through the proxy: %w", err)
	}
	fmt.Fprintf(s.out, "prober       the site itself    %v\n", direct)
	fmt.Fprintf(s.out, "             through the proxy  %v\n", through)
	if !direct.same(through) {
		return fmt.Errorf("a prober can tell the proxy from the site")
	}
	return nil
}

// sight is what a prober sees.
type sight struct {
	version, cipher string
	certificate     []byte
	status          string
	body            []byte
}

func (v sight) String() string {
	digest := sha256.Sum256(v.certificate)
	return fmt.Sprintf("%s %s, certificate %x, %s, %d bytes", v.version, v.cipher, digest[:4], v.status, len(v.body))
}

func (v sight) same(o sight) bool {
	return v.version == o.version && v.cipher == o.cipher && v.status == o.status && bytes.Equal(v.certificate, o.certificate) &&
		bytes.Equal(v.body, o.body)
}

func look(addr netip.AddrPort) (sight, error) {
	web := http.Client{Timeout: patience, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{ServerName: host, InsecureSkipVerify: true}, DisableKeepAlives: true,
	}}
	answer, err := web.Get("https://" + addr.String())
	if err != nil {
		return sight{}, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return sight{
		version: tls.VersionName(answer.TLS.Version), cipher: tls.CipherSuiteName(answer.TLS.CipherSuite),
		certificate: answer.TLS.PeerCertificates[0].Raw, status: answer.Status, body: body,
	}, err
}

// replay sends the client's own hello again, as a censor who has recorded it would.
func (s *show) replay() error {
	_, err := client.Dial(context.Background(), client.Config{Addr: s.proxy.Addr(), Secret: s.secret, Raw: s.hello})
	if err == nil {
		return fmt.Errorf("a replayed hello was answered by the proxy")
	}
	fmt.Fprintf(s.out, "censor       the client's hello, replayed, is answered by the site\n\n")
	return nil
}

func (s *show) counters() error {
	var figures []any
	for _, series := range []string{
		`sluice_handshakes_total{result="ok"}`, `sluice_handshakes_total{result="replay"}`, `sluice_handshakes_total{result="bad_digest"}`,
		`sluice_relay_bytes_total{direction="down",edge="none",path="splice"}`,
	} {
		v, err := s.proxy.Metric(series)
		if err != nil {
			return err
		}
		figures = append(figures, v)
	}
	resident, err := s.proxy.Resident()
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "metrics      %g sessions, %g replay, %g stranger; %.0f bytes of the download never left the kernel\n", figures...)
	fmt.Fprintf(s.out, "memory       %.1f MiB resident\n", float64(resident)/(1<<20))
	return nil
}
