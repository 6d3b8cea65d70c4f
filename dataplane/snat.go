package dataplane

import (
	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// The table snat translates the source address of a packet that leaves its VPC. Each VPC on this host has a conntrack
// zone of its own, so that VPCs with the same addresses stay apart. It also has an address towards the host's kernel,
// which routes the packet and masquerades it once more. A packet that conntrack cannot translate keeps its private
// source address, and snat_out drops it.

// snatStatic gives the static flows of a host that translates.
func snatStatic(w Wiring) []flow.Flow {
	toOutside := flow.On(flow.IP, is(foundKind, kindOutside), flow.Eq(flow.EthDst, gatewayMAC))
	flows := []flow.Flow{
		// Before conntrack, so that the error quotes the packet as it was sent.
		reject(tablePublicNAT, prioSpecial, dropTTLExpired, ForAgentPublicTTLExpired, flow.IP,
			flow.Eq(flow.IPTTL, flow.U32(1))),
		drop(tablePublicNAT, prioMiss, dropNoConnection),
		publicState(prioNormal, ofConnection, is(slotArrived, arrivedAnswer)),
		drop(tablePublicState, prioMiss, dropNoConnection),
		{Table: tableRoute, Priority: prioSpecial + 5, Match: toOutside,
			Actions: append(loadKey(flow.IPSrc), flow.Goto{Table: tableGuard})},
		reject(tableSNAT, prioMiss, dropNoInternetGateway, ForAgentUnreachable),
		drop(tableSNATOut, prioMiss, dropSNATFailed),
	}
	for _, arrived := range []uint32{arrivedAnswer, arrivedOpen} {
		flows = append(flows, drop(tableDeliver, prioSpecial+5, dropEndpointMoved, is(foundKind, kindElsewhere),
			is(slotArrived, arrived)))
	}
	flows = append(flows, guard(w)...)
	if w.SNATPort != 0 {
		flows = append(flows, hairpinStatic(w)...)
		flows = append(flows, flow.Flow{Table: tableAdmit, Priority: prioNormal, Match: flow.On(inPort(w.SNATPort)),
			Actions: []flow.Action{set(slotArrived, arrivedKernel), flow.Goto{Table: tablePublicNAT}}})
	}
	return flows
}

// translates reports whether this host translates for any VPC, or may.
func (w Wiring) translates() bool { return w.SNATPort != 0 || len(w.Translations) > 0 }

// Values of [slotArrived].
const (
	arrivedAnswer uint32 = 1
	arrivedOpen   uint32 = 2
	arrivedKernel uint32 = 3 // by the host's kernel or by hairpin, until public_nat has found its VPC
)

var arrivedNames = map[uint64]string{uint64(arrivedAnswer): "answer", uint64(arrivedOpen): "open",
	uint64(arrivedKernel): "kernel"}

// snatPorts is the range of source ports. It leaves out the ports below 1024, which servers take for privileged, and
// the UDP port of the tunnels: the kernel keeps the source port if it can, and the switch would take the answer for a
// tunnel packet.
func snatPorts(w Wiring) (first, last uint16) {
	const least, most = 1024, 65535
	if w.UDPPort > 1<<15 {
		return least, w.UDPPort - 1
	}
	return max(least, w.UDPPort+1), most
}

// snatToKernel takes the packets of endpoints without a public address. In the central design it takes ICMP only, which
// has no ports and so cannot use a block of ports.
func snatToKernel(w Wiring, g view.Gateway, t translation) flow.Flow {
	what := flow.On(flow.IP, is(slotVPC, uint32(g.VPC)))
	if g.Design == model.Central {
		what = flow.On(what, flow.ICMP)
	}
	firstPort, lastPort := snatPorts(w)
	return flow.Flow{Table: tableSNAT, Priority: prioNormal, Match: what,
		Actions: []flow.Action{flow.CT{Commit: true, Zone: t.zone, Table: tableSNATOut,
			NAT: &flow.NAT{Kind: flow.NATSrc, Addr: t.address, FirstPort: firstPort, LastPort: lastPort}}}}
}

// snatOutToKernel matches the VPC, too: an endpoint of another VPC may have the same address.
func snatOutToKernel(g view.Gateway, t translation) flow.Flow {
	return flow.Flow{Table: tableSNATOut, Priority: prioSpecial,
		Match:   flow.On(flow.IP, is(slotVPC, uint32(g.VPC)), flow.Eq(flow.IPSrc, flow.Addr(t.address)), valid),
		Actions: []flow.Action{flow.Goto{Table: tableHairpin}}}
}
