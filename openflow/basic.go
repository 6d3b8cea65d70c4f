package openflow

// Hello opens a connection and says which versions the sender speaks (OpenFlow 1.5.1 section 7.5.1).
type Hello struct{ Versions uint32 } // bit n: version n. 0: the sender did not say, and the header's version is its highest

const helloVersions = 1

func (Hello) kind() kind { return kindHello }

func (m Hello) encode(w *buffer) {
	w.property(helloVersions, func() { w.u32(m.Versions) })
}

func decodeHello(c *cursor) Message {
	var m Hello
	for c.more() {
		typ, body := c.property()
		if typ == helloVersions {
			m.Versions = body.u32()
		}
		c.adopt(body)
	}
	return m
}

// EchoRequest asks for an [EchoReply] with the same data.
type EchoRequest struct{ Data []byte }

// EchoReply answers an [EchoRequest].
type EchoReply struct{ Data []byte }

func (EchoRequest) kind() kind         { return kindEchoRequest }
func (EchoReply) kind() kind           { return kindEchoReply }
func (m EchoRequest) encode(w *buffer) { w.bytes(m.Data) }
func (m EchoReply) encode(w *buffer)   { w.bytes(m.Data) }

// BarrierRequest is answered once everything sent before it has been done.
type BarrierRequest struct{}

// BarrierReply answers a [BarrierRequest].
type BarrierReply struct{}

func (BarrierRequest) kind() kind     { return kindBarrierRequest }
func (BarrierReply) kind() kind       { return kindBarrierReply }
func (BarrierRequest) encode(*buffer) {}
func (BarrierReply) encode(*buffer)   {}

// FeaturesRequest asks for the switch's [FeaturesReply].
type FeaturesRequest struct{}

// FeaturesReply answers a [FeaturesRequest] (OpenFlow 1.5.1 section 7.3.1).
type FeaturesReply struct {
	DatapathID   uint64
	Buffers      uint32
	Tables       uint8
	AuxiliaryID  uint8
	Capabilities uint32
}

func (FeaturesRequest) kind() kind     { return kindFeaturesRequest }
func (FeaturesReply) kind() kind       { return kindFeaturesReply }
func (FeaturesRequest) encode(*buffer) {}

func (m FeaturesReply) encode(w *buffer) {
	w.u64(m.DatapathID)
	w.u32(m.Buffers)
	w.u8(m.Tables, m.AuxiliaryID, 0, 0)
	w.u32(m.Capabilities)
	w.u32(0)
}

func decodeFeaturesReply(c *cursor) Message {
	m := FeaturesReply{DatapathID: c.u64(), Buffers: c.u32(), Tables: c.u8(), AuxiliaryID: c.u8()}
	c.skip(2)
	m.Capabilities = c.u32()
	c.skip(4)
	return m
}

// SetConfig says how fragments are treated and how much of a packet without a flow goes to the controller. On a
// bridge's management socket, Open vSwitch sends no packet at all until MissSendLen is set.
type SetConfig struct{ Flags, MissSendLen uint16 }

func (SetConfig) kind() kind { return kindSetConfig }

func (m SetConfig) encode(w *buffer) {
	w.u16(m.Flags)
	w.u16(m.MissSendLen)
}

// SetAsync chooses the messages that the switch sends unasked: for each kind, a bit per reason (OpenFlow 1.5.1 section
// 7.3.10). Kinds that are not mentioned stay as they are.
type SetAsync struct {
	FlowRemoved    uint32
	PortStatus     uint32
	PacketIn       uint32
	RequestForward uint32
}

// The properties for a controller of role master or equal, which a connection to the management socket is.
const (
	asyncPacketIn       = 1
	asyncPortStatus     = 3
	asyncFlowRemoved    = 5
	asyncRequestForward = 11
)

// Every reason that there is for a kind; Open vSwitch refuses bits beyond.
const (
	AllPacketIn       uint32 = 1<<6 - 1
	AllPortStatus     uint32 = 1<<3 - 1
	AllRequestForward uint32 = 1<<2 - 1
)

func (SetAsync) kind() kind { return kindSetAsync }

func (m SetAsync) encode(w *buffer) {
	w.property(asyncPacketIn, func() { w.u32(m.PacketIn) })
	w.property(asyncPortStatus, func() { w.u32(m.PortStatus) })
	w.property(asyncFlowRemoved, func() { w.u32(m.FlowRemoved) })
	w.property(asyncRequestForward, func() { w.u32(m.RequestForward) })
}

func decodeSetAsync(c *cursor) Message {
	var m SetAsync
	fields := map[uint16]*uint32{
		asyncPacketIn: &m.PacketIn, asyncPortStatus: &m.PortStatus,
		asyncFlowRemoved: &m.FlowRemoved, asyncRequestForward: &m.RequestForward,
	}
	for c.more() {
		typ, body := c.property()
		if f := fields[typ]; f != nil {
			*f = body.u32()
		}
		c.adopt(body)
	}
	return m
}

// RequestForward is a change of a group or meter by another connection (OpenFlow 1.5.1 section 7.4.7). The request
// stays bytes, since it may have a form that this package does not know.
type RequestForward struct {
	Request []byte // a whole message
}

func (RequestForward) kind() kind         { return kindRequestForward }
func (m RequestForward) encode(w *buffer) { w.bytes(m.Request) }

func decodeRequestForward(c *cursor) Message {
	m := RequestForward{c.rest()}
	if len(m.Request) < HeaderLen+8 {
		c.fail(errShort)
	}
	return m
}

// Group is the change and the group that it is about; ok is false if the request is about a meter.
func (m RequestForward) Group() (command GroupCommand, id uint32, ok bool) {
	n, id := m.about()
	return GroupCommand(n), id, kind(m.Request[1]) == kindGroupMod
}

// Meter is the change and the meter that it is about; ok is false if the request is about a group.
func (m RequestForward) Meter() (command MeterCommand, id uint32, ok bool) {
	n, id := m.about()
	return MeterCommand(n), id, kind(m.Request[1]) == kindMeterMod
}

// about is what both kinds of request begin with: 16 bits command, 16 bits that do not matter here, 32 bits ID.
func (m RequestForward) about() (command uint16, id uint32) {
	c := cursor{b: m.Request[HeaderLen:]}
	command = c.u16()
	c.skip(2)
	return command, c.u32()
}
