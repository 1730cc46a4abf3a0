// Package remote is how the driver talks to the processes it starts: one JSON object a line, requests on standard input and
// replies on standard output. A process whose input ends is to end, so that nothing outlives the driver.
package remote

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

type request struct {
	ID   int             `json:"id"`
	Name string          `json:"name"`
	Args json.RawMessage `json:"args,omitempty"`
}

type reply struct {
	ID    int             `json:"id"`
	Error string          `json:"error,omitempty"`
	Value json.RawMessage `json:"value,omitempty"`
}

// Process is the driver's end. Its methods may be called from any goroutine.
type Process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	exited chan struct{}
	err    error // once exited is closed

	mu      sync.Mutex
	next    int
	waiting map[int]chan reply
}

// Start starts cmd, whose standard input and output must not be set. Stop must be called.
func Start(cmd *exec.Cmd) (*Process, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if cmd.Stderr == nil {
		cmd.Stderr = os.Stderr
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	p := &Process{cmd: cmd, in: in, exited: make(chan struct{}), waiting: map[int]chan reply{}}
	go p.read(out)
	return p, nil
}

func (p *Process) read(out io.Reader) {
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		var r reply
		if json.Unmarshal(line, &r) != nil {
			continue
		}
		p.mu.Lock()
		to := p.waiting[r.ID]
		delete(p.waiting, r.ID)
		p.mu.Unlock()
		if to != nil {
			to <- r
		}
	}
	p.err = p.cmd.Wait()
	close(p.exited)
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Call has the process do name with args and decodes its answer into value, which may be nil.
func (p *Process) Call(name string, args, value any, limit time.Duration) error {
	encoded, err := json.Marshal(args)
	if err != nil {
		return err
	}
	answer := make(chan reply, 1)
	p.mu.Lock()
	p.next++
	id := p.next
	p.waiting[id] = answer
	p.mu.Unlock()
	line, err := json.Marshal(request{ID: id, Name: name, Args: encoded})
	if err != nil {
		return err
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case r := <-answer:
		if r.Error != "" {
			return fmt.Errorf("%s: %s", name, r.Error)
		}
		if value == nil {
			return nil
		}
		return json.Unmarshal(r.Value, value)
	case <-p.exited:
		return fmt.Errorf("%s: the process has ended: %w", name, errors.Join(p.err, io.ErrUnexpectedEOF))
	case <-timer.C:
		return fmt.Errorf("%s: no answer within %v", name, limit)
	}
}

// Stop ends the process by the end of its input, and insists after two seconds.
func (p *Process) Stop() {
	_ = p.in.Close()
	timer := time.NewTimer(2 * time.Second)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}
