// Package bpf is what the proxy asks the kernel to do before a connection exists: a guard on the listeners that drops what does
// not come from given ranges, so that a stranger's connect is not answered at all, as behind a firewall.
//
// It needs CAP_BPF and CAP_NET_ADMIN (or root) and a kernel of 5.11 or later. Without them NewGuard fails, and the caller has
// to close such connections after accept.
package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// maxRanges is how many ranges of a family a guard takes.
const maxRanges = 20_000

// Slots of the counters.
const (
	countIPv4 = iota
	countIPv6
	counts
)

// Guard is a socket filter with the ranges it lets in. Attached to a listening socket the kernel runs it for every segment that
// arrives for the listener itself: the SYN, and the ACK that completes the handshake. Its methods may be called by one
// goroutine at a time.
type Guard struct {
	program *ebpf.Program
	v4, v6  *ebpf.Map // longest prefix matching
	dropped *ebpf.Map // by family, for each CPU
	in      map[netip.Prefix]bool
}

var errNotAllowed = fmt.Errorf("bpf: %w: it takes CAP_BPF and CAP_NET_ADMIN, and a system that lets containers use bpf", unix.EPERM)

// NewGuard loads a guard that lets nobody in. Close must be called.
func NewGuard() (_ *Guard, err error) {
	g := &Guard{in: map[netip.Prefix]bool{}}
	defer func() {
		if err != nil {
			_ = g.Close()
		}
		if errors.Is(err, unix.EPERM) {
			err = errNotAllowed // the library's words are advice for programmers
		}
	}()
	if g.v4, err = newTrie("sluice_v4", netip.IPv4Unspecified()); err != nil {
		return nil, fmt.Errorf("bpf: map: %w", err)
	}
	if g.v6, err = newTrie("sluice_v6", netip.IPv6Unspecified()); err != nil {
		return nil, fmt.Errorf("bpf: map: %w", err)
	}
	g.dropped, err = ebpf.NewMap(&ebpf.MapSpec{Name: "sluice_dropped", Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: counts})
	if err != nil {
		return nil, fmt.Errorf("bpf: map: %w", err)
	}
	g.program, err = ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "sluice_guard", Type: ebpf.SocketFilter, License: "Apache-2.0", Instructions: g.instructions(),
	})
	if err != nil {
		return nil, fmt.Errorf("bpf: program: %w", err)
	}
	return g, nil
}

func newTrie(name string, family netip.Addr) (*ebpf.Map, error) {
	return ebpf.NewMap(&ebpf.MapSpec{
		Name: name, Type: ebpf.LPMTrie, KeySize: uint32(len(key(netip.PrefixFrom(family, 0)))), ValueSize: 1, MaxEntries: maxRanges, Flags: unix.BPF_F_NO_PREALLOC,
	})
}

// Where things lie in an IP header, and where the program keeps its keys on the stack.
const (
	headerStartNet = 1 // BPF_HDR_START_NET: offsets count from the IP header

	source4, source6 = 12, 8
	slotAt           = -4  // u32
	versionAt        = -8  // u8
	key4At           = -16 // u32 length, 4 bytes
	key6At           = -40 // u32 length, 16 bytes
)

// instructions is the program: the source address, looked up in the trie of its family; 0 drops the segment, -1 keeps all of it.
// IPv4 at a listener of both families arrives as IPv4.
func (g *Guard) instructions() asm.Instructions {
	load := func(offset, to, size int32) asm.Instructions {
		return asm.Instructions{
			asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Imm(asm.R2, offset), asm.Mov.Reg(asm.R3, asm.RFP), asm.Add.Imm(asm.R3, to),
			asm.Mov.Imm(asm.R4, size), asm.Mov.Imm(asm.R5, headerStartNet), asm.FnSkbLoadBytesRelative.Call(),
			asm.JNE.Imm(asm.R0, 0, "drop"), // no IP header: it cannot be for a TCP listener
		}
	}
	lookUp := func(m *ebpf.Map, keyAt int32, slot int64) asm.Instructions {
		return asm.Instructions{
			asm.LoadMapPtr(asm.R1, m.FD()), asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, keyAt), asm.FnMapLookupElem.Call(),
			asm.JNE.Imm(asm.R0, 0, "keep"),
			asm.StoreImm(asm.RFP, slotAt, slot, asm.Word),
			asm.Ja.Label("count"),
		}
	}
	p := asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}
	p = append(p, load(0, versionAt, 1)...)
	p = append(p,
		asm.LoadMem(asm.R7, asm.RFP, versionAt, asm.Byte), asm.RSh.Imm(asm.R7, 4),
		asm.JEq.Imm(asm.R7, 6, "v6"),
		asm.StoreImm(asm.RFP, key4At, 32, asm.Word))
	p = append(p, load(source4, key4At+4, 4)...)
	p = append(p, lookUp(g.v4, key4At, countIPv4)...)
	p = append(p, asm.StoreImm(asm.RFP, key6At, 128, asm.Word).WithSymbol("v6"))
	p = append(p, load(source6, key6At+4, 16)...)
	p = append(p, lookUp(g.v6, key6At, countIPv6)...)
	return append(p,
		asm.LoadMapPtr(asm.R1, g.dropped.FD()).WithSymbol("count"), asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, slotAt), asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "drop"),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord), asm.Add.Imm(asm.R1, 1), asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("drop"), asm.Return(),
		asm.Mov.Imm(asm.R0, -1).WithSymbol("keep"), asm.Return())
}

// key is a prefix as a trie takes it: its length in the machine's byte order, then the address.
func key(p netip.Prefix) []byte {
	return append(binary.NativeEndian.AppendUint32(nil, uint32(p.Bits())), p.Addr().AsSlice()...)
}

func (g *Guard) trie(p netip.Prefix) *ebpf.Map {
	if p.Addr().Is4() {
		return g.v4
	}
	return g.v6
}

// Set lets in exactly these ranges. What is in the old ranges and in the new is let in at every moment between; on an error the guard
// lets in the old, and maybe some of the new.
func (g *Guard) Set(ranges []netip.Prefix) error {
	next := map[netip.Prefix]bool{}
	for _, p := range ranges {
		p = p.Masked()
		next[p] = true
		if g.in[p] {
			continue
		}
		if err := g.trie(p).Put(key(p), []byte{1}); err != nil {
			return fmt.Errorf("bpf: let %v in: %w", p, err)
		}
		g.in[p] = true
	}
	for p := range g.in {
		if next[p] {
			continue
		}
		if err := g.trie(p).Delete(key(p)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("bpf: shut %v out: %w", p, err)
		}
		delete(g.in, p)
	}
	return nil
}

// Attach puts the guard on a listening socket, in the place of another if there is one. Connections accepted there inherit it: see Detach.
func (g *Guard) Attach(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ATTACH_BPF, g.program.FD()); err != nil {
		return fmt.Errorf("bpf: SO_ATTACH_BPF: %w", err)
	}
	return nil
}

// Detach takes whatever filter there is off a socket. A connection accepted from a guarded listener would run it for each of its segments.
func Detach(fd int) { _ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0) }

// Dropped counts the segments that were not let in, by family. A connect is tried several times before it is given up.
func (g *Guard) Dropped() (v4, v6 uint64, err error) {
	var sums [counts]uint64
	for slot := range sums {
		var each []uint64
		if err := g.dropped.Lookup(uint32(slot), &each); err != nil {
			return 0, 0, fmt.Errorf("bpf: count: %w", err)
		}
		for _, n := range each {
			sums[slot] += n
		}
	}
	return sums[countIPv4], sums[countIPv6], nil
}

// Close gives the guard's descriptors back. Listeners that it is attached to keep it.
func (g *Guard) Close() error {
	var errs []error
	for _, m := range []*ebpf.Map{g.v4, g.v6, g.dropped} {
		if m != nil {
			errs = append(errs, m.Close())
		}
	}
	if g.program != nil {
		errs = append(errs, g.program.Close())
	}
	return errors.Join(errs...)
}
