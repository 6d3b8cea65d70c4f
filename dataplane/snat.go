package dataplane

import (
	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// Translate gives a packet that leaves its VPC the source by which the VPC's endpoints are known outside. A VPC of this
// host has a conntrack zone of its own, so that VPCs with the same addresses are kept apart, and an address towards the
// host's kernel, which routes the packet and masquerades it once more. A packet that could not be translated comes out
// of conntrack as it was, with its private source; depart lets only translated ones go.

// outsideStatic is what a switch has only where there is a way outside.
func snatStatic(w Wiring) []flow.Flow {
	toOutside := flow.On(flow.IP, is(foundKind, kindOutside), flow.Eq(flow.EthDst, gatewayMAC))
	flows := []flow.Flow{
		// Before conntrack, so that what is quoted is what was sent.
		reject(tablePublicNAT, prioSpecial, dropTTLExpired, ForAgentPublicTTLExpired, flow.IP, flow.Eq(flow.IPTTL, flow.U32(1))),
		drop(tablePublicNAT, prioMiss, dropNoConnection),
		publicState(prioNormal, ofConnection, is(slotArrived, arrivedAnswer)),
		drop(tablePublicState, prioMiss, dropNoConnection),
		{Table: tableRoute, Priority: prioSpecial + 5, Match: toOutside, Actions: append(loadKey(flow.IPSrc), flow.Goto{Table: tableGuard})},
		reject(tableSNAT, prioMiss, dropNoInternetGateway, ForAgentUnreachable),
		drop(tableSNATOut, prioMiss, dropSNATFailed),
	}
	for _, arrived := range []uint32{arrivedAnswer, arrivedOpen} {
		flows = append(flows, drop(tableDeliver, prioSpecial+5, dropEndpointMoved, is(foundKind, kindElsewhere), is(slotArrived, arrived)))
	}
	flows = append(flows, guard(w)...)
	if w.SNATPort != 0 {
		flows = append(flows, hairpinStatic(w)...)
		flows = append(flows, flow.Flow{Table: tableAdmit, Priority: prioNormal, Match: flow.On(inPort(w.SNATPort)), Actions: []flow.Action{set(slotArrived, arrivedKernel), flow.Goto{Table: tablePublicNAT}}})
	}
	return flows
}

// hasOutside tells whether there is any.
func (w Wiring) translates() bool { return w.SNATPort != 0 || len(w.Translations) > 0 }

// What [slotArrived] holds of a packet from outside.
const (
	arrivedAnswer uint32 = 1
	arrivedOpen   uint32 = 2
	arrivedKernel uint32 = 3 // by the host's kernel, or from nearby, until arrive has found whose it is
)

var arrivedNames = map[uint64]string{uint64(arrivedAnswer): "answer", uint64(arrivedOpen): "open", uint64(arrivedKernel): "kernel"}

// snatPorts are not below 1024, which servers outside take for a privilege of this host's. The tunnels' is not
// among them: the kernel keeps the port if it can, and the switch would take the answer to it for a tunnel packet.
func snatPorts(w Wiring) (first, last uint16) {
	const least, most = 1024, 65535
	if w.UDPPort > 1<<15 {
		return least, w.UDPPort - 1
	}
	return max(least, w.UDPPort+1), most
}

// snatToKernel takes all that is no public address's; in the central design echoes only, which blocks of ports are
// of no use to.
func snatToKernel(w Wiring, g view.Gateway, t Translation) flow.Flow {
	what := flow.On(flow.IP, is(slotVPC, uint32(g.VPC)))
	if g.Design == model.Central {
		what = flow.On(what, flow.ICMP)
	}
	firstPort, lastPort := snatPorts(w)
	return flow.Flow{Table: tableSNAT, Priority: prioNormal, Match: what,
		Actions: []flow.Action{flow.CT{Commit: true, Zone: t.Zone, Table: tableSNATOut,
			NAT: &flow.NAT{Kind: flow.NATSrc, Addr: t.Address, FirstPort: firstPort, LastPort: lastPort}}}}
}

// snatOutToKernel names the VPC, too: an endpoint may have the address as its own.
func snatOutToKernel(g view.Gateway, t Translation) flow.Flow {
	return flow.Flow{Table: tableSNATOut, Priority: prioSpecial, Match: flow.On(flow.IP, is(slotVPC, uint32(g.VPC)), flow.Eq(flow.IPSrc, flow.Addr(t.Address)), valid),
		Actions: []flow.Action{flow.Goto{Table: tableHairpin}}}
}
