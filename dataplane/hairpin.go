package dataplane

import (
	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// The table hairpin connects two endpoints of one host of which one uses the other's public address and leaves by the
// host's own address. The kernel cannot route such a packet, since it would come back with the host's own source.

func hairpinStatic(w Wiring) []flow.Flow {
	return []flow.Flow{
		{Table: tableHairpin, Priority: prioRest, Match: flow.On(flow.IP), Actions: []flow.Action{
			flow.DecTTL{},
			flow.SetField{Field: flow.EthSrc, Value: gatewayMAC},
			flow.SetField{Field: flow.EthDst, Value: flow.MAC(model.KernelMAC)},
			flow.Output{Port: w.SNATPort},
		}},
		drop(tableHairpin, prioMiss, dropSNATFailed),
	}
}

// hairpin sends a packet to an endpoint of this host by its public address.
func hairpin(g view.Gateway, p view.Public) flow.Flow {
	return flow.Flow{Table: tableHairpin, Priority: prioNormal,
		Match:   flow.On(flow.IP, flow.Eq(flow.IPDst, flow.Addr(p.Address))),
		Actions: append([]flow.Action{clearInPort}, checkMTU(g, 0)...)}
}

// snatOutHairpin takes the answers of that endpoint.
func snatOutHairpin(g view.Gateway, t translation) flow.Flow {
	return flow.Flow{Table: tableSNATOut, Priority: prioSpecial - 5,
		Match:   flow.On(flow.IP, flow.Eq(flow.IPDst, flow.Addr(t.address)), valid),
		Actions: append([]flow.Action{clearInPort, set(slotArrived, arrivedKernel)}, checkMTU(g, 0)...)}
}

// SendByHairpin gives the actions by which the agent sends a packet to an endpoint of this host that uses the host's
// own address outside.
func SendByHairpin() []flow.Action {
	return []flow.Action{flow.CTClear{}, set(slotArrived, arrivedKernel), flow.Resubmit{Table: tablePublicNAT}}
}
