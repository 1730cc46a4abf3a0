package main

import (
	"errors"
	"fmt"
	"strconv"

	"sluice/bench/load"
)

// sessionConns are the clients that begin at the same time.
const sessionConns = 64

func sessionScenarios() []scenario {
	figures := []string{"cpu_us_per_session", "sessions_per_cpu_s", "sessions_per_s", "p50_ms", "p99_ms"}
	return []scenario{
		{
			name: "sessions", figures: figures, run: sessions("", setup{greeted: true}),
			about: "new sessions: connect, handshake, first byte from the DC, close; raw: connect, first byte, close, nothing sent",
		},
		{
			name: "sessions-header", figures: figures, own: true, run: sessions("", setup{header: true}),
			about: "the same behind a load balancer that sends a PROXY header (version 2)",
		},
		{
			name: "sessions-fronted", figures: figures, run: sessions(load.Stranger, setup{fronted: true}),
			about: "strangers: connect, hello, the front's flight, a request and its first byte, close",
		},
	}
}

func sessions(kind string, s setup) func(*bench, variant) (values, error) {
	return func(b *bench, v variant) (out values, err error) {
		err = b.with(v, s, func(t *trial) error {
			out, err = t.sessions(kind, s)
			return err
		})
		return out, err
	}
}

func (t *trial) sessions(kind string, s setup) (values, error) {
	job := load.Job{Kind: kind, Conns: sessionConns, Ramp: sessionConns, Mode: load.Sessions}
	if kind == "" && t.proxy.name == rawName {
		job.Kind = load.Greeted
	}
	if s.header {
		job.Header = 2
	}
	g, err := t.open(job)
	if err != nil {
		return nil, err
	}
	d, err := t.measure(g, begun)
	if err != nil {
		return nil, err
	}
	if err := t.finish(g); err != nil {
		return nil, err
	}
	n := begun(d)
	v := values{
		"cpu_us_per_session": micros(d.proxy) / n, "sessions_per_cpu_s": n / d.proxy.Seconds(), "sessions_per_s": n / d.wall.Seconds(),
		"cpu_share": d.proxy.Seconds() / d.wall.Seconds(), "kernel_us_per_session": micros(d.kernel) / n,
	}
	latencies(v, &d.clients.Latency)
	return v, nil
}

func coresScenario() scenario {
	return scenario{
		name: "cores", own: true, figures: []string{"scale", "sessions_per_s_1", "sessions_per_s_2", "sessions_per_cpu_s_1", "sessions_per_cpu_s_2"},
		about: "new sessions with one CPU, then with two: scale is what two carry over what one does; where the load has no CPU of its own left, " +
			"it is worked out from the CPU time of a session (estimated is 1)",
		run: cores,
	}
}

// cores measures sessions on one CPU and on two. When the load would share the two, the rates cannot tell; the CPU time of a
// session still can, since a loop that has to wait for another one's locks or cache lines pays in CPU time.
func cores(b *bench, v variant) (values, error) {
	out := values{}
	cpus, err := allowedCPUs()
	if err != nil {
		return nil, err
	}
	if len(cpus) < 2 {
		return nil, errors.New("there is only one CPU")
	}
	for _, n := range []int{1, 2} {
		p, err := newPlace(cpus[len(cpus)-n:])
		if err != nil {
			return nil, err
		}
		defer p.close()
		if err := p.do(b.proxyPlace.join); err != nil {
			return nil, err
		}
		got, err := sessions("", setup{place: p, env: []string{"GOMAXPROCS=" + strconv.Itoa(n)}})(b, v)
		if err != nil {
			return nil, fmt.Errorf("%d loops: %w", n, err)
		}
		out[fmt.Sprintf("sessions_per_s_%d", n)] = got["sessions_per_s"]
		out[fmt.Sprintf("sessions_per_cpu_s_%d", n)] = got["sessions_per_cpu_s"]
	}
	out["scale"] = out["sessions_per_s_2"] / out["sessions_per_s_1"]
	if len(cpus) < 4 {
		out["estimated"] = 1
		out["scale"] = 2 * out["sessions_per_cpu_s_2"] / out["sessions_per_cpu_s_1"]
	}
	return out, nil
}
