package dataplane

import (
	"net/netip"
	"slices"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// The tables public_nat and public_state take packets from outside: the opposite direction of snat and snat_out.

func publicNATAnswer(g view.Gateway, t translation) flow.Flow {
	return flow.Flow{Table: tablePublicNAT, Priority: prioNormal,
		Match: flow.On(flow.IP, is(slotArrived, arrivedKernel), flow.Eq(flow.IPDst, flow.Addr(t.address))),
		Actions: []flow.Action{set(slotVPC, uint32(g.VPC)), set(slotArrived, arrivedAnswer),
			flow.CT{Zone: t.zone, Table: tablePublicState, NAT: &flow.NAT{}}}}
}

// publicNATOpen admits every packet to the public address of an endpoint. The packet's destination is the address as:
// the public address itself or its NAT-IP.
func publicNATOpen(p view.Public, t translation, as netip.Addr) flow.Flow {
	return flow.Flow{Table: tablePublicNAT, Priority: prioNormal,
		Match: flow.On(flow.IP, flow.Eq(flow.IPDst, flow.Addr(as))),
		Actions: append(rewrite(flow.IPDst, as, p.Address), set(slotVPC, uint32(p.VPC)), set(slotArrived, arrivedOpen),
			setKey(p.Address),
			flow.CT{Commit: true, Zone: t.zone, Table: tablePublicState,
				NAT: &flow.NAT{Kind: flow.NATDst, Addr: p.Endpoint.IP}})}
}

// publicStateOpen delivers packets to a public address to its endpoint only. Conntrack may have connections of an
// endpoint that had the address before.
func publicStateOpen(vpc model.VNI, public, endpoint netip.Addr) flow.Flow {
	return publicState(prioRest, valid, is(slotArrived, arrivedOpen), is(slotVPC, uint32(vpc)), keyIs(public),
		flow.Eq(flow.IPDst, flow.Addr(endpoint)))
}

// publicState delivers packets of a connection, and ICMP errors about it, to the connection's endpoint.
func publicState(priority uint16, match ...flow.Part) flow.Flow {
	return flow.Flow{Table: tablePublicState, Priority: priority, Match: flow.On(append(match, flow.IP)...),
		Actions: slices.Concat(
			[]flow.Action{flow.DecTTL{}, flow.SetField{Field: flow.EthSrc, Value: gatewayMAC}},
			loadKey(flow.IPDst),
			[]flow.Action{flow.Resubmit{Table: tableLocate}, flow.Goto{Table: tableDeliver}},
		)}
}
