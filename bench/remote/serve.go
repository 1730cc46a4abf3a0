package remote

import (
	"bufio"
	"encoding/json"
	"io"
	"sync"

	"golang.org/x/sys/unix"
)

// Calls are the requests that have come and not been taken. The process's loop polls FD and takes them when it is readable.
type Calls struct {
	event int

	mu    sync.Mutex
	queue []*Call
	ended bool
	out   io.Writer
}

// Call is one request. It is answered once, by Reply or Fail, now or later, from any goroutine.
type Call struct {
	Name string
	Args json.RawMessage
	id   int
	from *Calls
}

// Serve begins to read requests from r; their replies go to w.
func Serve(r io.Reader, w io.Writer) (*Calls, error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	c := &Calls{event: fd, out: w}
	go c.read(r)
	return c, nil
}

func (c *Calls) read(r io.Reader) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		var q request
		ok := json.Unmarshal(line, &q) == nil
		c.mu.Lock()
		if ok {
			c.queue = append(c.queue, &Call{Name: q.Name, Args: q.Args, id: q.ID, from: c})
		}
		c.ended = err != nil
		c.mu.Unlock()
		_, _ = unix.Write(c.event, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		if err != nil {
			return
		}
	}
}

// FD becomes readable when there is something to take.
func (c *Calls) FD() int { return c.event }

// Take returns what has come; ended says that there will be no more and the process is to end.
func (c *Calls) Take() (calls []*Call, ended bool) {
	var b [8]byte
	_, _ = unix.Read(c.event, b[:])
	c.mu.Lock()
	defer c.mu.Unlock()
	calls, c.queue = c.queue, nil
	return calls, c.ended
}

// Reply answers with a value.
func (c *Call) Reply(value any) {
	encoded, err := json.Marshal(value)
	if err != nil {
		c.Fail(err)
		return
	}
	c.from.write(reply{ID: c.id, Value: encoded})
}

// Fail answers with an error.
func (c *Call) Fail(err error) { c.from.write(reply{ID: c.id, Error: err.Error()}) }

func (c *Calls) write(r reply) {
	line, err := json.Marshal(r)
	if err != nil {
		panic(err) // encoded values and text
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = c.out.Write(append(line, '\n'))
}
