package dataplane

import (
	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
)

// A probe tests the path between the switches of two hosts, without the peer's agent: the peer's switch reflects the
// probe, and the switch of the sender gives the reflection to its agent.

// A probe is an Ethernet frame of [ProbeEtherType] under model.ProbeVNI. Its destination MAC is its direction.
var (
	ProbeThere = model.MAC{0x02, 0x4f, 0x56, 0x00, 0x00, 0x02}
	ProbeBack  = model.MAC{0x02, 0x4f, 0x56, 0x00, 0x00, 0x03}
)

// ProbeEtherType is the first EtherType for local experiments (IEEE 802).
const ProbeEtherType uint16 = 0x88b5

func probeStatic() []flow.Flow {
	return []flow.Flow{
		drop(tableProbe, prioSpecial, dropUnknownProbe, is(slotBad, 1)),
		{Table: tableProbe, Priority: prioNormal, Match: flow.On(probeType, flow.Eq(flow.EthDst, flow.MAC(ProbeThere))),
			Actions: []flow.Action{
				flow.SetField{Field: flow.EthDst, Value: flow.MAC(ProbeBack)},
				copyAll(flow.TunSrc, flow.TunDst),
				flow.Output{Port: flow.PortInPort},
			}},
		{Table: tableProbe, Priority: prioNormal, Match: flow.On(probeType, flow.Eq(flow.EthDst, flow.MAC(ProbeBack))),
			Actions: []flow.Action{
				flow.UseMeter{ID: meterProbe},
				flow.Controller{Userdata: []byte{ForAgentProbe}, MaxLen: 128},
			}},
		drop(tableProbe, prioMiss, dropUnknownProbe),
	}
}

var probeType = flow.Eq(flow.EthType, flow.U32(uint32(ProbeEtherType)))

// SendProbe gives the actions by which the agent sends a probe to a peer's VTEP.
func SendProbe(w Wiring, vtep flow.Value) []flow.Action {
	return []flow.Action{
		flow.SetField{Field: flow.TunDst, Value: vtep},
		flow.SetField{Field: flow.TunID, Value: flow.U32(uint32(model.ProbeVNI))},
		flow.Output{Port: w.TunnelPort},
	}
}
