package openflow

import (
	"github.com/overlane/overlane/dataplane/flow"
)

// FlowCommand says what a [FlowMod] does.
type FlowCommand uint8

// The strict commands concern the one flow with exactly this match and priority; the others all flows that the match
// includes.
const (
	FlowAdd          FlowCommand = 0 // replaces a flow with the same table, priority and match, and keeps its counters
	FlowModify       FlowCommand = 1
	FlowModifyStrict FlowCommand = 2
	FlowDelete       FlowCommand = 3
	FlowDeleteStrict FlowCommand = 4
)

// Flags of a flow (OpenFlow 1.5.1 section 7.3.4.2).
const (
	FlagSendFlowRemoved uint16 = 1 << 0
	FlagCheckOverlap    uint16 = 1 << 1
	FlagResetCounts     uint16 = 1 << 2
)

// AllTables is the table of a request that concerns all of them.
const AllTables uint8 = 0xff

// EveryBit is the mask that asks for exactly one cookie.
const EveryBit = ^uint64(0)

const (
	noBuffer = 0xffffffff
	anyPort  = 0xffffffff
	anyGroup = 0xffffffff
)

// FlowMod adds, changes or removes flows.
type FlowMod struct {
	Command     FlowCommand
	Table       uint8
	Priority    uint16
	Cookie      uint64
	CookieMask  uint64 // modify and delete: only flows whose cookie agrees with Cookie in these bits
	IdleTimeout uint16 // seconds; 0: stays
	HardTimeout uint16 // seconds; 0: stays
	Flags       uint16
	Match       flow.Match
	RawMatch    []byte // if not nil, in place of Match: as [FlowDesc] has it
	Actions     []flow.Action
}

func (FlowMod) kind() kind { return kindFlowMod }

func (m FlowMod) encode(w *buffer) {
	w.u64(m.Cookie)
	w.u64(m.CookieMask)
	w.u8(m.Table, uint8(m.Command))
	w.u16(m.IdleTimeout)
	w.u16(m.HardTimeout)
	w.u16(m.Priority)
	w.u32(noBuffer)
	w.u32(anyPort)
	w.u32(anyGroup)
	w.u16(m.Flags)
	w.u16(0) // importance
	w.match(m.Match, m.RawMatch)
	w.instructions(m.Actions)
}

func decodeFlowMod(c *cursor) Message {
	m := FlowMod{Cookie: c.u64(), CookieMask: c.u64(), Table: c.u8(), Command: FlowCommand(c.u8())}
	m.IdleTimeout, m.HardTimeout, m.Priority = c.u16(), c.u16(), c.u16()
	c.skip(4 + 4 + 4)
	m.Flags = c.u16()
	c.skip(2)
	m.Match = c.matchTerms()
	if actions, err := DecodeInstructions(c.rest()); err != nil {
		c.fail(err)
	} else {
		m.Actions = actions
	}
	return m
}

// matchTerms reads a match of which every field must be known.
func (c *cursor) matchTerms() flow.Match {
	m, err := DecodeMatch(c.match())
	if err != nil {
		c.fail(err)
	}
	return m
}

// FlowRemoved says that a flow with [FlagSendFlowRemoved] is gone (OpenFlow 1.5.1 section 7.4.2).
type FlowRemoved struct {
	Table    uint8
	Reason   RemovedReason
	Priority uint16
	Cookie   uint64
	Match    flow.Match // unknown fields left out
	Stats    Stats
}

// RemovedReason says why a flow is gone.
type RemovedReason uint8

func (r RemovedReason) String() string {
	return nameOf(r, "idle timeout", "hard timeout", "deleted", "group deleted", "meter deleted", "evicted")
}

func (FlowRemoved) kind() kind { return kindFlowRemoved }

func (m FlowRemoved) encode(w *buffer) {
	w.u8(m.Table, uint8(m.Reason))
	w.u16(m.Priority)
	w.u32(0) // timeouts
	w.u64(m.Cookie)
	w.match(m.Match, nil)
	w.stats(m.Stats)
}

func decodeFlowRemoved(c *cursor) Message {
	m := FlowRemoved{Table: c.u8(), Reason: RemovedReason(c.u8()), Priority: c.u16()}
	c.skip(4)
	m.Cookie = c.u64()
	known := cursor{b: c.match(), err: c.err}
	m.Match = known.decodeKnown()
	c.adopt(&known)
	m.Stats = c.stats()
	return m
}
