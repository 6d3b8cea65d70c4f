package dataplane

import (
	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
)

// Probe proves the path between two hosts' switches without the peer's agent: the peer's flows turn a probe
// back, and only our agent sees it again.

// A probe is an Ethernet frame of [ProbeEtherType] under model.ProbeVNI. Its destination MAC says which way it goes.
var (
	ProbeThere = model.MAC{0x02, 0x4f, 0x56, 0x00, 0x00, 0x02}
	ProbeBack  = model.MAC{0x02, 0x4f, 0x56, 0x00, 0x00, 0x03}
)

// ProbeEtherType is the local experimental one (IEEE 802, 0x88b5).
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

// SendProbe is what the agent asks of the switch to send a probe to a peer's VTEP.
func SendProbe(w Wiring, vtep flow.Value) []flow.Action {
	return []flow.Action{
		flow.SetField{Field: flow.TunDst, Value: vtep},
		flow.SetField{Field: flow.TunID, Value: flow.U32(uint32(model.ProbeVNI))},
		flow.Output{Port: w.TunnelPort},
	}
}
