package openflow

import (
	"github.com/overlane/overlane/dataplane/flow"
)

// Kinds of multipart message (OpenFlow 1.5.1 section 7.3.5). What the standard calls flow descriptions, with counters,
// is number 1.
const (
	partFlows       = 1
	partAggregate   = 2
	partTables      = 3
	partGroups      = 7
	partMeters      = 10
	partPorts       = 13
	partFlowMonitor = 16
)

const flagMore = 1

// Part is what is common to multipart replies: all but the last say that more follow.
type Part struct{ More bool }

func (Part) kind() kind { return kindMultipartReply }

func (p Part) head(w *buffer, typ uint16) {
	flags := uint16(0)
	if p.More {
		flags = flagMore
	}
	w.u16(typ)
	w.u16(flags)
	w.u32(0)
}

type request struct{}

func (request) kind() kind { return kindMultipartRequest }

func (request) head(w *buffer, typ uint16) {
	w.u16(typ)
	w.u16(0)
	w.u32(0)
}

// FlowRequest chooses flows by table and cookie; answered by [FlowReply].
type FlowRequest struct {
	request
	Table      uint8 // or [AllTables]
	Cookie     uint64
	CookieMask uint64
	Match      flow.Match // flows that it includes
}

// AggregateRequest asks for the sums over flows; answered by [AggregateReply].
type AggregateRequest FlowRequest

func (m FlowRequest) encode(w *buffer) {
	m.head(w, partFlows)
	m.choice(w)
}

func (m AggregateRequest) encode(w *buffer) {
	m.head(w, partAggregate)
	FlowRequest(m).choice(w)
}

func (m FlowRequest) choice(w *buffer) {
	w.u8(m.Table, 0, 0, 0)
	w.u32(anyPort)
	w.u32(anyGroup)
	w.u32(0)
	w.u64(m.Cookie)
	w.u64(m.CookieMask)
	w.match(m.Match, nil)
}

func decodeFlowRequest(c *cursor) FlowRequest {
	m := FlowRequest{Table: c.u8()}
	c.skip(3 + 4 + 4 + 4)
	m.Cookie, m.CookieMask = c.u64(), c.u64()
	m.Match = c.matchTerms()
	return m
}

// TablesRequest is answered by [TablesReply], GroupsRequest by [GroupsReply], MetersRequest by [MetersReply],
// PortsRequest by [PortsReply].
type (
	TablesRequest struct{ request }
	GroupsRequest struct{ request } // all groups
	MetersRequest struct{ request } // all meters
	PortsRequest  struct{ request } // all ports
)

func (m TablesRequest) encode(w *buffer) { m.head(w, partTables) }

func (m GroupsRequest) encode(w *buffer) {
	m.head(w, partGroups)
	w.u32(AllGroups)
	w.u32(0)
}

func (m MetersRequest) encode(w *buffer) {
	m.head(w, partMeters)
	w.u32(AllMeters)
	w.u32(0)
}

func (m PortsRequest) encode(w *buffer) {
	m.head(w, partPorts)
	w.u32(anyPort)
	w.u32(0)
}

func decodeMultipartRequest(c *cursor) Message {
	whole := c.b
	typ := c.u16()
	c.skip(2 + 4)
	switch typ {
	case partFlows:
		return decodeFlowRequest(c)
	case partAggregate:
		return AggregateRequest(decodeFlowRequest(c))
	case partTables:
		return TablesRequest{}
	case partGroups:
		return GroupsRequest{}
	case partMeters:
		return MetersRequest{}
	case partPorts:
		return PortsRequest{}
	case partFlowMonitor:
		return decodeMonitorRequest(c)
	}
	c.rest()
	return Unknown{Type: uint8(kindMultipartRequest), Body: whole}
}

func decodeMultipartReply(c *cursor) Message {
	whole := c.b
	typ := c.u16()
	part := Part{More: c.u16()&flagMore != 0}
	c.skip(4)
	switch typ {
	case partFlows:
		return FlowReply{part, c.flows()}
	case partAggregate:
		return AggregateReply{part, c.stats()}
	case partTables:
		return TablesReply{part, c.tables()}
	case partGroups:
		return GroupsReply{part, c.groups()}
	case partMeters:
		return MetersReply{part, c.meters()}
	case partPorts:
		return PortsReply{part, c.ports()}
	case partFlowMonitor:
		return MonitorReply{part, c.updates()}
	}
	c.rest()
	return Unknown{Type: uint8(kindMultipartReply), Body: whole}
}
