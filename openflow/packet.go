package openflow

import (
	"github.com/overlane/overlane/dataplane/flow"
	"net/netip"
)

// PacketOut has the switch run a packet through actions (OpenFlow 1.5.1 section 7.3.6). Metadata must name the in_port,
// which may be [flow.PortLocal] or [flow.PortController]; it may set tunnel fields and registers.
type PacketOut struct {
	Metadata flow.Match
	Actions  []flow.Action
	Frame    []byte
}

func (PacketOut) kind() kind { return kindPacketOut }

func (m PacketOut) encode(w *buffer) {
	w.u32(noBuffer)
	at := len(w.b)
	w.u16(0)
	w.u16(0)
	w.match(m.Metadata, nil)
	start := len(w.b)
	w.actions(m.Actions)
	w.length(at, start)
	w.bytes(m.Frame)
}

func decodePacketOut(c *cursor) Message {
	c.skip(4)
	n := int(c.u16())
	c.skip(2)
	m := PacketOut{Metadata: c.matchTerms()}
	actions := c.sub(n)
	m.Actions = actions.actions()
	c.adopt(actions)
	m.Frame = c.rest()
	return m
}

// PacketIn is a packet that a flow has handed to the controller (NXT_PACKET_IN2).
type PacketIn struct {
	Frame    []byte     // may be the beginning only
	FullLen  uint32     // of the whole frame, if it was cut; else 0
	Table    uint8      // of the flow
	Cookie   uint64     // of the flow
	Reason   uint8      // OpenFlow 1.5.1 section 7.4.1
	Metadata flow.Match // in_port, registers, tunnel fields; unknown ones left out
	Userdata []byte     // of the controller action
}

// Properties of NXT_PACKET_IN2 (enum nx_packet_in2_prop_type).
const (
	packetInFrame    = 0
	packetInFullLen  = 1
	packetInTable    = 3
	packetInCookie   = 4
	packetInReason   = 5
	packetInMetadata = 6
	packetInUserdata = 7
)

func (PacketIn) kind() kind { return kindExperimenter }

func (m PacketIn) encode(w *buffer) {
	w.nicira(niciraPacketIn)
	w.property(packetInFrame, func() { w.bytes(m.Frame) })
	if m.FullLen != 0 {
		w.property(packetInFullLen, func() { w.u32(m.FullLen) })
	}
	w.property(packetInTable, func() { w.u8(m.Table) })
	w.property(packetInCookie, func() { w.u32(0); w.u64(m.Cookie) })
	w.property(packetInReason, func() { w.u8(m.Reason) })
	w.property(packetInMetadata, func() { w.b = AppendMatch(w.b, m.Metadata) })
	if len(m.Userdata) > 0 {
		w.property(packetInUserdata, func() { w.bytes(m.Userdata) })
	}
}

func decodePacketIn(c *cursor) Message {
	var m PacketIn
	for c.more() {
		typ, body := c.property()
		m.read(typ, body)
		c.adopt(body)
	}
	return m
}

func (m *PacketIn) read(typ uint16, c *cursor) {
	switch typ {
	case packetInFrame:
		m.Frame = c.rest()
	case packetInFullLen:
		m.FullLen = c.u32()
	case packetInTable:
		m.Table = c.u8()
	case packetInCookie:
		c.skip(4)
		m.Cookie = c.u64()
	case packetInReason:
		m.Reason = c.u8()
	case packetInMetadata:
		m.Metadata = c.decodeKnown()
	case packetInUserdata:
		m.Userdata = c.rest()
	}
}

// SetPacketInFormat chooses the form in which packets are handed over: always NXT_PACKET_IN2.
type SetPacketInFormat struct{}

const packetIn2 = 2

func (SetPacketInFormat) kind() kind { return kindExperimenter }

func (SetPacketInFormat) encode(w *buffer) {
	w.nicira(niciraPacketInFormat)
	w.u32(packetIn2)
}

// FlushZone has the switch forget the connections of a zone (NXT_CT_FLUSH_ZONE).
type FlushZone struct{ Zone uint16 }

func (FlushZone) kind() kind { return kindExperimenter }

func (m FlushZone) encode(w *buffer) {
	w.nicira(niciraFlushZone)
	w.zero(6)
	w.u16(m.Zone)
}

// FlushConnections deletes the connections of a zone that have an address in one of their four places (NXT_CT_FLUSH,
// Open vSwitch 3.1).
type FlushConnections struct {
	Zone    uint16
	Answers bool // as answers have it, and not as the first packet has it, before any translation
	To      bool // as their destination, and not as their source
	Address netip.Addr
}

func (FlushConnections) kind() kind { return kindExperimenter }

func (m FlushConnections) encode(w *buffer) {
	tuple, field, address := uint16(flushOriginal), uint16(flushSrc), m.Address.As16()
	if m.Answers {
		tuple = flushReply
	}
	if m.To {
		field = flushDst
	}
	w.nicira(niciraFlush)
	w.zero(8) // any protocol
	w.u16(tuple)
	w.u16(32)
	w.zero(4)
	w.u16(field)
	w.u16(20)
	w.bytes(address[:])
	w.zero(4)
	w.u16(flushZone)
	w.u16(8)
	w.u16(m.Zone)
	w.zero(2)
}

// decodeFlush reads what [FlushConnections] writes, and nothing else of the kind.
func decodeFlush(c *cursor) Message {
	c.skip(8)
	tuple := c.u16()
	c.skip(6)
	field := c.u16()
	c.skip(2)
	address, _ := netip.AddrFromSlice(c.take(16))
	c.skip(8)
	m := FlushConnections{Zone: c.u16(), Answers: tuple == flushReply, To: field == flushDst, Address: address.Unmap()}
	c.skip(2)
	return m
}

// Properties of NXT_CT_FLUSH (enum nx_ct_flush_tlv_type, nx_ct_flush_tuple_tlv_type).
const (
	flushOriginal = 0
	flushReply    = 1
	flushZone     = 2

	flushSrc = 0
	flushDst = 1
)

// Nicira's messages that we know (enum ofpraw in Open vSwitch's ofp-msgs.h).
const (
	niciraPacketInFormat = 16
	niciraFlushZone      = 29
	niciraPacketIn       = 30
	niciraFlush          = 32
)

func (w *buffer) nicira(subtype uint32) {
	w.u32(nicira)
	w.u32(subtype)
}

func decodeExperimenter(c *cursor) Message {
	whole := c.b
	if c.u32() == nicira {
		switch c.u32() {
		case niciraPacketIn:
			return decodePacketIn(c)
		case niciraFlushZone:
			c.skip(6)
			return FlushZone{c.u16()}
		case niciraFlush:
			return decodeFlush(c)
		case niciraPacketInFormat:
			if c.u32() == packetIn2 {
				return SetPacketInFormat{}
			}
		}
	}
	if c.err != nil {
		return nil
	}
	c.rest()
	return Unknown{Type: uint8(kindExperimenter), Body: whole}
}
