package dataplane

import (
	"net/netip"
	"slices"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
)

// Terms and actions that the flows of several tables are made of.

var (
	gatewayMAC   = flow.MAC(model.GatewayMAC)
	multicast    = flow.Masked(flow.EthDst, flow.MAC([6]byte{1}), flow.MAC([6]byte{1}))
	valid        = flow.Tracked(flow.CTTrk, flow.CTInv)
	ofConnection = flow.Tracked(flow.CTTrk, flow.CTNew|flow.CTInv)
	tagged       = flow.Masked(flow.VLANTCI, flow.U32(0x1000), flow.U32(0x1000))
)

func inPort(port uint32) flow.Term  { return flow.Eq(flow.InPort, flow.U32(port)) }
func tunID(vni model.VNI) flow.Term { return flow.Eq(flow.TunID, flow.U32(uint32(vni))) }

// mask has the slot's bits in its register.
func (s Slot) mask() flow.Value { return flow.Ones(s.Width).Shl(s.First) }

func is(s Slot, n uint32) flow.Term {
	return flow.Masked(s.Field, flow.U32(n).Shl(s.First), s.mask())
}

func set(s Slot, n uint32) flow.Action {
	return flow.SetField{Field: s.Field, Value: flow.U32(n).Shl(s.First), Mask: s.mask()}
}

// load copies a header field into a slot, and store a slot into a header field, up to the width of the narrower one.
func load(s Slot, from *flow.Field) flow.Action {
	return flow.Move{Src: from, Dst: s.Field, DstBit: s.First, Bits: min(from.Bits, s.Width)}
}

func store(s Slot, to *flow.Field) flow.Action {
	return flow.Move{Src: s.Field, SrcBit: s.First, Dst: to, Bits: min(to.Bits, s.Width)}
}

// slotValue is a slot and the value that put writes into it.
type slotValue struct {
	slot  Slot
	value flow.Value
}

// put writes several slots, with one action for each 128-bit register.
func put(values ...slotValue) (actions []flow.Action) {
	for _, v := range values {
		wide, first := flow.Widest(v.slot.Field, v.slot.First)
		value, mask := v.value.Shl(first), flow.Ones(v.slot.Width).Shl(first)
		i := slices.IndexFunc(actions, func(a flow.Action) bool { return a.(flow.SetField).Field == wide })
		if i < 0 {
			actions = append(actions, flow.SetField{Field: wide, Value: value, Mask: mask})
			continue
		}
		have := actions[i].(flow.SetField)
		actions[i] = flow.SetField{Field: wide, Value: have.Value.Or(value), Mask: have.Mask.Or(mask)}
	}
	return actions
}

// keyBits is an address in the form of slotKey.
func keyBits(a netip.Addr) flow.Value { b := a.As16(); return flow.ValueOf(b[:]) }

var (
	anyIPv4    = keyBits(netip.IPv4Unspecified())
	familyMask = flow.Ones(128).AndNot(flow.Ones(32))
)

func keyIs(a netip.Addr) flow.Term    { return flow.Eq(slotKey.Field, keyBits(a)) }
func setKey(a netip.Addr) flow.Action { return flow.SetField{Field: slotKey.Field, Value: keyBits(a)} }

func keyIn(p netip.Prefix) flow.Term {
	host := p.Addr().BitLen() - p.Bits()
	return flow.Masked(slotKey.Field, keyBits(p.Masked().Addr()), flow.Ones(128).AndNot(flow.Ones(host)))
}

// loadKey copies an IPv4 address into slotKey.
func loadKey(from *flow.Field) []flow.Action {
	return []flow.Action{flow.SetField{Field: slotKey.Field, Value: anyIPv4, Mask: familyMask}, load(slotKey, from)}
}

// copyAll copies a whole header field into another one of the same width.
func copyAll(src, dst *flow.Field) flow.Action { return flow.Move{Src: src, Dst: dst, Bits: src.Bits} }
