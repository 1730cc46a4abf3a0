package config

import (
	"strings"
	"testing"
)

// FuzzSettings: what an environment of several settings comes to, as it is shown to the operator, comes to the same when it is set.
func FuzzSettings(f *testing.F) {
	f.Add("LISTEN=:443=cloudflare-spectrum,10.0.0.5:8443=none\nPUBLIC_HOST=proxy.example\nCLOCK_SKEW=5m,30s")
	f.Add("EDGE=custom\nEDGE_MODE=proxy\nEDGE_RANGES=192.0.2.1,2001:db8::/32\nEDGE_OUTSIDERS=front\nEDGE_GUARD=off\nPROXY_PROTOCOL=optional")
	f.Add("EDGE=aws-nlb\nEDGE_RANGES=https://example.org/list,/etc/ranges,cloudflare\nEDGE_REFRESH=off\nIDLE_TIMEOUT=300s")
	f.Add("FRONT=/ /")
	f.Add("FRONT=unix:/run/web.sock\nFRONT_PROXY_PROTOCOL=v2\nADMIN_LISTEN=[::1]:9100\nSTATE_DIR=/var/lib/x/..")
	f.Add("DC_1=149.154.175.50,[2001:db8::1]:443\nDC_203=[::ffff:192.0.2.1]:1\nIP_PREFERENCE=only-ipv6\nALIGNED_DOWNLOADS=off")
	f.Add("HANDSHAKE_TIMEOUT=10s\nDRAIN_TIMEOUT=0\nMAX_CONNECTIONS=0\nLOG_LEVEL=DEBUG\nLOG_FORMAT=json\nHYBRID_KEY_SHARE=on\nPUBLIC_PORT=443")
	f.Fuzz(func(t *testing.T, text string) {
		env := []string{Prefix + "SECRET=" + sampleHex}
		for line := range strings.SplitSeq(text, "\n") {
			name, _, ok := strings.Cut(line, "=")
			if !ok || name == "SECRET" || strings.HasSuffix(name, "_FILE") {
				return // a file would be read, whichever the fuzzer names
			}
			env = append(env, Prefix+line)
		}
		c, err := Load(env)
		if err != nil {
			return
		}
		again := []string{env[0]}
		for _, l := range c.Effective() {
			if !l.Default && l.Variable != Prefix+"SECRET" {
				again = append(again, l.Variable+"="+l.Value)
			}
		}
		d, err := Load(again)
		if err != nil {
			t.Fatalf("%q is shown as %q, which is refused: %v", env, again, err)
		}
		for i, l := range d.Effective() {
			if was := c.Effective()[i]; l.Value != was.Value {
				t.Fatalf("%s is %q, and when that is set %q", l.Variable, was.Value, l.Value)
			}
		}
	})
}
