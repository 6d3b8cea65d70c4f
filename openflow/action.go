package openflow

import (
	"errors"
	"fmt"

	"github.com/overlane/overlane/dataplane/flow"
)

// Actions (OpenFlow 1.5.1 section 7.2.6). OpenFlow 1.5 in Open vSwitch refuses Nicira's reg_load and reg_move: a masked
// set_field and copy_field do their work.
const (
	actionOutput       = 0
	actionGroup        = 22
	actionDecTTL       = 24
	actionSetField     = 25
	actionCopyField    = 28
	actionMeter        = 29
	actionExperimenter = 0xffff
)

// Nicira's actions (Open vSwitch's lib/ofp-actions.c).
const (
	nicira            = 0x2320
	niciraResubmit    = 14 // NXAST_RESUBMIT_TABLE
	niciraOutputReg   = 15
	niciraCT          = 35
	niciraNAT         = 36
	niciraController2 = 37
	niciraCTClear     = 43
	niciraCheckLarger = 49 // NXAST_CHECK_PKT_LARGER
)

// Properties of NXAST_CONTROLLER2.
const (
	controllerMaxLen   = 0
	controllerUserdata = 3
)

const resubmitInPort = 0xfff8 // the 16-bit form of [flow.PortInPort]: keep the in_port

const (
	instructionGoto  = 1
	instructionApply = 4
)

// instructions writes a flow's actions: all but a Goto are applied at once, in their order.
func (w *buffer) instructions(actions []flow.Action) {
	rest, next, jumps := splitGoto(actions)
	if len(rest) > 0 {
		start := len(w.b)
		w.u16(instructionApply)
		w.u16(0)
		w.u32(0)
		w.actions(rest)
		w.length(start+2, start)
	}
	if jumps {
		w.u16(instructionGoto)
		w.u16(8)
		w.u8(next, 0, 0, 0)
	}
}

func splitGoto(actions []flow.Action) (rest []flow.Action, table uint8, ok bool) {
	if n := len(actions); n > 0 {
		if g, ok := actions[n-1].(flow.Goto); ok {
			return actions[:n-1], g.Table, true
		}
	}
	return actions, 0, false
}

func (w *buffer) actions(actions []flow.Action) {
	for _, a := range actions {
		start := len(w.b)
		w.action(a)
		w.pad(start)
		w.length(start+2, start)
	}
}

// action writes one action, without its length and padding.
func (w *buffer) action(a flow.Action) {
	switch a := a.(type) {
	case flow.SetField:
		w.setField(a)
	case flow.Move:
		w.copyField(a)
	case flow.Output:
		w.output(a)
	case flow.OutputReg:
		w.outputReg(a)
	case flow.ToGroup:
		w.number(actionGroup, a.ID)
	case flow.UseMeter:
		w.number(actionMeter, a.ID)
	case flow.DecTTL:
		w.number(actionDecTTL, 0)
	case flow.Resubmit:
		w.extension(niciraResubmit)
		w.u16(resubmitInPort)
		w.u8(a.Table)
	case flow.Controller:
		w.controller(a)
	case flow.CheckLarger:
		w.checkLarger(a)
	case flow.CT:
		w.ct(a)
	case flow.CTClear:
		w.extension(niciraCTClear)
	case flow.Goto:
		w.fail(errors.New("goto is possible only as the last action of a flow"))
	default:
		w.fail(fmt.Errorf("action %v is %w", a, ErrUnknown))
	}
}

func (w *buffer) number(typ uint16, n uint32) {
	w.u16(typ)
	w.u16(0)
	w.u32(n)
}

func (w *buffer) extension(subtype uint16) {
	w.number(actionExperimenter, nicira)
	w.u16(subtype)
}

func (w *buffer) setField(a flow.SetField) {
	w.u16(actionSetField)
	w.u16(0)
	mask := a.Mask
	if mask.IsZero() {
		mask = a.Field.Exact()
	}
	w.oxm(a.Field, a.Value, mask)
}

func (w *buffer) copyField(a flow.Move) {
	w.u16(actionCopyField)
	w.u16(0)
	w.u16(uint16(a.Bits))
	w.u16(uint16(a.SrcBit))
	w.u16(uint16(a.DstBit))
	w.u16(0)
	w.u32(header(a.Src))
	w.u32(header(a.Dst))
}

func (w *buffer) output(a flow.Output) {
	w.number(actionOutput, a.Port)
	w.u16(flow.MaxLenAll) // counts for the controller's port only
	w.zero(6)
}

func (w *buffer) outputReg(a flow.OutputReg) {
	w.extension(niciraOutputReg)
	w.u16(uint16(min(a.Field.Bits, 16)) - 1) // first bit 0, and the number of bits less one
	w.u32(header(a.Field))
	w.u16(flow.MaxLenAll)
	w.zero(6)
}

func (w *buffer) checkLarger(a flow.CheckLarger) {
	w.extension(niciraCheckLarger)
	w.u16(a.Len)
	w.u16(uint16(a.Bit))
	w.u32(header(a.Dst))
}

func (w *buffer) controller(a flow.Controller) {
	w.extension(niciraController2)
	w.zero(6)
	if a.MaxLen != flow.MaxLenAll {
		w.property(controllerMaxLen, func() { w.u16(a.MaxLen) })
	}
	if len(a.Userdata) > 0 {
		w.property(controllerUserdata, func() { w.bytes(a.Userdata) })
	}
}
