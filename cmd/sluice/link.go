package main

import (
	"flag"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"

	"rsc.io/qr"

	"sluice/engine/config"
)

// link prints the links of every secret.
func (a *app) link(c *command, args []string) error {
	flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
	host := flags.String("host", "", "")
	port := flags.Uint("port", 0, "")
	noQR := flags.Bool("no-qr", false, "")
	if _, err := a.parse(c, flags, args); err != nil {
		return err
	}
	cfg, err := config.Load(a.environ)
	if err != nil {
		return err
	}
	secrets := cfg.Secrets
	if cfg.Trial {
		kept := trialSecret(cfg.StateDir)
		if kept.problem != nil {
			return hinted{
				fmt.Errorf("the trial's secret cannot be kept: %w", kept.problem),
				"set SLUICE_SECRET, or a SLUICE_STATE_DIR that can be written",
			}
		}
		secrets = append(secrets, kept.secret)
	}
	to, err := reach(cfg, *host, *port)
	if err != nil {
		return err
	}
	for _, s := range secrets {
		to.print(a.out, s, !*noQR)
	}
	return nil
}

// endpoint is where clients connect.
type endpoint struct {
	host string
	port uint16
}

// trialHost is what a trial's links name when nothing else is set: Telegram on this very machine.
const trialHost = "127.0.0.1"

// reach picks what links name: the flags, then the settings.
func reach(cfg *config.Config, host string, port uint) (endpoint, error) {
	to := endpoint{host: cfg.PublicHost, port: cfg.PublicPort}
	if host != "" {
		bare := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
		if _, err := netip.ParseAddr(bare); err == nil {
			host = bare
		} else if err := config.CheckHost(host); err != nil {
			return to, usageError{text: "--host: " + err.Error(), hint: "give a name or an address, without a port"}
		}
		to.host = host
	}
	if port > 65535 {
		return to, usageError{text: "--port: not a port", hint: "ports go from 1 to 65535"}
	}
	if port != 0 {
		to.port = uint16(port)
	}
	switch {
	case to.host == "" && cfg.Trial:
		to.host = trialHost
	case to.host == "":
		return to, hinted{fmt.Errorf("nothing says which address clients connect to"), "set SLUICE_PUBLIC_HOST, or give --host"}
	}
	if to.port == 0 {
		return to, hinted{fmt.Errorf("SLUICE_LISTEN leaves the port to the kernel"), "give --port, or set SLUICE_PUBLIC_PORT"}
	}
	return to, nil
}

func (to endpoint) query(s config.Secret) string {
	return "proxy?server=" + url.QueryEscape(to.host) + "&port=" + strconv.Itoa(int(to.port)) + "&secret=" + s.Hex()
}

// print writes both forms of the link and, if wanted, the first as a QR code.
func (to endpoint) print(w io.Writer, s config.Secret, code bool) {
	link := "tg://" + to.query(s)
	fmt.Fprintln(w, link)
	fmt.Fprintln(w, "https://t.me/"+to.query(s))
	if !code {
		return
	}
	// Level L: a screen does not get torn or smudged, and a smaller code fits it better.
	if c, err := qr.Encode(link, qr.L); err == nil {
		fmt.Fprint(w, "\n"+drawQR(c, isTerminal(w))+"\n")
	}
}

// quiet is the empty border, in modules, that scanners want around a code. Its even size keeps pairs of rows aligned.
const quiet = 2

// drawQR writes two rows of modules as one line of half blocks: light is drawn, dark is left out, which is right on the
// dark background that most terminals have. On a terminal the colours are set, so that it is right on any.
func drawQR(c *qr.Code, colours bool) string {
	var b strings.Builder
	for y := -quiet; y < c.Size+quiet; y += 2 {
		if colours {
			b.WriteString("\x1b[97;40m")
		}
		for x := -quiet; x < c.Size+quiet; x++ {
			upper, lower := c.Black(x, y), c.Black(x, y+1)
			switch {
			case upper && lower:
				b.WriteRune(' ')
			case upper:
				b.WriteRune('▄')
			case lower:
				b.WriteRune('▀')
			default:
				b.WriteRune('█')
			}
		}
		if colours {
			b.WriteString("\x1b[0m")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
