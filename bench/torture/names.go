package main

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// nameServed gives the front a name, and this mount namespace a name server of our own that can fall silent.
func nameServed(t *trial) (env, error) {
	server, err := net.ListenPacket("udp", "127.0.0.1:53")
	if err != nil {
		return nil, err
	}
	t.atEnd(func() { _ = server.Close() })
	t.names.Store(true)
	go t.serveNames(server)
	undo, err := ownResolver()
	if err != nil {
		return nil, err
	}
	t.atEnd(undo)
	return env{"SLUICE_FRONT": fmt.Sprintf("front.torture.test:%d", t.front.Addr().Port())}, nil
}

// ownResolver puts files of our own over those that name the name server.
func ownResolver() (undo func(), err error) {
	dir, err := os.MkdirTemp("", "names")
	if err != nil {
		return nil, err
	}
	var mounted []string
	undo = func() {
		for _, path := range mounted {
			_ = unix.Unmount(path, unix.MNT_DETACH)
		}
		_ = os.RemoveAll(dir)
	}
	for path, text := range map[string]string{
		"/etc/resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n", "/etc/hosts": "127.0.0.1 localhost\n",
	} {
		file := dir + "/" + path[len("/etc/"):]
		err = errors.Join(os.WriteFile(file, []byte(text), 0o644), unix.Mount(file, path, "", unix.MS_BIND, ""))
		if err != nil {
			undo()
			return nil, fmt.Errorf("%s of our own: %w", path, err)
		}
		mounted = append(mounted, path)
	}
	return undo, nil
}

// serveNames answers every question for an IPv4 address with 127.0.0.1 and all others with nothing, while it is told to.
func (t *trial) serveNames(server net.PacketConn) {
	b := make([]byte, 512)
	for {
		n, from, err := server.ReadFrom(b)
		if err != nil {
			return
		}
		if answer := nameAnswer(b[:n]); answer != nil && t.names.Load() {
			_, _ = server.WriteTo(answer, from)
		}
	}
}

// nameAnswer makes the answer to a question, RFC 1035 section 4; nil to what is none.
func nameAnswer(q []byte) []byte {
	const header = 12
	end := header
	for end < len(q) && q[end] != 0 {
		end += 1 + int(q[end])
	}
	if end += 5; end > len(q) {
		return nil
	}
	a := append([]byte{q[0], q[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, q[header:end]...)
	if q[end-3] == 1 { // type A
		a[7] = 1
		a = append(a, 0xc0, header, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1)
	}
	return a
}
