package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"sluice/engine/edge/ranges"
)

// Prefix begins the name of every variable.
const Prefix = "SLUICE_"

// raw is what env reads: one field for each variable, in the order of settings. Every field's type keeps its value
// unexported, because env would walk into exported fields in search of more variables.
type raw struct {
	Secret             secrets          `env:"SECRET"`
	Listen             binds            `env:"LISTEN" envDefault:":8443"`
	PublicHost         publicHost       `env:"PUBLIC_HOST"`
	PublicPort         port             `env:"PUBLIC_PORT"`
	Front              fronts           `env:"FRONT"`
	FrontProxyProtocol headerVersion    `env:"FRONT_PROXY_PROTOCOL" envDefault:"off"`
	Edge               edgeName         `env:"EDGE" envDefault:"none"`
	EdgeMode           edgeMode         `env:"EDGE_MODE"`
	EdgeRanges         edgeRanges       `env:"EDGE_RANGES"`
	EdgeRefresh        refreshEvery     `env:"EDGE_REFRESH" envDefault:"24h"`
	EdgeOutsiders      Outsiders        `env:"EDGE_OUTSIDERS" envDefault:"drop"`
	EdgeGuard          GuardPolicy      `env:"EDGE_GUARD" envDefault:"auto"`
	ProxyProtocol      headerPolicy     `env:"PROXY_PROTOCOL"`
	CostHour           price            `env:"COST_HOUR" envDefault:"0"`
	CostGB             priceSpan        `env:"COST_GB" envDefault:"0"`
	CostBilled         Billed           `env:"COST_BILLED" envDefault:"dominant"`
	IPPreference       IPPreference     `env:"IP_PREFERENCE" envDefault:"prefer-ipv4"`
	DC1                dcAddresses      `env:"DC_1"`
	DC2                dcAddresses      `env:"DC_2"`
	DC3                dcAddresses      `env:"DC_3"`
	DC4                dcAddresses      `env:"DC_4"`
	DC5                dcAddresses      `env:"DC_5"`
	DC203              dcAddresses      `env:"DC_203"`
	DCTest1            dcAddresses      `env:"DC_TEST_1"`
	DCTest2            dcAddresses      `env:"DC_TEST_2"`
	DCTest3            dcAddresses      `env:"DC_TEST_3"`
	AlignedDownloads   onOff            `env:"ALIGNED_DOWNLOADS" envDefault:"on"`
	HybridKeyShare     onOff            `env:"HYBRID_KEY_SHARE" envDefault:"off"`
	ClockSkew          clockSkew        `env:"CLOCK_SKEW" envDefault:"5m,30s"`
	MaxConnections     count            `env:"MAX_CONNECTIONS" envDefault:"0"`
	HandshakeTimeout   handshakeTimeout `env:"HANDSHAKE_TIMEOUT" envDefault:"10s"`
	IdleTimeout        idleTimeout      `env:"IDLE_TIMEOUT"`
	KeepAlive          keepAlive        `env:"KEEPALIVE"`
	DrainTimeout       drainTimeout     `env:"DRAIN_TIMEOUT" envDefault:"30s"`
	AdminListen        adminAddress     `env:"ADMIN_LISTEN" envDefault:"127.0.0.1:9180"`
	AdminToken         adminToken       `env:"ADMIN_TOKEN"`
	StateDir           directory        `env:"STATE_DIR"`
	LogLevel           logLevel         `env:"LOG_LEVEL" envDefault:"info"`
	LogFormat          logFormat        `env:"LOG_FORMAT" envDefault:"text"`
}

// setting describes one variable to people. What it defaults to stands in raw's tags; otherwise says it in words
// where the default depends on something else.
type setting struct {
	name      string // without Prefix
	section   string
	takes     string
	otherwise string
	example   string // for the sample file, where the default would show nothing
	text      string // paragraphs parted by an empty line; Markdown code spans only
	show      func(*Config) string
}

const (
	sectionFirst   = "The first settings"
	sectionEdge    = "Behind a load balancer or a CDN"
	sectionDC      = "Towards Telegram"
	sectionClient  = "Towards clients"
	sectionProcess = "The process"
)

// placeholder stands for a secret in the sample file. It is refused: a valid one would end up in use.
const placeholder = "what-sluice-secret-HOST-prints"

// tokenPlaceholder stands for a token there, and is refused as well: a blank is none of a token's characters.
const tokenPlaceholder = "what openssl rand -hex 24 prints"

const dcTakes = "address:port, commas between several; without a port, 443"

var settings = []setting{
	{
		name: "SECRET", section: sectionFirst, takes: "one or several secrets, commas or blanks between them",
		otherwise: "none: the proxy makes one for `localhost`, keeps it in `SLUICE_STATE_DIR`, and serves for trying out only",
		example:   placeholder,
		text: "What clients need in order to be let through: `ee`, 16 key bytes and the name of the web site to look like, in hex or base64. " +
			"`sluice secret example.org` makes one. Whoever knows it can use the proxy.\n\n" +
			"Better given as a file (`SLUICE_SECRET_FILE`): the environment of a process is easier to read than a file.",
		show: func(c *Config) string { return showSecrets(c.Secrets) },
	},
	{
		name: "LISTEN", section: sectionFirst, takes: "address:port, commas between several; `:8443` is every interface, IPv4 and IPv6",
		text: "Where clients connect. Port 443 is what a web site uses, and needs root or CAP_NET_BIND_SERVICE.\n\n" +
			"An address may name what stands in front of it, where that is not what `SLUICE_EDGE` says: `:443=cloudflare-spectrum,10.0.0.5:8443=none`.",
		show: showListeners,
	},
	{
		name: "PUBLIC_HOST", section: sectionFirst, takes: "a name or an address", otherwise: "none: `sluice link` then needs `--host`",
		example: "proxy.example.org",
		text: "The name or address that clients are given in links. Behind a load balancer it is the balancer's. It is used " +
			"for links, and by `sluice doctor`; the proxy never connects to it, and looks it up only to see that a front on the same port does not lead back here.",
		show: func(c *Config) string { return orNone(c.PublicHost) },
	},
	{
		name: "PUBLIC_PORT", section: sectionFirst, takes: "1 to 65535", otherwise: "the port of the first `SLUICE_LISTEN` address",
		example: "443",
		text:    "The port that clients are given in links, where a load balancer takes them on another port than this process.",
		show:    func(c *Config) string { return strconv.Itoa(int(c.PublicPort)) },
	},
	{
		name: "FRONT", section: sectionFirst, takes: "host:port, address:port or unix:/path; more behind commas, each as name=host:port",
		otherwise: "the host of each secret, port 443, that of the first for all other names; in a trial a built-in page", example: "127.0.0.1:8444",
		text: "The web site that everybody without a secret gets, byte for byte: browsers, scanners, censors. It must serve the name in the secret over TLS.\n\n" +
			"When that name's DNS record points at this machine, as it should, the default would lead back to the proxy: run the web server on another port or on a unix socket, and give that here.\n\n" +
			"Several sites can stand behind one listener, as behind an SNI router: `127.0.0.1:8444,blog.example.org=unix:/run/blog.sock,*.example.net=10.0.0.5:443`. The one without a name is for " +
			"every other name, and for who names none; `*.` stands for all names that end so. Whoever asks for a name sees that name's own site, and a client whose secret carries it gets a handshake like that site's.",
		show: showFronts,
	},
	{
		name: "FRONT_PROXY_PROTOCOL", section: sectionFirst, takes: "off, v1 or v2",
		text: "Tell the front the client's address in a PROXY header. The front must be set to expect it.",
		show: func(c *Config) string { return headerVersions[c.FrontProxyProtocol] },
	},

	{
		name: "EDGE", section: sectionEdge, takes: alternatives(profileNames),
		text: "What stands in front of the listeners. A product's name sets the mode, the header and the ranges below to what it does; each of them can be set by itself as well. " +
			"`custom` sets nothing. `none` is for clients that connect directly.",
		show: func(c *Config) string { return c.Edge.Profile },
	},
	{
		name: "EDGE_MODE", section: sectionEdge, takes: "preserved, proxy or opaque", otherwise: "the product's", example: "proxy",
		text: "What the load balancer does to the clients' addresses. `preserved`: connections come from the clients' own addresses (no load balancer, or one that passes packets on; " +
			"Global Accelerator in front of an instance). `proxy`: they come from the balancer, and a PROXY header names the client. " +
			"`opaque`: they come from the balancer, and the client's address is lost (Global Accelerator in front of an Elastic IP, Spectrum without PROXY).",
		show: func(c *Config) string { return c.Edge.Mode.String() },
	},
	{
		name: "EDGE_RANGES", section: sectionEdge, takes: "names of lists (" + alternatives(ranges.Known()) + "), URLs, absolute paths, ranges; commas between them; or none",
		otherwise: "the product's", example: "10.0.0.0/24,10.0.1.0/24",
		text: "From which addresses the load balancer connects, in the modes `proxy` and `opaque`. Nobody else gets in, and nobody else's PROXY header is believed. " +
			"A list is one range a line, or AWS's ip-ranges.json.\n\n" +
			"`none` lets everybody in. Then close the port by other means. (To leave it to a firewall with the same lists keep them here, with `SLUICE_EDGE_GUARD=off`: `sluice ranges --format nft` writes the rules.)",
		show: func(c *Config) string { return showRanges(c.Edge.Ranges) },
	},
	{
		name: "EDGE_REFRESH", section: sectionEdge, takes: "10m to 720h, or off",
		text: "How often lists of ranges are fetched again. The first time is after the listeners are open. A list that cannot be had, or that looks wrong (empty, a web page, the whole internet, " +
			"less than half of what it was), changes nothing; the last good one is kept in `SLUICE_STATE_DIR`, and a dated one comes with the program. " +
			"A reload looks again at once; with `off` it reads files and what lies in `SLUICE_STATE_DIR` again, and asks no publisher.",
		show: func(c *Config) string {
			if c.EdgeRefresh == 0 {
				return "off"
			}
			return formatDuration(c.EdgeRefresh)
		},
	},
	{
		name: "EDGE_OUTSIDERS", section: sectionEdge, takes: "drop or front",
		text: "What becomes of a connection from outside the ranges: closed without a word, or shown the front, whatever it says.",
		show: func(c *Config) string { return c.Edge.Outsiders.String() },
	},
	{
		name: "EDGE_GUARD", section: sectionEdge, takes: "auto, required or off",
		text: "Whether the kernel drops connections from outside the ranges before they exist, so that whoever tries gets no answer at all, as from a firewall. That takes root, or CAP_BPF and CAP_NET_ADMIN. " +
			"`auto`: where it can be had; else they are closed after they are accepted, and the log says so once. `required`: do not start without. With `SLUICE_EDGE_OUTSIDERS=front` there is nothing to guard.",
		show: func(c *Config) string { return c.EdgeGuard.String() },
	},
	{
		name: "PROXY_PROTOCOL", section: sectionEdge, takes: "off, required or optional", otherwise: "`required` in mode `proxy`, else `off`", example: "required",
		text: "Whether connections begin with a PROXY header, version 1 or 2, that names the client. `required` is for a load balancer that sends one on each connection: Cloudflare Spectrum, " +
			"an AWS NLB or a GCP proxy NLB with it switched on, HAProxy, nginx. `off` is for no load balancer, and for those that keep the client's address.\n\n" +
			"The header of whoever is in `SLUICE_EDGE_RANGES` is believed; without ranges anybody's is. `optional` is meant for the hour in which a balancer is being switched over.",
		show: func(c *Config) string { return c.Edge.Header.String() },
	},

	{
		name: "COST_HOUR", section: sectionEdge, takes: "a number, in the money of your bill", example: "0.025",
		text: "The fixed price of the load balancer for an hour, for `sluice doctor --costs`; the proxy does nothing with it.",
		show: func(c *Config) string { return showPrice(c.Cost.Hour) },
	},
	{
		name: "COST_GB", section: sectionEdge, takes: "a number, or two with a hyphen between them: the cheapest and the dearest way", example: "0.007-0.105",
		text: "Its price for a GB, likewise.",
		show: func(c *Config) string { return showSpan(c.Cost) },
	},
	{
		name: "COST_BILLED", section: sectionEdge, takes: alternatives(billings),
		text: "Which bytes that price is for: those of the direction that has more, those to the clients, those from them, or all.",
		show: func(c *Config) string { return c.Cost.Billed.String() },
	},

	{
		name: "IP_PREFERENCE", section: sectionDC, takes: "prefer-ipv4, prefer-ipv6, only-ipv4 or only-ipv6",
		text: "Which addresses of the data centres are tried first, or at all.",
		show: func(c *Config) string { return c.IPPreference.String() },
	},
	dcSetting("DC_1", 1), dcSetting("DC_2", 2), dcSetting("DC_3", 3), dcSetting("DC_4", 4), dcSetting("DC_5", 5), dcSetting("DC_203", 203),
	dcSetting("DC_TEST_1", testDC+1), dcSetting("DC_TEST_2", testDC+2), dcSetting("DC_TEST_3", testDC+3),
	{
		name: "ALIGNED_DOWNLOADS", section: sectionDC, takes: "on or off",
		text: "Let the data centre encrypt with the client's own keys, so that downloads pass through the kernel without being deciphered and enciphered again. " +
			"The price: somebody who records both this machine's connections to clients and those to Telegram can tell which belong together. `off` re-encrypts and hides that, at a higher CPU cost for each byte.",
		show: func(c *Config) string { return showSwitch(c.AlignedDownloads) },
	},

	{
		name: "HYBRID_KEY_SHARE", section: sectionClient, takes: "on or off",
		text: "Answer with the post-quantum key share X25519MLKEM768 when the client offers it and the front uses it. That looks more like a modern front, but a Telegram version for Android is reported to hang on it.",
		show: func(c *Config) string { return showSwitch(c.HybridKeyShare) },
	},
	{
		name: "CLOCK_SKEW", section: sectionClient, takes: "one duration for both directions, or two: behind,ahead",
		text: "How far a client's clock may be behind this machine's, and how far ahead. A client outside is sent to the front. Slow phone clocks are common and fast ones are not, hence the two values; " +
			"every hello inside the window is remembered, so none works twice, and a wider window costs memory.",
		show: func(c *Config) string { return formatDuration(c.ClockBehind) + "," + formatDuration(c.ClockAhead) },
	},
	{
		name: "MAX_CONNECTIONS", section: sectionClient, takes: "0 to 10000000",
		text: "How many clients are served at a time; 0 is as many as the descriptor limit allows (each takes two). More than that counts as that, with a warning.",
		show: func(c *Config) string { return strconv.Itoa(c.MaxConnections) },
	},
	{
		name: "HANDSHAKE_TIMEOUT", section: sectionClient, takes: "1s to 2m",
		text: "How long a client may take to prove itself.",
		show: func(c *Config) string { return formatDuration(c.HandshakeTimeout) },
	},
	{
		name: "IDLE_TIMEOUT", section: sectionClient, takes: "10s to 24h",
		otherwise: "`5m30s`, or 10 s less than the shortest idle time that is known of the products in front", example: "5m30s",
		text: "A session in which neither side says anything for so long is closed. Clients ping every minute or so.\n\n" +
			"It should be shorter than the idle time of whatever stands in front, which otherwise forgets connections that both ends believe in: " +
			"an AWS NLB after 350 s, Global Accelerator after 340 s; HAProxy and nginx after what is set there.",
		show: func(c *Config) string { return formatDuration(c.IdleTimeout) },
	},
	{
		name: "KEEPALIVE", section: sectionClient, takes: "10s to 10m, or off",
		otherwise: "`1m`, or a third of the idle time where that is less, but at least 10 s", example: "1m",
		text: "How long a connection may be quiet until the kernel asks the other end whether it is there, and again every 20 s, three times more. That keeps the way through a load balancer or a NAT open, and ends connections whose " +
			"other end has gone without a word. It holds towards clients, Telegram and the front, and not towards strangers: most web sites do not ask after their visitors.\n\n" +
			"`off` leaves such connections to `SLUICE_IDLE_TIMEOUT`.",
		show: showKeepAlive,
	},

	{
		name: "DRAIN_TIMEOUT", section: sectionProcess, takes: "0 to 24h",
		text: "On SIGTERM or SIGINT no new connections are taken, and sessions may go on for so long. A second signal ends the process at once. " +
			"The proxy asks systemd for the time that it takes; other managers have a limit of their own (`docker stop --timeout`), which is to be longer.",
		show: func(c *Config) string { return formatDuration(c.DrainTimeout) },
	},
	{
		name: "ADMIN_LISTEN", section: sectionProcess, takes: "address:port, unix:/path or off",
		text: "Where `/metrics`, `/healthz` and `/readyz` are served, without TLS: keep it on this machine or on a private network. A unix socket can be used by its owner and group.",
		show: func(c *Config) string { return c.AdminListen },
	},
	{
		name: "ADMIN_TOKEN", section: sectionProcess, takes: fmt.Sprintf("%d to %d letters, digits and `-._~+/=`", minToken, maxToken),
		otherwise: "none: whoever reaches the address is answered", example: tokenPlaceholder,
		text: "What a request for `/metrics` must bring, as `Authorization: Bearer TOKEN`. The health pages, which load balancers ask for, never want it. `openssl rand -hex 24` makes one.\n\n" +
			"Better given as a file (`SLUICE_ADMIN_TOKEN_FILE`), as Prometheus takes it too (`credentials_file`).",
		show: func(c *Config) string { return c.AdminToken.String() },
	},
	{
		name: "STATE_DIR", section: sectionProcess, takes: "a directory",
		otherwise: "`$STATE_DIRECTORY` (set by systemd), else `$XDG_STATE_HOME/sluice`, else `$HOME/.local/state/sluice`",
		example:   "/var/lib/sluice",
		text:      "What should outlive a restart: lists of ranges, the hellos accepted in the last minutes, the secret of a trial. Each proxy needs one of its own.",
		show:      func(c *Config) string { return orNone(c.StateDir) },
	},
	{
		name: "LOG_LEVEL", section: sectionProcess, takes: "debug, info, warn or error",
		text: "The least severe messages that are written, to standard error.",
		show: func(c *Config) string { return strings.ToLower(c.LogLevel.String()) },
	},
	{
		name: "LOG_FORMAT", section: sectionProcess, takes: "text or json",
		text: "How log lines look. Under systemd's journal they carry no time of their own.",
		show: func(c *Config) string { return c.LogFormat },
	},
}

// testDC is added to the number of a data centre on the test servers (protocol.md 3.1).
const testDC = 10000

func dcSetting(name string, dc int) setting {
	what := fmt.Sprintf("data centre %d", dc)
	if dc > testDC {
		what = fmt.Sprintf("test data centre %d", dc-testDC)
	}
	return setting{
		name: name, section: sectionDC, takes: dcTakes, otherwise: "built in", example: "192.0.2.1:443,[2001:db8::1]:443",
		text: fmt.Sprintf("Addresses of %s in place of the built-in ones.", what),
		show: func(c *Config) string {
			if own := c.DC[dc]; own != nil {
				return showAddresses(own)
			}
			return "built in"
		},
	}
}

func showSecrets(list []Secret) string {
	if len(list) == 0 {
		return "none (trial)"
	}
	names := make([]string, len(list))
	for i, s := range list {
		names[i] = s.String()
	}
	return strings.Join(names, ",")
}

func showAddresses(list []netip.AddrPort) string {
	texts := make([]string, len(list))
	for i, a := range list {
		texts[i] = a.String()
	}
	return strings.Join(texts, ",")
}

func showSwitch(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}
