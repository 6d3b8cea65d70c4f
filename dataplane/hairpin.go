package dataplane

import (
	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// Hairpin is for endpoints of one host that reach each other by a public address, while one of them leaves in the
// host's name: the kernel could not lead there, for the packet would come back with the host's own source.

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

// nearby leads to an endpoint of this host by its public address.
func hairpin(g view.Gateway, p view.Public) flow.Flow {
	return flow.Flow{Table: tableHairpin, Priority: prioNormal, Match: flow.On(flow.IP, flow.Eq(flow.IPDst, flow.Addr(p.Address))),
		Actions: append([]flow.Action{clearInPort}, checkMTU(g, 0)...)}
}

// snatOutHairpin takes what that endpoint answers.
func snatOutHairpin(g view.Gateway, t Translation) flow.Flow {
	return flow.Flow{Table: tableSNATOut, Priority: prioSpecial - 5, Match: flow.On(flow.IP, flow.Eq(flow.IPDst, flow.Addr(t.Address)), valid),
		Actions: append([]flow.Action{clearInPort, set(slotArrived, arrivedKernel)}, checkMTU(g, 0)...)}
}

// Hairpin is what the agent asks of the switch to send a packet of its own to an endpoint of this host that has left in
// its name.
func SendByHairpin() []flow.Action {
	return []flow.Action{flow.CTClear{}, set(slotArrived, arrivedKernel), flow.Resubmit{Table: tablePublicNAT}}
}
