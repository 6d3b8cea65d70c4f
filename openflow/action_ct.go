package openflow

import (
	"fmt"
	"net/netip"

	"github.com/overlane/overlane/dataplane/flow"
)

// Of NXAST_CT (struct nx_action_conntrack in Open vSwitch's lib/ofp-actions.c).
const (
	ctCommit  = 1
	ctNoTable = 0xff
)

// Of NXAST_NAT (struct nx_action_nat): the address that it translates, and the parts of the range that follow, in this
// order. Open vSwitch leaves the end of a range out if it equals its beginning.
const (
	natSrc = 1
	natDst = 2

	natFirstIPv4 = 1 << 0
	natFirstIPv6 = 1 << 2
	natFirstPort = 1 << 4
	natLastPort  = 1 << 5
)

func (w *buffer) ct(a flow.CT) {
	w.extension(niciraCT)
	flags, table := uint16(0), uint8(ctNoTable)
	if a.Commit {
		flags = ctCommit
	}
	if a.Table != 0 {
		table = a.Table
	}
	w.u16(flags)
	w.u32(0) // the zone is not in a field, but here
	w.u16(a.Zone)
	w.u8(table, 0, 0, 0)
	w.u16(0) // no helper for application protocols
	if a.NAT != nil {
		start := len(w.b)
		w.nat(*a.NAT)
		w.pad(start)
		w.length(start+2, start)
	}
}

func (w *buffer) nat(n flow.NAT) {
	w.extension(niciraNAT)
	w.zero(2)
	w.u16(natKinds[n.Kind])
	present := uint16(0)
	switch {
	case n.Addr.Is4():
		present = natFirstIPv4
	case n.Addr.Is6():
		present = natFirstIPv6
	}
	if n.LastPort != 0 {
		present |= natFirstPort
	}
	if n.LastPort != n.FirstPort {
		present |= natLastPort
	}
	w.u16(present)
	w.bytes(n.Addr.AsSlice())
	if present&natFirstPort != 0 {
		w.u16(n.FirstPort)
	}
	if present&natLastPort != 0 {
		w.u16(n.LastPort)
	}
}

var natKinds = map[flow.NATKind]uint16{flow.NATSrc: natSrc, flow.NATDst: natDst}

func (c *cursor) ct() flow.Action {
	flags, zoneField := c.u16(), c.u32()
	a := flow.CT{Commit: flags&ctCommit != 0, Zone: c.u16(), Table: c.u8()}
	c.skip(3)
	helper := c.u16()
	if c.err == nil && (flags&^ctCommit != 0 || zoneField != 0 || a.Table == 0 || helper != 0) {
		c.fail(fmt.Errorf("%w: form of ct", ErrUnknown))
	}
	if a.Table == ctNoTable {
		a.Table = 0
	}
	for c.more() {
		typ := c.u16()
		body := c.sub(int(c.u16()) - 4)
		n := body.nat(typ)
		c.adopt(body)
		if a.NAT != nil {
			c.fail(fmt.Errorf("%w: ct that translates twice", ErrUnknown))
		}
		a.NAT = &n
	}
	return a
}

// nat reads the body of an action within a ct.
func (c *cursor) nat(typ uint16) flow.NAT {
	vendor, subtype := c.u32(), c.u16()
	c.skip(2)
	flags, present := c.u16(), c.u16()
	var n flow.NAT
	switch flags {
	case natSrc:
		n.Kind = flow.NATSrc
	case natDst:
		n.Kind = flow.NATDst
	}
	hasAddr := present&(natFirstIPv4|natFirstIPv6) != 0
	if typ != actionExperimenter || vendor != nicira || subtype != niciraNAT || flags > natDst ||
		present&^(natFirstIPv4|natFirstIPv6|natFirstPort|natLastPort) != 0 || hasAddr != (flags != 0) || present&natLastPort != 0 && present&natFirstPort == 0 {
		c.fail(fmt.Errorf("%w: form of nat", ErrUnknown))
	}
	c.natRange(&n, present)
	return n
}

func (c *cursor) natRange(n *flow.NAT, present uint16) {
	if present&natFirstIPv4 != 0 {
		n.Addr, _ = netip.AddrFromSlice(c.take(4))
	}
	if present&natFirstIPv6 != 0 {
		n.Addr, _ = netip.AddrFromSlice(c.take(16))
	}
	if present&natFirstPort != 0 {
		n.FirstPort = c.u16()
		n.LastPort = n.FirstPort
	}
	if present&natLastPort != 0 {
		n.LastPort = c.u16()
	}
}
