package dataplane

import (
	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// Nearby is for endpoints of one host that reach each other by a public address, while one of them leaves in the host's
// name: the kernel could not lead there, for the packet would come back with the host's own source.

func nearbyStatic(w Wiring) []flow.Flow {
	return []flow.Flow{
		{Table: tableNearby, Priority: prioRest, Match: flow.On(flow.IP), Actions: []flow.Action{
			flow.DecTTL{},
			flow.SetField{Field: flow.EthSrc, Value: gatewayMAC},
			flow.SetField{Field: flow.EthDst, Value: flow.MAC(model.KernelMAC)},
			flow.Output{Port: w.Outside},
		}},
		drop(tableNearby, prioMiss, dropUntranslated),
	}
}

// nearby leads to an endpoint of this host by its public address.
func nearby(g view.Gateway, p view.Public) flow.Flow {
	return flow.Flow{Table: tableNearby, Priority: prioNormal, Match: flow.On(flow.IP, flow.Eq(flow.IPDst, flow.Addr(p.Address))),
		Actions: append([]flow.Action{unreceived}, onward(g, 0)...)}
}

// departNearby takes what that endpoint answers.
func departNearby(g view.Gateway, t Translation) flow.Flow {
	return flow.Flow{Table: tableDepart, Priority: prioSpecial - 5, Match: flow.On(flow.IP, flow.Eq(flow.IPDst, flow.Addr(t.Address)), valid),
		Actions: append([]flow.Action{unreceived, set(slotArrived, arrivedHome)}, onward(g, 0)...)}
}

// Nearby is what the agent asks of the switch to send a packet of its own to an endpoint of this host that has left in
// its name.
func Nearby() []flow.Action {
	return []flow.Action{flow.CTClear{}, set(slotArrived, arrivedHome), flow.Resubmit{Table: tableArrive}}
}
