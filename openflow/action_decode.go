package openflow

import (
	"fmt"

	"github.com/overlane/overlane/dataplane/flow"
)

// DecodeInstructions reads a flow's instructions as they are on the wire. An instruction or action that package flow
// does not have is an [ErrUnknown].
func DecodeInstructions(b []byte) ([]flow.Action, error) {
	c := cursor{b: b}
	var actions []flow.Action
	for c.more() {
		typ := c.u16()
		body := c.sub(int(c.u16()) - 4)
		actions = body.instruction(typ, actions)
		c.adopt(body)
	}
	return actions, c.err
}

func (c *cursor) instruction(typ uint16, actions []flow.Action) []flow.Action {
	switch typ {
	case instructionApply:
		c.skip(4)
		return append(actions, c.actions()...)
	case instructionGoto:
		table := c.u8()
		c.skip(3)
		return append(actions, flow.Goto{Table: table})
	}
	c.fail(fmt.Errorf("%w: instruction %d", ErrUnknown, typ))
	return nil
}

// DecodeActions reads a list of actions as they are on the wire. An action that package flow does not have is an
// [ErrUnknown].
func DecodeActions(b []byte) ([]flow.Action, error) {
	c := cursor{b: b}
	actions := c.actions()
	return actions, c.err
}

func (c *cursor) actions() []flow.Action {
	var actions []flow.Action
	for c.more() {
		typ := c.u16()
		body := c.sub(int(c.u16()) - 4)
		a := body.action(typ)
		c.adopt(body)
		if c.err != nil {
			return nil
		}
		actions = append(actions, a)
	}
	return actions
}

// action reads the body of one action.
func (c *cursor) action(typ uint16) flow.Action {
	switch typ {
	case actionOutput:
		return flow.Output{Port: c.u32()}
	case actionGroup:
		return flow.ToGroup{ID: c.u32()}
	case actionMeter:
		return flow.UseMeter{ID: c.u32()}
	case actionDecTTL:
		return flow.DecTTL{}
	case actionSetField:
		return c.setField()
	case actionCopyField:
		return c.copyField()
	case actionExperimenter:
		if vendor := c.u32(); vendor == nicira {
			return c.extension(c.u16())
		}
	}
	c.fail(fmt.Errorf("%w: action %d", ErrUnknown, typ))
	return nil
}

func (c *cursor) extension(subtype uint16) flow.Action {
	switch subtype {
	case niciraResubmit:
		if port := c.u16(); port == resubmitInPort {
			return flow.Resubmit{Table: c.u8()}
		}
	case niciraOutputReg:
		return c.outputReg()
	case niciraCheckLarger:
		return c.checkLarger()
	case niciraCT:
		return c.ct()
	case niciraCTClear:
		return flow.CTClear{}
	case niciraController2:
		c.skip(6)
		return c.controller()
	}
	c.fail(fmt.Errorf("%w: Nicira action %d", ErrUnknown, subtype))
	return nil
}

func (c *cursor) setField() flow.Action {
	t, err := c.term()
	if err != nil {
		c.fail(err)
		return nil
	}
	if t.Mask == t.Field.Exact() {
		t.Mask = flow.Value{}
	}
	return flow.SetField(t)
}

func (c *cursor) copyField() flow.Action {
	a := flow.Move{Bits: int(c.u16()), SrcBit: int(c.u16()), DstBit: int(c.u16())}
	c.skip(2)
	a.Src, a.Dst = c.field(), c.field()
	if c.err == nil && (a.Bits == 0 || a.SrcBit+a.Bits > a.Src.Bits || a.DstBit+a.Bits > a.Dst.Bits) {
		c.fail(fmt.Errorf("%w: copy of %d bits", ErrMalformed, a.Bits))
	}
	return a
}

// field reads a field's header without a mask.
func (c *cursor) field() *flow.Field {
	h := c.u32()
	f := fieldsByNumber[h>>9]
	if f == nil || h != header(f) {
		c.fail(fmt.Errorf("%w: field %#08x", ErrUnknown, h))
	}
	return f
}

func (c *cursor) outputReg() flow.Action {
	bits := c.u16()
	f := c.field()
	if c.err == nil && int(bits) != min(f.Bits, 16)-1 {
		c.fail(fmt.Errorf("%w: output to a part of %s", ErrUnknown, f))
	}
	return flow.OutputReg{Field: f}
}

func (c *cursor) checkLarger() flow.Action {
	a := flow.CheckLarger{Len: c.u16(), Bit: int(c.u16()), Dst: c.field()}
	if c.err == nil && a.Bit >= a.Dst.Bits {
		c.fail(fmt.Errorf("%w: bit %d of %s", ErrMalformed, a.Bit, a.Dst))
	}
	return a
}

func (c *cursor) controller() flow.Action {
	a := flow.Controller{MaxLen: flow.MaxLenAll}
	for c.more() {
		typ, body := c.property()
		switch typ {
		case controllerMaxLen:
			a.MaxLen = body.u16()
		case controllerUserdata:
			a.Userdata = body.rest()
		default:
			c.fail(fmt.Errorf("%w: controller property %d", ErrUnknown, typ))
		}
		c.adopt(body)
	}
	return a
}
