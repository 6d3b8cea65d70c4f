package model

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"sort"
)

// Broadcast is the last address of an IPv4 CIDR (RFC 919 section 7).
func Broadcast(cidr netip.Prefix) netip.Addr {
	return addressOf(numberOf(cidr.Addr()) | uint32(1<<(32-cidr.Bits())-1))
}

// Nth is the address n places after the first one of an IPv4 CIDR.
func Nth(cidr netip.Prefix, n int) netip.Addr {
	return addressOf(numberOf(cidr.Masked().Addr()) + uint32(n))
}

// numberOf is an IPv4 address as a number.
func numberOf(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func addressOf(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))
}

// unicast reports whether a machine may have the IPv4 address: not "this network", loopback, multicast or reserved
// (RFC 6890 section 2.2.2).
func unicast(a netip.Addr) bool {
	first := a.As4()[0]
	return first != 0 && first != 127 && first < 224
}

// firstGap is the length of the unbroken run at the start of n ascending keys: unbroken(i) reports whether the key of
// index i has the value that it has if no key before it is missing.
func firstGap(n int, unbroken func(i int) bool) int {
	return sort.Search(n, func(i int) bool { return !unbroken(i) })
}

// freeAddress is the address that a new endpoint of a subnet gets: the first free one after the last allocated one,
// beginning again at the start of the CIDR. ok is false if every address is taken.
func (d *draft) freeAddress(subnet string, spec *SubnetSpec) (netip.Addr, bool) {
	first, last := numberOf(spec.CIDR.Addr())+1, numberOf(Broadcast(spec.CIDR))-1
	start := first
	if c, ok := d.cursors.get(subnet); ok && spec.CIDR.Contains(c.address) {
		start = numberOf(c.address) + 1
	}
	gateway := numberOf(spec.Gateway)
	for _, span := range [][2]uint32{{start, last}, {first, min(start-1, last)}} {
		from, to := span[0], span[1]
		free := d.firstFree(subnet, from, to)
		if free == gateway {
			free = d.firstFree(subnet, gateway+1, to)
		}
		if free <= to && from <= to {
			return addressOf(free), true
		}
	}
	return netip.Addr{}, false
}

// firstFree is the lowest address from "from" to "to" that no endpoint of the subnet has; above "to" if all are taken.
func (d *draft) firstFree(subnet string, from, to uint32) uint32 {
	return firstFree(d.endpointAt, func(a netip.Addr) addressKey { return addressKey{subnet, a} }, from, to)
}

// firstFree is the lowest address from "from" to "to" whose key is not in the index; above "to" if all are.
func firstFree[K any](index tree[K, string], key func(netip.Addr) K, from, to uint32) uint32 {
	if from > to {
		return from
	}
	start := index.rank(key(addressOf(from)))
	taken := index.rank(key(addressOf(to+1))) - start
	return from + uint32(firstGap(taken, func(i int) bool {
		at, _, _ := index.at(start + i)
		return index.compare(at, key(addressOf(from+uint32(i)))) == 0
	}))
}

// nextFree is the first free address of an object's CIDRs after the last one that was allocated, beginning again at the
// start. The argument firstFree searches one range, as [firstFree] does. ok is false if every address is taken.
func (d *draft) nextFree(of Key, cidrs []netip.Prefix, firstFree func(from, to uint32) uint32) (netip.Addr, bool) {
	var before, after, wrapped [][2]uint32
	last, _ := d.cursors.get(of.String())
	for _, c := range cidrs {
		from, to := numberOf(c.Addr()), numberOf(Broadcast(c))
		switch {
		case c.Contains(last.address):
			at := numberOf(last.address)
			after, wrapped = [][2]uint32{{at + 1, to}}, [][2]uint32{{from, at}}
		case after != nil:
			after = append(after, [2]uint32{from, to})
		default:
			before = append(before, [2]uint32{from, to})
		}
	}
	for _, s := range slices.Concat(after, before, wrapped) {
		if free := firstFree(s[0], s[1]); free <= s[1] {
			return addressOf(free), true
		}
	}
	return netip.Addr{}, false
}

// freeMAC is the MAC that an endpoint of a subnet gets for its address: 02:4f and the address, so that people recognise
// it; another locally administered one if a user chose that MAC for another endpoint.
func (d *draft) freeMAC(subnet string, address netip.Addr) MAC {
	ip := address.As4()
	for n := 0; ; n++ {
		mac := MAC{0x02 | byte(n)<<2, 0x4f + byte(n>>6), ip[0], ip[1], ip[2], ip[3]}
		if _, taken := d.endpointWithMAC.get(macKey{subnet, mac}); !taken && mac != GatewayMAC {
			return mac
		}
	}
}

// advance moves an allocation cursor (see [State]) to an address that was allocated at a revision, unless the cursor is
// at a later one. Of several at one revision the highest counts, so that the order in which a state is read does not
// matter.
func (d *draft) advance(subnet string, to netip.Addr, revision int64) {
	d.advanceTo(subnet, cursor{address: to, revision: revision})
}

func (d *draft) advanceTo(of string, to cursor) {
	if to.revision == 0 { // not stored yet
		return
	}
	now, ok := d.cursors.get(of)
	if !ok || cmp.Or(cmp.Compare(now.revision, to.revision), now.address.Compare(to.address), cmp.Compare(now.port, to.port)) < 0 {
		d.cursors.put(d.edit, of, to)
	}
}
