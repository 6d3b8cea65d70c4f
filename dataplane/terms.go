package dataplane

import (
	"net/netip"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
)

// The small words that flows are written with.

var (
	gatewayMAC = flow.MAC(model.GatewayMAC)
	multicast  = flow.Masked(flow.EthDst, flow.MAC([6]byte{1}), flow.MAC([6]byte{1}))
	valid      = flow.Tracked(flow.CTTrk, flow.CTInv)
	known      = flow.Tracked(flow.CTTrk, flow.CTNew|flow.CTInv)
	tagged     = flow.Masked(flow.VLANTCI, flow.U32(0x1000), flow.U32(0x1000))
)

func inPort(port uint32) flow.Term     { return flow.Eq(flow.InPort, flow.U32(port)) }
func tunID(vni model.VNI) flow.Term    { return flow.Eq(flow.TunID, flow.U32(uint32(vni))) }
func is(s Slot, n uint32) flow.Term    { return flow.Eq(s.Field, flow.U32(n)) }
func set(s Slot, n uint32) flow.Action { return flow.SetField{Field: s.Field, Value: flow.U32(n)} }

func setKey(a netip.Addr) flow.Action {
	return flow.SetField{Field: slotKey.Field, Value: flow.Addr(a)}
}

// copyAll copies a whole field into one of the same width.
func copyAll(src, dst *flow.Field) flow.Action { return copyBits(src, dst, src.Bits) }

// copyBits copies the low bits of a field into the low bits of another.
func copyBits(src, dst *flow.Field, bits int) flow.Action {
	return flow.Move{Src: src, Dst: dst, Bits: bits}
}
