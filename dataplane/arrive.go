package dataplane

import (
	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/view"
)

// Arrive takes what comes from outside: the other direction of translate.

func arriveTranslated(w Wiring, g view.Gateway, t Translation) flow.Flow {
	return flow.Flow{Table: tableArrive, Priority: prioNormal, Match: flow.On(flow.IP, inPort(w.Outside), flow.Eq(flow.IPDst, flow.Addr(t.Address))),
		Actions: []flow.Action{set(slotVPC, uint32(g.VPC)), flow.CT{Zone: t.Zone, Table: tableArrived, NAT: &flow.NAT{}}}}
}

// arrivedOf takes what is of a connection, be it an ICMP error about one, to the endpoint that has it.
func arrivedOf(w Wiring) flow.Flow {
	return flow.Flow{Table: tableArrived, Priority: prioNormal, Match: flow.On(flow.IP, inPort(w.Outside), known),
		Actions: []flow.Action{
			flow.DecTTL{},
			flow.SetField{Field: flow.EthSrc, Value: gatewayMAC},
			copyAll(flow.IPDst, slotKey.Field),
			flow.Resubmit{Table: tableLocate},
			flow.Goto{Table: tableDeliver},
		}}
}
