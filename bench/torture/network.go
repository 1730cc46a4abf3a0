package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"sluice/bench/stand"
)

// farAddress is where a stand-in lives that packets can be kept from.
const farAddress = "127.0.0.9"

var networkFaults = []fault{
	{
		name: "no-ports", about: "the kernel has no local port left to dial from",
		hurts: victims{clients: true, strangers: true}, strike: takePorts,
	},
	{
		name: "dc-refused", about: "a data centre refuses connections, and resets those it had",
		prepare: badDataCentre("127.0.0.1:0"), strike: func(t *trial) (func() error, error) {
			t.hop.shut(true)
			return t.hop.open, t.badClients(20)
		}, after: badServed,
	},
	{
		name: "dc-blackholed", about: "packets to a data centre are dropped: those that were connected stand still and lose nothing",
		prepare: badDataCentre(farAddress + ":0"), strike: blackHole,
		after: func(t *trial) error { return errors.Join(t.aimedWhole(), badServed(t)) },
	},
	{
		name: "dc-other-address", about: "the same, and the data centre has another address that is well: clients are served by that",
		prepare: func(t *trial) (env, error) {
			settings, err := badDataCentre(farAddress + ":0")(t)
			if err == nil {
				settings[badSetting] += "," + t.dc.Addr().String()
			}
			return settings, err
		},
		strike: func(t *trial) (func() error, error) {
			cease, err := blackHole(t)
			if err != nil {
				return cease, err
			}
			return cease, badServed(t)
		},
		after: (*trial).aimedWhole,
	},
	{
		name: "dc-slow", about: "a data centre takes and gives a trickle, to clients who want more",
		prepare: badDataCentre("127.0.0.1:0"), strike: slowDataCentre,
		after: func(t *trial) error { return errors.Join(t.aimedWhole(), badServed(t)) },
	},
	{
		name: "dc-reset", about: "a data centre resets its connections in the middle of a record",
		prepare: badDataCentre("127.0.0.1:0"), strike: resetDataCentre, after: badServed,
	},
	{
		name: "dc-half-open", about: "a data centre vanishes without a word while sessions are open; idle time ends them",
		prepare: func(t *trial) (env, error) {
			settings, err := badDataCentre(farAddress + ":0")(t)
			settings["SLUICE_IDLE_TIMEOUT"] = "10s"
			return settings, err
		},
		strike: vanish, after: badServed,
	},
	{
		name: "front-down", about: "the front refuses connections, and resets those it had",
		hurts: victims{strangers: true, fronted: true}, prepare: badFront, strike: func(t *trial) (func() error, error) {
			t.hop.shut(true)
			return t.hop.open, nil
		},
	},
	{
		name: "front-mute", about: "the front takes connections and says nothing",
		hurts: victims{strangers: true}, prepare: badFront, strike: manners(mute),
	},
	{
		name: "front-slow", about: "the front takes and gives a trickle",
		hurts: victims{}, prepare: badFront, strike: manners(drip),
	},
	{
		name: "front-reset", about: "the front resets connections in the middle of its answer",
		hurts: victims{strangers: true, fronted: true}, prepare: badFront, strike: manners(cut),
	},
	{
		name: "front-loop", about: "the front leads back to the proxy, by a way that it cannot know",
		hurts: victims{strangers: true}, prepare: loopingFront, strike: func(t *trial) (func() error, error) {
			t.looping.Store(true)
			return func() error { t.looping.Store(false); return nil }, nil
		},
	},
}

var badSetting = fmt.Sprintf("SLUICE_DC_%d", badDC)

// badDataCentre puts a hop before another data centre. Five sessions to it begin before the fault.
func badDataCentre(addr string) func(*trial) (env, error) {
	return func(t *trial) (env, error) {
		h, err := newHop(addr, t.dc.Addr)
		if err != nil {
			return nil, err
		}
		t.hop = h
		t.atEnd(h.close)
		return env{badSetting: h.addr.String()}, nil
	}
}

func badFront(t *trial) (env, error) {
	h, err := newHop("127.0.0.1:0", t.front.Addr)
	if err != nil {
		return nil, err
	}
	t.hop, h.cutAfter = h, 3000
	t.atEnd(h.close)
	return env{"SLUICE_FRONT": h.addr.String()}, nil
}

// loopingFront is a front that is the proxy itself while the fault lasts.
func loopingFront(t *trial) (env, error) {
	h, err := newHop("127.0.0.1:0", func() netip.AddrPort {
		if t.looping.Load() {
			return t.addr
		}
		return t.front.Addr()
	})
	if err != nil {
		return nil, err
	}
	t.hop = h
	t.atEnd(h.close)
	return env{"SLUICE_FRONT": h.addr.String(), "SLUICE_MAX_CONNECTIONS": "1200"}, nil
}

func manners(m manner) func(*trial) (func() error, error) {
	return func(t *trial) (func() error, error) {
		t.hop.set(m)
		return func() error { t.hop.set(pass); return nil }, nil
	}
}

// badClients come for the data centre that has the fault, say their first words, and stay.
func (t *trial) badClients(n int) error {
	for range n {
		if err := t.badGuest(badDC); err != nil {
			return err
		}
	}
	return nil
}

// badGuest is a client that asks for a megabyte and reads none of it.
func (t *trial) badGuest(dc int16) error {
	c, err := t.client(dc)
	if err == nil {
		_, err = c.Write(stand.Request{Op: stand.Down, Size: 1 << 20}.Bytes())
		t.guests = append(t.guests, c)
	}
	return err
}

// openAimed begins sessions to the data centre that will have the fault.
func (t *trial) openAimed(n int) error {
	return t.aimed.open(n, func() (stream, error) { return t.client(badDC) })
}

// aimedWhole ends those sessions, which must have lost nothing.
func (t *trial) aimedWhole() error {
	t.aimed.mark()
	all := len(t.aimed.sessions)
	if n := t.aimed.awaitMoved(patience); n < all {
		return fmt.Errorf("%d of %d sessions of the data centre go on", n, all)
	}
	if lost, err := t.aimed.finish(); lost > 0 {
		return fmt.Errorf("%d of %d sessions of the data centre lost something: %w", lost, all, err)
	}
	return nil
}

// badServed wants a client of the data centre that had the fault to be served.
func badServed(t *trial) error {
	deadline := time.Now().Add(patience)
	for {
		c, err := t.client(badDC)
		if err == nil {
			err = visit(c)
		}
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// takePorts leaves the network namespace two ports to dial from, and both are taken.
func takePorts(t *trial) (func() error, error) {
	for _, addr := range []string{"127.0.0.1:61000", "127.0.0.1:61001"} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, err
		}
		t.atEnd(func() { _ = l.Close() })
	}
	restore, err := setting("net/ipv4/ip_local_port_range", "61000 61001")
	return func() error {
		n, err := t.proxy.Metric(fmt.Sprintf("sluice_dc_dials_total{dc=%q,result=%q}", fmt.Sprint(goodDC), "exhausted"))
		if err == nil && n == 0 {
			err = errors.New("no dial failed for want of a port")
		}
		return errors.Join(err, restore())
	}, err
}

// blackHole drops every packet to and from the data centre's address.
func blackHole(t *trial) (func() error, error) {
	if err := t.openAimed(5); err != nil {
		return nil, err
	}
	cease, err := dropPackets()
	if err != nil {
		return nil, err
	}
	return cease, t.badClients(20)
}

// dropPackets keeps all packets from farAddress.
func dropPackets() (restore func() error, err error) {
	err = command("nft add table ip torture", "nft add chain ip torture out { type filter hook output priority 0 ; }",
		"nft add rule ip torture out ip daddr "+farAddress+" drop", "nft add rule ip torture out ip saddr "+farAddress+" drop")
	return func() error { return command("nft delete table ip torture") }, err
}

func slowDataCentre(t *trial) (func() error, error) {
	if err := t.openAimed(5); err != nil {
		return nil, err
	}
	t.hop.set(drip)
	return func() error { t.hop.set(pass); return nil }, t.badClients(20)
}

// resetDataCentre has downloads end in a reset. What comes before it is right, record by record, or the client says so.
func resetDataCentre(t *trial) (func() error, error) {
	t.hop.set(cut)
	for range 20 {
		c, err := t.client(badDC)
		if err != nil {
			return nil, err
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		if _, err := c.Write(stand.Request{Op: stand.Down, Size: 4 << 20, Seed: 5}.Bytes()); err != nil {
			return nil, err
		}
		check := stand.NewCheck(5)
		_, err = io.Copy(check, c)
		if check.Seen() >= 4<<20 {
			return nil, errors.New("nothing was reset")
		}
		if err == nil || isTimeout(err) {
			return nil, fmt.Errorf("a reset after %d bytes came as %v", check.Seen(), err)
		}
		_ = c.Close()
	}
	return func() error { t.hop.set(pass); return nil }, nil
}

// vanish drops packets for longer than the idle time, and the data centre forgets its connections meanwhile.
func vanish(t *trial) (func() error, error) {
	if err := t.openAimed(10); err != nil {
		return nil, err
	}
	cease, err := dropPackets()
	if err != nil {
		return nil, err
	}
	t.hop.shut(true)
	gone := fmt.Sprintf("sluice_relays_closed_total{cause=%q}", "idle")
	deadline := time.Now().Add(patience)
	for {
		n, err := t.proxy.Metric(gone)
		if err != nil || n >= 10 {
			break
		}
		if time.Now().After(deadline) {
			return cease, fmt.Errorf("%v of 10 half-open sessions were closed", n)
		}
		time.Sleep(100 * time.Millisecond)
	}
	for _, s := range t.aimed.sessions {
		_ = s.conn.Close()
	}
	t.aimed.sessions = nil
	return func() error { return errors.Join(cease(), t.hop.open()) }, nil
}
