package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"testing"

	"sluice/engine"
)

// limit is one look at a host whose /proc is as given.
func limit(t *testing.T, f func(context.Context, *exam) Finding, status Status, says string, change func(*scene)) {
	t.Helper()
	s := newScene(t)
	change(s)
	s.look(f).want(t, status, says)
}

// needs are those of a proxy of two loops, from whom they are.
var needs = Needs(engine.NeedsOf(2))

func TestDescriptors(t *testing.T) {
	nofile := func(n uint64, clients string) func(*scene) {
		return func(s *scene) {
			s.world.Descriptors = func() (uint64, error) { return n, nil }
			s.set("SLUICE_MAX_CONNECTIONS", clients)
		}
	}
	few, some := uint64(needs.descriptors(fewClients)), uint64(needs.descriptors(500))
	limit(t, checkDescriptors, OK, "32625 clients", nofile(65536, "0"))
	limit(t, checkDescriptors, OK, "2000 clients", nofile(few, "0"))
	limit(t, checkDescriptors, Warn, "LimitNOFILE=65536", nofile(few-1, "0"))
	limit(t, checkDescriptors, OK, "", nofile(some, "500"))
	limit(t, checkDescriptors, Warn, fmt.Sprintf("LimitNOFILE=%d ", some+2), nofile(some, "501"))
	limit(t, checkDescriptors, Warn, "enough for 0 clients", nofile(100, "0"))
	limit(t, checkDescriptors, Skip, "cannot be read", func(s *scene) {
		s.world.Descriptors = func() (uint64, error) { return 0, errors.New("no") }
	})
	limit(t, checkDescriptors, Warn, "the running proxy may have 1024", func(s *scene) {
		s.admin(fmt.Sprintf("sluice_fds_limit %d", 1024-needs.Reserve))
	})
}

func TestPipes(t *testing.T) {
	pages := func(soft, most int) func(*scene) {
		return func(s *scene) {
			s.proc("sys/fs/pipe-user-pages-soft", strconv.Itoa(soft)+"\n")
			s.proc("sys/fs/pipe-max-size", strconv.Itoa(most)+"\n")
		}
	}
	soft := needs.Pipes * needs.PipeSize / os.Getpagesize()
	limit(t, checkPipes, Skip, "does not say", func(*scene) {})
	limit(t, checkPipes, OK, "64 pipes", pages(soft, 1<<20))
	limit(t, checkPipes, Warn, "fs.pipe-user-pages-soft=16384", pages(soft-1, 1<<20))
	limit(t, checkPipes, OK, "", pages(0, 1<<20))
	limit(t, checkPipes, OK, "", pages(16384, needs.PipeSize))
	limit(t, checkPipes, Warn, "fs.pipe-max-size", pages(16384, needs.PipeSize-1))
	limit(t, checkPipes, OK, "has 64; 3 bursts", func(s *scene) {
		s.admin(`sluice_pipes{state="idle"} 60`, `sluice_pipes{state="busy"} 4`, "sluice_pipe_exhausted_total 3")
	})
	limit(t, checkPipes, Warn, "copies every download", func(s *scene) { s.admin(`sluice_pipes{state="idle"} 0`) })
}

func TestPorts(t *testing.T) {
	ports := func(span, reserved, clients string) func(*scene) {
		return func(s *scene) {
			s.proc("sys/net/ipv4/ip_local_port_range", span+"\n")
			s.proc("sys/net/ipv4/ip_local_reserved_ports", reserved+"\n")
			s.set("SLUICE_MAX_CONNECTIONS", clients)
		}
	}
	limit(t, checkPorts, Skip, "", func(*scene) {})
	limit(t, checkPorts, Skip, "", ports("nonsense 5", "", "1"))
	limit(t, checkPorts, OK, "28232", ports("32768\t60999", "", "28232"))
	limit(t, checkPorts, Warn, "10240 65535", ports("32768\t60999", "", "28233"))
	limit(t, checkPorts, Warn, "ip_local_reserved_ports=8443", ports("8443\t60999", "80", "1"))
	limit(t, checkPorts, OK, "", ports("8443\t60999", "80,8000-8999", "1"))
	limit(t, checkPorts, OK, "", ports("8444\t60999", "", "1"))
}

func TestBacklog(t *testing.T) {
	backlog := func(somaxconn, syn, cookies int) func(*scene) {
		return func(s *scene) {
			s.proc("sys/net/core/somaxconn", strconv.Itoa(somaxconn))
			s.proc("sys/net/ipv4/tcp_max_syn_backlog", strconv.Itoa(syn))
			s.proc("sys/net/ipv4/tcp_syncookies", strconv.Itoa(cookies))
		}
	}
	limit(t, checkBacklog, Skip, "", func(*scene) {})
	limit(t, checkBacklog, OK, "1024", backlog(1024, 128, 1))
	limit(t, checkBacklog, Warn, "somaxconn=4096", backlog(1023, 4096, 1))
	limit(t, checkBacklog, OK, "", backlog(4096, 512, 0))
	limit(t, checkBacklog, Warn, "tcp_syncookies=1", backlog(4096, 511, 0))
}

func TestConntrack(t *testing.T) {
	table := func(most, count int) func(*scene) {
		return func(s *scene) {
			s.set("SLUICE_MAX_CONNECTIONS", "1000")
			s.proc("sys/net/netfilter/nf_conntrack_max", strconv.Itoa(most))
			s.proc("sys/net/netfilter/nf_conntrack_count", strconv.Itoa(count))
		}
	}
	limit(t, checkConntrack, OK, "tracks no connections", func(*scene) {})
	limit(t, checkConntrack, OK, "", table(2000, 1599))
	limit(t, checkConntrack, Warn, "1600 entries of 2000", table(2000, 1600))
	limit(t, checkConntrack, Warn, "nf_conntrack_max=4000", table(1999, 0))
}

func TestMemory(t *testing.T) {
	memory := func(kib int, clients string) func(*scene) {
		return func(s *scene) {
			s.proc("meminfo", "MemTotal:       "+strconv.Itoa(kib)+" kB\nMemFree: 1 kB\n")
			s.set("SLUICE_MAX_CONNECTIONS", clients)
		}
	}
	limit(t, checkMemory, Skip, "", func(*scene) {})
	limit(t, checkMemory, OK, "", memory(10*1000*clientKiB/8, "1000"))
	limit(t, checkMemory, Warn, "SLUICE_MAX_CONNECTIONS=999", memory(10*1000*clientKiB/8-1, "1000"))
}
