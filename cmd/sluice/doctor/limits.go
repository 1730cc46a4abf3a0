package doctor

import (
	"context"
	"strconv"
	"strings"
)

// What is worth a word; [Needs] has what the proxy takes.
const (
	// fewClients is the number below which a proxy that was given no limit is worth a word.
	fewClients = 2000
	// clientKiB is what a client costs in kernel and process memory on the average, with something in its buffers.
	clientKiB = 24
	// goodBacklog is an accept queue that takes the clients of a busy proxy coming back within a second.
	goodBacklog = 1024
)

// number reads a number below /proc.
func (x *exam) number(path string) (int64, bool) {
	n, err := strconv.ParseInt(x.read(path), 10, 64)
	return n, err == nil
}

// descriptors is how many the proxy has: it says so itself if it runs.
func (x *exam) descriptors() (n int64, whose string) {
	if p, err := x.page(); err == nil {
		if v, found := p.value("sluice_fds_limit"); found {
			return int64(v) + x.world.Needs.Reserve, "the running proxy"
		}
	}
	limit, err := x.world.Descriptors()
	if err != nil {
		return 0, ""
	}
	return int64(min(limit, 1<<30)), "a process started here"
}

// clients is how many the limits are to suffice for.
func (x *exam) clients() int64 {
	limit, _ := x.descriptors()
	fit := x.world.Needs.clients(limit)
	if x.cfg.MaxConnections == 0 {
		return fit
	}
	return min(int64(x.cfg.MaxConnections), fit)
}

func checkDescriptors(_ context.Context, x *exam) Finding {
	limit, whose := x.descriptors()
	if whose == "" {
		return skip("the limit cannot be read")
	}
	fit := x.world.Needs.clients(limit)
	want := int64(x.cfg.MaxConnections)
	const do = "raise it: LimitNOFILE=%d in the unit, or --ulimit nofile=%d for a container"
	switch {
	case want > fit:
		need := strconv.FormatInt(x.world.Needs.descriptors(want), 10)
		return warn(strings.ReplaceAll(do, "%d", need), "%s may have %d, enough for %d clients; SLUICE_MAX_CONNECTIONS is %d", whose, limit, fit, want)
	case want == 0 && fit < fewClients:
		return warn(strings.ReplaceAll(do, "%d", "65536"), "%s may have %d, enough for %d clients", whose, limit, fit)
	}
	return ok("%s may have %d, enough for %d clients", whose, limit, fit)
}

func checkPipes(_ context.Context, x *exam) Finding {
	if p, err := x.page(); err == nil {
		idle, exhausted := sum(p.by("sluice_pipes", "state")), 0.0
		exhausted, _ = p.value("sluice_pipe_exhausted_total")
		if idle == 0 {
			return warn("raise fs.pipe-user-pages-soft: sysctl -w fs.pipe-user-pages-soft=32768", "the running proxy has none, and copies every download")
		}
		return ok("the running proxy has %.0f; %.0f bursts were copied for want of one", idle, exhausted)
	}
	want, pages, size := int64(x.world.Needs.Pipes), x.world.Needs.pages(), int64(x.world.Needs.PipeSize)
	soft, found := x.number("proc/sys/fs/pipe-user-pages-soft")
	if !found {
		return skip("this host does not say how many there may be")
	}
	if most, found := x.number("proc/sys/fs/pipe-max-size"); found && most < size {
		return warn("sysctl -w fs.pipe-max-size=1048576", "fs.pipe-max-size is %d, and the proxy wants pipes of %d bytes", most, size)
	}
	if soft > 0 && soft < want*pages { // 0 is no limit
		return warn("sysctl -w fs.pipe-user-pages-soft="+strconv.FormatInt(max(16384, 2*want*pages), 10),
			"fs.pipe-user-pages-soft is %d pages, enough for %d of the %d pipes that the proxy wants", soft, soft/pages, want)
	}
	return ok("fs.pipe-user-pages-soft is %d pages, enough for the %d pipes that the proxy wants", soft, want)
}

func checkPorts(_ context.Context, x *exam) Finding {
	fields := strings.Fields(x.read("proc/sys/net/ipv4/ip_local_port_range"))
	if len(fields) != 2 {
		return skip("this host does not say which there are")
	}
	low, lowErr := strconv.Atoi(fields[0])
	high, highErr := strconv.Atoi(fields[1])
	if lowErr != nil || highErr != nil {
		return skip("this host does not say which there are")
	}
	n := int64(high - low + 1)
	for _, l := range x.cfg.Listen {
		if p := int(l.Port()); p >= low && p <= high && !reserved(x.read("proc/sys/net/ipv4/ip_local_reserved_ports"), p) {
			return warn("sysctl -w net.ipv4.ip_local_reserved_ports="+strconv.Itoa(p),
				"net.ipv4.ip_local_port_range is %d–%d, and port %d of SLUICE_LISTEN lies in it: a connection may hold it when the proxy is to start", low, high, p)
		}
	}
	if clients := x.clients(); n < clients {
		return warn("sysctl -w net.ipv4.ip_local_port_range='10240 65535', and reserve the listeners' own; or give SLUICE_DC_n several addresses",
			"net.ipv4.ip_local_port_range has %d, for each address of a data centre, and there may be %d clients", n, clients)
	}
	return ok("net.ipv4.ip_local_port_range has %d, for each address of a data centre", n)
}

// reserved says whether a list such as "8080,9000-9100" holds a port.
func reserved(list string, port int) bool {
	for item := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(item), "-")
		low, err := strconv.Atoi(first)
		high := low
		if isRange {
			high, _ = strconv.Atoi(last)
		}
		if err == nil && low <= port && port <= high {
			return true
		}
	}
	return false
}

func checkBacklog(_ context.Context, x *exam) Finding {
	somaxconn, found := x.number("proc/sys/net/core/somaxconn")
	if !found {
		return skip("this host does not say how long it is")
	}
	if somaxconn < goodBacklog {
		return warn("sysctl -w net.core.somaxconn=4096", "net.core.somaxconn is %d", somaxconn)
	}
	syn, found := x.number("proc/sys/net/ipv4/tcp_max_syn_backlog")
	cookies, _ := x.number("proc/sys/net/ipv4/tcp_syncookies")
	if found && syn < goodBacklog/2 && cookies == 0 {
		return warn("sysctl -w net.ipv4.tcp_max_syn_backlog=4096 net.ipv4.tcp_syncookies=1", "net.ipv4.tcp_max_syn_backlog is %d, without SYN cookies", syn)
	}
	return ok("net.core.somaxconn is %d", somaxconn)
}

func checkConntrack(_ context.Context, x *exam) Finding {
	most, found := x.number("proc/sys/net/netfilter/nf_conntrack_max")
	if !found {
		return ok("the kernel tracks no connections here")
	}
	count, _ := x.number("proc/sys/net/netfilter/nf_conntrack_count")
	need := 2 * x.clients() // a client's own, and the one to its data centre
	do := "sysctl -w net.netfilter.nf_conntrack_max=" + strconv.FormatInt(max(2*need, 2*most), 10) + ", or leave the proxy's ports out of it: notrack in nft's raw chain"
	switch {
	case count*10 >= most*8:
		return warn(do, "the table has %d entries of %d that there may be", count, most)
	case most < need:
		return warn(do, "nf_conntrack_max is %d, and %d clients make %d entries", most, x.clients(), need)
	}
	return ok("nf_conntrack_max is %d, and %d are in use", most, count)
}

func checkMemory(_ context.Context, x *exam) Finding {
	total := int64(0)
	for line := range strings.Lines(x.read("proc/meminfo")) {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "MemTotal:" {
			total, _ = strconv.ParseInt(fields[1], 10, 64)
		}
	}
	if total == 0 {
		return skip("this host does not say how much it has")
	}
	if need := x.clients() * clientKiB; need > total*8/10 {
		return warn("set SLUICE_MAX_CONNECTIONS="+strconv.FormatInt(total*8/10/clientKiB, 10)+", or lower the maxima of net.ipv4.tcp_rmem and tcp_wmem",
			"%d MiB, and %d clients may need some %d MiB with the kernel's buffers (an estimate of %d KiB each)", total>>10, x.clients(), need>>10, clientKiB)
	}
	return ok("%d MiB for up to %d clients", total>>10, x.clients())
}
