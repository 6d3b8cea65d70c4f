package openflow

// MonitorRequest asks to be told of every change of the flow tables from now on (OpenFlow 1.5.1 section 7.3.5.17, which
// Open vSwitch has had in OpenFlow 1.4 and later since 2.16). The answer is a [MonitorReply] without updates, and then
// more as things happen.
type MonitorRequest struct {
	request
	ID    uint32
	Flags MonitorFlags
	Table uint8 // or [AllTables]
}

// MonitorFlags choose the changes that are reported.
type MonitorFlags uint16

const (
	MonitorInitial MonitorFlags = 1 << 0 // the flows that there are
	MonitorAdd     MonitorFlags = 1 << 1
	MonitorRemoved MonitorFlags = 1 << 2
	MonitorModify  MonitorFlags = 1 << 3
)

const monitorAdd = 0 // the command that makes a monitor

func (m MonitorRequest) encode(w *buffer) {
	m.head(w, partFlowMonitor)
	w.u32(m.ID)
	w.u32(anyPort)
	w.u32(anyGroup)
	w.u16(uint16(m.Flags))
	w.u8(m.Table, monitorAdd)
	w.match(nil, nil)
}

func decodeMonitorRequest(c *cursor) Message {
	m := MonitorRequest{ID: c.u32()}
	c.skip(4 + 4)
	m.Flags, m.Table = MonitorFlags(c.u16()), c.u8()
	c.skip(1)
	c.match()
	return m
}

// MonitorReply carries updates; some of them say that others are left out.
type MonitorReply struct {
	Part
	Updates []FlowUpdate
}

// MonitorEvent is the kind of a [FlowUpdate].
type MonitorEvent uint16

const (
	MonitorWasThere MonitorEvent = 0 // told because of [MonitorInitial]
	MonitorAdded    MonitorEvent = 1
	MonitorGone     MonitorEvent = 2
	MonitorModified MonitorEvent = 3 // or replaced: the cookie is the new one
	MonitorOwn      MonitorEvent = 4 // stands for all that the request XID of this connection did
	MonitorPaused   MonitorEvent = 5 // the reader is too slow; changes are being collected
	MonitorResumed  MonitorEvent = 6
)

func (e MonitorEvent) String() string {
	return nameOf(e, "there", "added", "removed", "modified", "own", "paused", "resumed")
}

// FlowUpdate is one change. Only the first four events concern a flow, and only MonitorOwn has an XID.
type FlowUpdate struct {
	Event    MonitorEvent
	XID      uint32
	Table    uint8
	Reason   RemovedReason // if it is gone
	Priority uint16
	Cookie   uint64
	RawMatch []byte // for [DecodeMatch]
}

func (m MonitorReply) encode(w *buffer) {
	m.head(w, partFlowMonitor)
	for _, u := range m.Updates {
		start := len(w.b)
		w.u16(0)
		w.u16(uint16(u.Event))
		w.update(u)
		w.length(start, start)
	}
}

func (w *buffer) update(u FlowUpdate) {
	if u.Event >= MonitorOwn {
		w.u32(u.XID)
		return
	}
	w.u8(u.Table, uint8(u.Reason))
	w.u32(0) // timeouts
	w.u16(u.Priority)
	w.u32(0)
	w.u64(u.Cookie)
	w.match(nil, u.RawMatch)
}

func (c *cursor) updates() []FlowUpdate {
	var updates []FlowUpdate
	for c.more() {
		body := c.entry()
		updates = append(updates, body.update())
		c.adopt(body)
	}
	return updates
}

func (c *cursor) update() FlowUpdate {
	u := FlowUpdate{Event: MonitorEvent(c.u16())}
	if u.Event >= MonitorOwn {
		u.XID = c.u32()
		return u
	}
	u.Table, u.Reason = c.u8(), RemovedReason(c.u8())
	c.skip(4)
	u.Priority = c.u16()
	c.skip(4)
	u.Cookie = c.u64()
	u.RawMatch = c.match()
	c.rest() // instructions, which we do not ask for
	return u
}
