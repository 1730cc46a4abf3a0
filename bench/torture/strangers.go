package main

import (
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// perStranger is what a connection that says nothing may cost, in bytes of the process's memory.
const perStranger = 20 << 10

var strangerFaults = []fault{
	{
		name: "slow-loris", floods: true, about: "connections that say a byte now and then: in the PROXY header, in the hello, behind the flight, in the frame",
		prepare: func(*trial) (env, error) {
			return env{"SLUICE_LISTEN": "127.0.0.1:0," + headerListener, "SLUICE_HANDSHAKE_TIMEOUT": "2s"}, nil
		},
		meanwhile: slowLoris,
	},
	{
		name: "silent-10000", floods: true, about: "10,000 connections that say nothing: at most 20 KiB each",
		prepare:   func(*trial) (env, error) { return env{"SLUICE_HANDSHAKE_TIMEOUT": "1m"}, nil },
		meanwhile: silence,
	},
}

// lorisStages are where one may be slow: each gives the connection, and what it is to say slowly.
func (t *trial) lorisStages() []func() (net.Conn, []byte, error) {
	return []func() (net.Conn, []byte, error){
		func() (net.Conn, []byte, error) { // in the header
			c, err := t.approach(t.headerAddr(), nil)
			return c, []byte("PROXY TCP4 192.0.2.1 192.0.2.2 5555 443\r\n"), err
		},
		func() (net.Conn, []byte, error) { // in the hello
			c, err := t.approach(t.addr, nil)
			return c, signed(), err
		},
		func() (net.Conn, []byte, error) { // behind the flight, which is not read
			c, err := t.approach(t.addr, signed())
			return c, []byte{0x14, 3, 3, 0, 1, 1}, err
		},
		func() (net.Conn, []byte, error) { // in the frame
			c, err := t.client(goodDC)
			if err != nil {
				return nil, nil, err
			}
			return c.TCPConn, append([]byte{0x17, 3, 3, 0, 64}, make([]byte, 64)...), nil
		},
	}
}

// slowLoris drips the beginnings of connections until the proxy, or the front, has had enough of each.
func slowLoris(t *trial) error {
	stages := t.lorisStages()
	return atOnce(200, 200, func(i int) error {
		c, say, err := stages[i%len(stages)]()
		if err != nil {
			return fmt.Errorf("stage %d: %w", i%len(stages), err)
		}
		defer c.Close()
		for end := time.Now().Add(t.span() + 3*time.Second); time.Now().Before(end) && len(say) > 1; say = say[1:] {
			if _, err := c.Write(say[:1]); err != nil {
				break // it has been closed
			}
			time.Sleep(100 * time.Millisecond)
		}
		return nil
	})
}

// silence opens ten thousand connections and looks what they cost.
func silence(t *trial) error {
	before, err := measure(t.proxy)
	if err != nil {
		return err
	}
	kernel := slab()
	var mu sync.Mutex
	err = atOnce(8, 10_000, func(int) error {
		c, err := dialFrom(t.local(), t.addr)
		if err != nil {
			return err
		}
		mu.Lock()
		t.guests = append(t.guests, c)
		mu.Unlock()
		return nil
	})
	if err != nil {
		return err
	}
	time.Sleep(t.span()) // their first deadlines pass meanwhile
	now, err := measure(t.proxy)
	if err != nil {
		return err
	}
	held := now.connections - before.connections
	if held < 2000 {
		return fmt.Errorf("only %d connections are held", held)
	}
	each := (now.resident - before.resident) / int64(held)
	t.notef("%d connections held, %d closed to make room; %d bytes each in the process, %d in the kernel's slabs for both ends", held, 10_000-held, each,
		(slab()-kernel)/10_000)
	if each > perStranger {
		err = fmt.Errorf("a silent connection costs %d bytes", each)
	}
	t.sendAway()
	return err
}

// slab is the kernel's memory for its own objects, on the whole machine, in bytes.
func slab() int64 {
	b, _ := os.ReadFile("/proc/meminfo")
	return fieldAfter(string(b), "Slab:") << 10
}
