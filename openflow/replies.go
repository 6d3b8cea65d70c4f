package openflow

import (
	"github.com/overlane/overlane/dataplane/flow"
)

// FlowReply is a part of the flows that a [FlowRequest] has chosen.
type FlowReply struct {
	Part
	Flows []FlowDesc
}

// FlowDesc is a flow as the switch describes it. Match and instructions stay bytes: comparing cookies needs neither,
// and a flow that this package cannot decode can still be removed.
type FlowDesc struct {
	Table        uint8
	Priority     uint16
	Flags        uint16
	IdleTimeout  uint16 // seconds
	HardTimeout  uint16 // seconds
	Cookie       uint64
	RawMatch     []byte // for [DecodeMatch]
	Instructions []byte // for [DecodeInstructions]
	Stats        Stats
}

func (m FlowReply) encode(w *buffer) {
	m.head(w, partFlows)
	for _, f := range m.Flows {
		w.flowDesc(f)
	}
}

func (w *buffer) flowDesc(f FlowDesc) {
	start := len(w.b)
	w.u32(0)
	w.u8(f.Table, 0)
	w.u16(f.Priority)
	w.u16(f.IdleTimeout)
	w.u16(f.HardTimeout)
	w.u16(f.Flags)
	w.u16(0) // importance
	w.u64(f.Cookie)
	w.match(nil, f.RawMatch)
	w.stats(f.Stats)
	w.bytes(f.Instructions)
	w.length(start, start)
}

func (c *cursor) flows() []FlowDesc {
	var flows []FlowDesc
	for c.more() {
		body := c.entry()
		flows = append(flows, body.flowDesc())
		c.adopt(body)
	}
	return flows
}

func (c *cursor) flowDesc() (f FlowDesc) {
	c.skip(2)
	f.Table = c.u8()
	c.skip(1)
	f.Priority, f.IdleTimeout, f.HardTimeout, f.Flags = c.u16(), c.u16(), c.u16(), c.u16()
	c.skip(2)
	f.Cookie = c.u64()
	f.RawMatch = c.match()
	f.Stats = c.stats()
	f.Instructions = c.rest()
	return f
}

// AggregateReply answers an [AggregateRequest]. Packets and bytes are summed over all chosen flows; the ages are
// not set.
type AggregateReply struct {
	Part
	Stats Stats
}

func (m AggregateReply) encode(w *buffer) {
	m.head(w, partAggregate)
	w.stats(m.Stats)
}

// TablesReply has the counters of every table.
type TablesReply struct {
	Part
	Tables []TableStats
}

// TableStats are a table's counters, in packets since the switch started.
type TableStats struct {
	Table   uint8
	Flows   uint32
	Lookups uint64
	Matched uint64
}

func (m TablesReply) encode(w *buffer) {
	m.head(w, partTables)
	for _, t := range m.Tables {
		w.u8(t.Table, 0, 0, 0)
		w.u32(t.Flows)
		w.u64(t.Lookups)
		w.u64(t.Matched)
	}
}

func (c *cursor) tables() []TableStats {
	var tables []TableStats
	for c.more() {
		t := TableStats{Table: c.u8()}
		c.skip(3)
		t.Flows, t.Lookups, t.Matched = c.u32(), c.u64(), c.u64()
		tables = append(tables, t)
	}
	return tables
}

// GroupsReply is a part of the groups of the switch.
type GroupsReply struct {
	Part
	Groups []GroupDesc
}

// GroupDesc is a group as the switch describes it. Err is an [ErrUnknown] if its buckets are not of a form that flow
// has; the group is then without buckets.
type GroupDesc struct {
	flow.Group
	Err error
}

func (m GroupsReply) encode(w *buffer) {
	m.head(w, partGroups)
	for _, g := range m.Groups {
		start := len(w.b)
		w.u16(0)
		w.u8(uint8(g.Type), 0)
		w.u32(g.ID)
		at := len(w.b)
		w.zero(8)
		w.buckets(at, g.Group)
		w.length(start, start)
	}
}

func (c *cursor) groups() []GroupDesc {
	var groups []GroupDesc
	for c.more() {
		body := c.entry()
		groups = append(groups, body.groupDesc())
		c.adopt(body)
	}
	return groups
}

func (c *cursor) groupDesc() (g GroupDesc) {
	g.Type = flow.GroupType(c.u8())
	c.skip(1)
	g.ID = c.u32()
	n := int(c.u16())
	c.skip(6)
	buckets := c.sub(n)
	g.Buckets = buckets.buckets()
	c.rest() // properties
	g.Err = c.tolerate(buckets)
	if g.Err != nil {
		g.Buckets = nil
	}
	return g
}

// MetersReply is a part of the meters of the switch.
type MetersReply struct {
	Part
	Meters []MeterDesc
}

// MeterDesc is a meter as the switch describes it. Err is an [ErrUnknown] if it has a form that flow does not have:
// other units than packets, or several bands.
type MeterDesc struct {
	flow.Meter
	Err error
}

func (m MetersReply) encode(w *buffer) {
	m.head(w, partMeters)
	for _, d := range m.Meters {
		start := len(w.b)
		w.u16(0)
		w.meter(d.Meter)
		w.length(start, start)
	}
}

func (c *cursor) meters() []MeterDesc {
	var meters []MeterDesc
	for c.more() {
		body := c.entry()
		m := MeterDesc{Meter: body.meter()}
		m.Err = c.tolerate(body)
		meters = append(meters, m)
	}
	return meters
}

// PortsReply is a part of the ports of the switch.
type PortsReply struct {
	Part
	Ports []Port
}

func (m PortsReply) encode(w *buffer) {
	m.head(w, partPorts)
	for _, p := range m.Ports {
		w.port(p)
	}
}
