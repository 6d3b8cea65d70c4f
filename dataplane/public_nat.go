package dataplane

import (
	"net/netip"
	"slices"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// Arrive takes what comes from outside: the other direction of translate.

func publicNATAnswer(g view.Gateway, t Translation) flow.Flow {
	return flow.Flow{Table: tablePublicNAT, Priority: prioNormal, Match: flow.On(flow.IP, is(slotArrived, arrivedKernel), flow.Eq(flow.IPDst, flow.Addr(t.Address))),
		Actions: []flow.Action{set(slotVPC, uint32(g.VPC)), set(slotArrived, arrivedAnswer), flow.CT{Zone: t.Zone, Table: tablePublicState, NAT: &flow.NAT{}}}}
}

// publicNATOpen opens the endpoint to whatever is sent to its public address, as which it comes, or as what stands for
// it.
func publicNATOpen(p view.Public, t Translation, as netip.Addr) flow.Flow {
	return flow.Flow{Table: tablePublicNAT, Priority: prioNormal, Match: flow.On(flow.IP, flow.Eq(flow.IPDst, flow.Addr(as))),
		Actions: append(rewrite(flow.IPDst, as, p.Address), set(slotVPC, uint32(p.VPC)), set(slotArrived, arrivedOpen), setKey(p.Address),
			flow.CT{Commit: true, Zone: t.Zone, Table: tablePublicState, NAT: &flow.NAT{Kind: flow.NATDst, Addr: p.Endpoint.IP}})}
}

// publicStateOpen lets what was sent to a public address pass to the endpoint that has it now. Conntrack remembers
// connections of the one that had it before.
func publicStateOpen(vpc model.VNI, public, endpoint netip.Addr) flow.Flow {
	return publicState(prioRest, valid, is(slotArrived, arrivedOpen), is(slotVPC, uint32(vpc)), keyIs(public), flow.Eq(flow.IPDst, flow.Addr(endpoint)))
}

// publicState takes what is of a connection, be it an ICMP error about one, to the endpoint that has it.
func publicState(priority uint16, match ...flow.Part) flow.Flow {
	return flow.Flow{Table: tablePublicState, Priority: priority, Match: flow.On(append(match, flow.IP)...),
		Actions: slices.Concat(
			[]flow.Action{flow.DecTTL{}, flow.SetField{Field: flow.EthSrc, Value: gatewayMAC}},
			loadKey(flow.IPDst),
			[]flow.Action{flow.Resubmit{Table: tableLocate}, flow.Goto{Table: tableDeliver}},
		)}
}
