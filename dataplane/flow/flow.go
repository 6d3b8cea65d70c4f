// Package flow holds what a switch contains as plain values: flows, groups and meters that can be printed, parsed,
// ordered, compared, and run a packet through. It never talks to a switch, and it knows nothing of VPCs.
package flow

import "net/netip"

// Flow is one entry of a flow table (OpenFlow 1.5.1 section 5.2).
type Flow struct {
	Table    uint8
	Priority uint16
	Match    Match
	Actions  []Action // empty: drop. A [Goto], if any, is the last.

	Owner string // the object that asked for it, for people and for counters: "Endpoint blue/web/db1"; not sent to the switch
}

// Match is a conjunction of terms, in the order of the field table, each field at most once. An empty Match takes every
// packet.
type Match []Term

// Term is one field's condition: packet & Mask == Value. An exact term has all bits of the field in Mask.
type Term struct {
	Field *Field
	Value Value
	Mask  Value
}

// Value is a field's content, right-aligned, up to 128 bits.
type Value struct{ Hi, Lo uint64 }

// Group is an entry of the group table (OpenFlow 1.5.1 section 5.6).
type Group struct {
	ID      uint32
	Type    GroupType
	Buckets []Bucket
	Owner   string
}

// GroupType says how a group picks buckets.
type GroupType uint8

const (
	GroupAll          GroupType = 0
	GroupSelect       GroupType = 1
	GroupIndirect     GroupType = 2
	GroupFastFailover GroupType = 3
)

// Bucket is one alternative or one copy of a group.
type Bucket struct {
	Actions   []Action
	Weight    uint16 // select groups only
	WatchPort uint32 // fast-failover and select groups; 0 means none
}

// Meter limits packets to Rate per second, with Burst packets of credit; packets beyond are dropped.
type Meter struct {
	ID    uint32
	Rate  uint32 // packets per second
	Burst uint32 // packets
}

// Action is one step of a flow or bucket. The implementations are below; there are no others.
type Action interface {
	String() string // as ovs-ofctl writes it
	isAction()
}

type (
	// SetField writes Value under Mask into Field; a zero Mask means the whole field.
	SetField struct {
		Field *Field
		Value Value
		Mask  Value
	}
	// Move copies Bits bits from one field to another (OFPAT_COPY_FIELD; ovs-ofctl prints it as move).
	Move struct {
		Src    *Field
		SrcBit int // first bit
		Dst    *Field
		DstBit int
		Bits   int
	}
	// Output sends to a port: a number, or [PortInPort], [PortController], [PortLocal].
	Output struct{ Port uint32 }
	// OutputReg sends to the port whose number is in the low 16 bits of Field, a 32-bit register.
	OutputReg struct{ Field *Field }
	// ToGroup hands the packet to a group.
	ToGroup struct{ ID uint32 }
	// Goto continues in a later table, with the packet as it is now.
	Goto struct{ Table uint8 }
	// Resubmit looks the packet up in a table, runs what it finds there, and comes back.
	Resubmit struct{ Table uint8 }
	// Controller hands the packet to the agent. Meter 0 means unlimited. Userdata says what for, one byte or more.
	Controller struct {
		Userdata []byte
		MaxLen   uint16
	}
	// UseMeter drops the packet here if the meter is exceeded.
	UseMeter struct{ ID uint32 }
	// DecTTL decrements the IP TTL and stops if it would reach zero.
	DecTTL struct{}
	// CheckLarger writes one bit of Dst, a 32-bit register: whether the frame, from its Ethernet header on, is longer
	// than Len bytes. What follows in the list happens to a copy of the packet, for OVS has it translated for both
	// cases. So the counters of all flows that it leads to count packets of both cases, until a [CT] with a table has
	// parted them.
	CheckLarger struct {
		Len uint16
		Dst *Field
		Bit int
	}
	// CT sends the packet through connection tracking (ovs-actions(7), ct). For actions after it in the list, the
	// packet is untracked again.
	CT struct {
		Commit bool // remember a new connection
		Zone   uint16
		Table  uint8 // later one, in which the tracked packet goes on; 0: in none
		NAT    *NAT  // nil: no translation
	}
	// CTClear makes the packet untracked.
	CTClear struct{}
)

// NAT is how [CT] translates. Its zero value translates packets of known connections as their first packet was; the
// other kinds are for that first packet. If no translation is free that the connection's replies would be told apart
// by, the packet stays as it is, is not committed, and looks like any other new one.
type NAT struct {
	Kind                NATKind
	Addr                netip.Addr // the new source or destination
	FirstPort, LastPort uint16     // the range of the new port. 0: the packet's own if it is free, else any from 1024 on
}

// NATKind is the address that a [NAT] translates.
type NATKind uint8

const (
	NATKnown NATKind = iota
	NATSrc
	NATDst
)

func (SetField) isAction()    {}
func (Move) isAction()        {}
func (Output) isAction()      {}
func (OutputReg) isAction()   {}
func (ToGroup) isAction()     {}
func (Goto) isAction()        {}
func (Resubmit) isAction()    {}
func (Controller) isAction()  {}
func (UseMeter) isAction()    {}
func (DecTTL) isAction()      {}
func (CheckLarger) isAction() {}
func (CT) isAction()          {}
func (CTClear) isAction()     {}

// Reserved ports (OpenFlow 1.5.1 section 7.2.1.1).
const (
	PortInPort     uint32 = 0xfffffff8
	PortController uint32 = 0xfffffffd
	PortLocal      uint32 = 0xfffffffe
	PortAny        uint32 = 0xffffffff
)
