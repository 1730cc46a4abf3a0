package doctor

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"sluice/engine/dc"
	"sluice/obfs"
)

// dcStand answers req_pq as a data centre does, unless it is told to misbehave.
type dcStand struct {
	number int
	ahead  time.Duration // its clock
	answer func(nonce []byte) []byte
}

func (d dcStand) serve(t *testing.T) string {
	return server(t, func(c net.Conn) { d.talk(t, c) })
}

func (d dcStand) talk(t *testing.T, c net.Conn) {
	wire := make([]byte, obfs.FrameLen)
	if _, err := io.ReadFull(c, wire); err != nil {
		return
	}
	in, out, tag, number, err := obfs.ParseServerFrame(wire)
	if err != nil || tag != obfs.Padded || dc.Number(number) != d.number {
		t.Errorf("data centre %d got a frame for %d with tag %x: %v", d.number, number, tag, err)
		return
	}
	body, err := readPacket(cipher.StreamReader{S: in.Stream(obfs.FrameLen), R: c})
	if err != nil || len(body) < 40 || binary.LittleEndian.Uint32(body[20:]) != reqPQMulti || binary.LittleEndian.Uint64(body[8:])&3 != 0 {
		t.Errorf("data centre %d was asked %x: %v", d.number, body, err)
		return
	}
	answer := d.resPQ(body[24:40])
	if d.answer != nil {
		answer = d.answer(body[24:40])
	}
	_, _ = cipher.StreamWriter{S: out.Stream(0), W: c}.Write(answer)
}

// resPQ is a good answer, with some padding.
func (d dcStand) resPQ(nonce []byte) []byte {
	body := append(binary.LittleEndian.AppendUint32(nil, resPQ), nonce...)
	body = append(body, bytes.Repeat([]byte{7}, 16)...) // the server's nonce
	body = append(body, "\x08\x17\xed\x48\x94\x1a\x08\xf9\x81\x00\x00\x00"...)
	now := time.Now().Add(d.ahead)
	msg := binary.LittleEndian.AppendUint64(make([]byte, 8), uint64(now.Unix())<<32|uint64(now.Nanosecond())<<32/1e9&^3|1)
	msg = binary.LittleEndian.AppendUint32(msg, uint32(len(body)))
	return packet(append(append(msg, body...), 1, 2, 3))
}

func packet(b []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(b))), b...)
}

func TestAskPQ(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(nonce []byte) []byte
		want   error
		says   string
	}{
		{name: "good"},
		{name: "refused", answer: func([]byte) []byte { return packet([]byte{0x6c, 0xfe, 0xff, 0xff}) }, says: "error -404"},
		{name: "refused with padding", answer: func([]byte) []byte { return packet([]byte{0x53, 0xfe, 0xff, 0xff, 1, 2, 3}) }, says: "error -429"},
		{name: "another question's", answer: func(nonce []byte) []byte { return dcStand{}.resPQ(make([]byte, nonceLen)) }, want: errNonce},
		{name: "something else", answer: func(nonce []byte) []byte {
			p := dcStand{}.resPQ(nonce)
			p[4+headLen]++
			return p
		}, want: errNotPQ},
		{name: "with a key", answer: func(nonce []byte) []byte {
			p := dcStand{}.resPQ(nonce)
			p[4]++
			return p
		}, want: errNotPQ},
		{name: "too short", answer: func([]byte) []byte { return packet(make([]byte, headLen+4)) }, want: errNotPQ},
		{name: "impossible", answer: func([]byte) []byte { return []byte{0xff, 0xff, 0xff, 0x7f} }, want: errLength},
		{name: "the longest", answer: func(nonce []byte) []byte {
			p := dcStand{}.resPQ(nonce)[4:]
			return packet(append(p, make([]byte, maxPacket-len(p))...))
		}},
		{name: "longer than that", answer: func([]byte) []byte { return packet(make([]byte, maxPacket+1)) }, want: errLength},
		{name: "half", answer: func(nonce []byte) []byte { return dcStand{}.resPQ(nonce)[:30] }, want: io.ErrUnexpectedEOF},
		{name: "nothing", answer: func([]byte) []byte { return nil }, want: io.EOF},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", dcStand{number: 4, ahead: 90 * time.Second, answer: tt.answer}.serve(t))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			clock, err := askPQ(conn, 4, time.Now(), rand.Reader)
			switch {
			case tt.want != nil:
				if !errors.Is(err, tt.want) {
					t.Errorf("error %v, want %v", err, tt.want)
				}
			case tt.says != "":
				if err == nil || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("error %v, want one with %q", err, tt.says)
				}
			case err != nil:
				t.Error(err)
			}
			if tt.name == "good" && (time.Until(clock) < 30*time.Second || time.Until(clock) > 91*time.Second) {
				t.Errorf("its clock is read as %v", clock)
			}
		})
	}
}

// centres starts a stand-in for each data centre that is not in without, for IPv4 and for IPv6 as far as wanted.
func (s *scene) centres(ahead time.Duration, want func(number int, v4 bool) bool) {
	s.t.Helper()
	x := s.exam()
	book := dc.NewBook(x.cfg.DC, dc.Preference(x.cfg.IPPreference))
	for _, n := range append(append([]int{}, userDCs...), testDCs...) {
		stand := ""
		for _, a := range book.Addrs(n, time.Now()) {
			if !want(n, a.Addr().Is4()) {
				continue
			}
			if stand == "" {
				stand = dcStand{number: n, ahead: ahead}.serve(s.t)
			}
			s.route(a.String(), stand)
		}
	}
}

func everyAddress(int, bool) bool { return true }

func TestCentres(t *testing.T) {
	for _, tt := range []struct {
		name   string
		want   func(int, bool) bool
		failed string // the ID
		status map[string]Status
	}{
		{name: "all answer", want: everyAddress, status: map[string]Status{"dc-1": OK, "dc-203": OK, "dc-test": OK, "dc-addresses": OK}},
		{name: "no IPv6", want: func(_ int, v4 bool) bool { return v4 }, status: map[string]Status{"dc-1": OK, "dc-203": OK, "dc-test": OK, "dc-addresses": Warn}},
		{name: "only the second family", want: func(_ int, v4 bool) bool { return !v4 }, status: map[string]Status{"dc-1": OK, "dc-addresses": Warn}},
		{name: "one is silent", want: func(n int, _ bool) bool { return n != 4 }, status: map[string]Status{"dc-4": Fail, "dc-5": OK, "dc-addresses": Warn}},
		{name: "no test servers", want: func(n int, _ bool) bool { return n < dc.Test }, status: map[string]Status{"dc-5": OK, "dc-test": Warn}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t)
			s.centres(0, tt.want)
			found := map[string]Finding{}
			for _, f := range checkDCs(t.Context(), s.exam()) {
				found[f.ID] = f
			}
			if len(found) != len(dcIDs) {
				t.Errorf("%d findings for %d IDs", len(found), len(dcIDs))
			}
			for id, want := range tt.status {
				if f := found[id]; f.Status != want {
					t.Errorf("%s is %s, want %s: %s", id, f.Status, want, f.Seen)
				}
			}
		})
	}
}

func TestCentreThatSaysNo(t *testing.T) {
	s := newScene(t)
	s.set("SLUICE_DC_3", "192.0.2.3:443")
	s.route("192.0.2.3:443", dcStand{number: 3, answer: func([]byte) []byte { return packet([]byte{0x6c, 0xfe, 0xff, 0xff}) }}.serve(t))
	for _, f := range checkDCs(t.Context(), s.exam()) {
		if f.ID == "dc-3" {
			f.want(t, Fail, "error -404", "SLUICE_DC_3", "192.0.2.3:443")
		}
	}
}
