package stand

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// PID is the proxy's process id.
func (p *Proxy) PID() int { return p.cmd.Process.Pid }

// Command is another command of the same program, with the proxy's own settings and more, which win. It ends when its caller does.
func (p *Proxy) Command(settings map[string]string, args ...string) *exec.Cmd {
	own := p.cmd.Args
	cmd := exec.Command(own[0], append(own[1:len(own)-1:len(own)-1], args...)...)
	cmd.Env = append([]string(nil), p.cmd.Env...)
	for k, v := range settings {
		cmd.Env = append(cmd.Env, k+"="+v) // the last of two counts
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// Descriptors counts the process's open descriptors by what they are: "socket", "pipe", "anon_inode:[eventpoll]" and so on.
func (p *Proxy) Descriptors() (map[string]int, error) {
	dir := fmt.Sprintf("/proc/%d/fd", p.PID())
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	count := map[string]int{}
	for _, n := range names {
		target, err := os.Readlink(dir + "/" + n.Name())
		if err != nil {
			continue // closed meanwhile
		}
		kind, _, _ := strings.Cut(target, ":[")
		count[kind]++
	}
	return count, nil
}

// Resident is the process's resident memory, in bytes.
func (p *Proxy) Resident() (int64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	scan := bufio.NewScanner(f)
	for scan.Scan() {
		if rest, ok := strings.CutPrefix(scan.Text(), "VmRSS:"); ok {
			kilobytes, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kilobytes << 10, err
		}
	}
	return 0, fmt.Errorf("no VmRSS in %s", f.Name())
}

// Metric is the value of one series of the metrics page, as it is written there: `sluice_connections{state="relay"}`.
// A series that is not there is an error.
func (p *Proxy) Metric(series string) (float64, error) {
	page, err := p.Page("/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(page) {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(rest), 64)
		}
	}
	return 0, fmt.Errorf("no series %s", series)
}

// SumMetric adds up all series of a family.
func (p *Proxy) SumMetric(family string) (float64, error) {
	page, err := p.Page("/metrics")
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for line := range strings.Lines(page) {
		if !strings.HasPrefix(line, family+"{") && !strings.HasPrefix(line, family+" ") {
			continue
		}
		fields := strings.Fields(line)
		v, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			return 0, err
		}
		sum += v
	}
	return sum, nil
}
