package model

import (
	"cmp"
	"math/bits"
	"net/netip"
	"slices"
	"strings"
)

// A port block's length is a power of two, and its first port a multiple of the length. No block begins below
// firstPort.
const (
	firstPort = 1024
	lastPort  = 65535

	MinPortsPerHost     = 64
	MaxPortsPerHost     = 32768
	DefaultPortsPerHost = 1024
)

// ports counts the blocks that have each 64 ports of an address: at most one, except while a draft changes.
type ports [(lastPort + 1) / MinPortsPerHost]uint8

// blockKey is the address and the first port of a port block.
type blockKey struct {
	addressKey
	first uint16
}

// roomKey is an address with port blocks, by the length of the longest free block on it.
type roomKey struct {
	in      string // PublicPool
	size    int
	address netip.Addr
}

// blockRequest is a VPC on a host that is to have a port block and has none.
type blockRequest struct {
	pool  string
	size  int
	block string // VPC/HOST
}

func (b blockKey) compare(c blockKey) int {
	return cmp.Or(b.addressKey.compare(c.addressKey), cmp.Compare(b.first, c.first))
}

func (r roomKey) compare(s roomKey) int {
	return cmp.Or(strings.Compare(r.in, s.in), cmp.Compare(r.size, s.size), r.address.Compare(s.address))
}

func (w blockRequest) compare(x blockRequest) int {
	return cmp.Or(strings.Compare(w.pool, x.pool), cmp.Compare(w.size, x.size), strings.Compare(w.block, x.block))
}

// validBlockSize reports whether a block may have n ports.
func validBlockSize(n int) bool {
	return n >= MinPortsPerHost && n <= MaxPortsPerHost && bits.OnesCount(uint(n)) == 1
}

// free is the first port of the first free block of a length at or above a port; 0 if there is none.
func (p *ports) free(size, from int) uint16 {
	for first := (max(from, firstPort) + size - 1) / size * size; first+size-1 <= lastPort; first += size {
		if !slices.ContainsFunc(p[first/MinPortsPerHost:(first+size)/MinPortsPerHost], taken) {
			return uint16(first)
		}
	}
	return 0
}

func taken(blocks uint8) bool { return blocks > 0 }

// room is the length of the longest block that is free; 0 if there is none.
func (p *ports) room() int {
	for size := MaxPortsPerHost; size >= MinPortsPerHost; size /= 2 {
		if p.free(size, 0) > 0 {
			return size
		}
	}
	return 0
}

// occupy adds (n is 1) or removes (n is -1) a block on an address.
func (d *draft) occupy(at addressKey, s *PortBlockSpec, n int) {
	var now ports
	if was, ok := d.usedPorts.get(at); ok {
		now = *was
		d.freeRoom.remove(d.edit, roomKey{at.in, was.room(), at.address})
	}
	for i := int(s.First) / MinPortsPerHost; i <= int(s.Last)/MinPortsPerHost; i++ {
		now[i] += uint8(n)
	}
	if !slices.ContainsFunc(now[:], taken) {
		d.usedPorts.remove(d.edit, at)
		return
	}
	d.usedPorts.put(d.edit, at, &now)
	d.freeRoom.put(d.edit, roomKey{at.in, now.room(), at.address}, struct{}{})
}

// addressWithRoom is the first address of a pool, at or above from, that has port blocks and room for one more of a
// length.
func (d *draft) addressWithRoom(pool string, size int, from netip.Addr) (best netip.Addr, ok bool) {
	for room := size; room <= MaxPortsPerHost; room *= 2 {
		at, _, found := d.freeRoom.at(d.freeRoom.rank(roomKey{pool, room, from}))
		if found && at.in == pool && at.size == room && (!ok || at.address.Less(best)) {
			best, ok = at.address, true
		}
	}
	return best, ok
}

// freeBlock is the port block to lease next in a pool: the first free one after the last leased one, beginning again at
// the start, on the addresses that have blocks, and else on a new address. ok is false if the pool has none.
func (d *draft) freeBlock(pool string, size int) (block *PortBlockSpec, ok bool) {
	last, _ := d.cursors.get(Key{"PortBlock", pool}.String())
	first := d.portsOf(pool, last.address).free(size, int(last.port)+1)
	if _, carries := d.usedPorts.get(addressKey{pool, last.address}); carries && first > 0 {
		return blockOf(pool, last.address, first, size), true
	}
	address, ok := d.addressWithRoom(pool, size, last.address.Next())
	if !ok {
		address, ok = d.addressWithRoom(pool, size, netip.Addr{})
	}
	if ok {
		return blockOf(pool, address, d.portsOf(pool, address).free(size, 0), size), true
	}
	return d.freshBlock(pool, size, last.address, first)
}

// freshBlock is a port block on an address that has none: on the address that had the last leased block, so that few
// addresses are used, at port first or above; or on another address.
func (d *draft) freshBlock(pool string, size int, last netip.Addr, first uint16) (*PortBlockSpec, bool) {
	spec := d.PublicPool(pool)
	if spec == nil {
		return nil, false
	}
	if _, taken := d.publicIPAt.get(addressKey{pool, last}); !taken && last.IsValid() && spec.contains(last) {
		return blockOf(pool, last, cmp.Or(first, new(ports).free(size, 0)), size), true
	}
	address, ok := d.nextPublic(pool, spec)
	return blockOf(pool, address, new(ports).free(size, 0), size), ok
}

func blockOf(pool string, address netip.Addr, first uint16, size int) *PortBlockSpec {
	return &PortBlockSpec{Pool: pool, Address: address, First: first, Last: first + uint16(size-1)}
}

func (s *State) portsOf(pool string, address netip.Addr) *ports {
	if p, ok := s.usedPorts.get(addressKey{pool, address}); ok {
		return p
	}
	return new(ports)
}
