package dataplane

import (
	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/view"
)

// The table source looks up the claimed sender, verify compares it with the packet's origin, and spoof_check drops the
// packet if they differ. OpenFlow cannot compare two fields. So verify has a flow for each valid combination: one for
// each local endpoint, of which several may share a port, and one for each peer. A hit does nothing. A miss marks the
// packet.

func sourceStatic(w Wiring) []flow.Flow {
	var (
		locate     = flow.Resubmit{Table: tableLocate}
		verify     = flow.Resubmit{Table: tableVerify}
		same       = flow.Resubmit{Table: tableSameSubnet}
		spoofCheck = flow.Goto{Table: tableSpoofCheck}
		// A packet from another segment was routed, so its source MAC is the gateway's. For a packet from the same
		// segment, spoof_check restores the sender's MAC.
		asRouted = flow.SetField{Field: flow.EthSrc, Value: gatewayMAC}
		// To verify the ARP sender's MAC as well, it takes the place of the Ethernet source.
		arpSender = copyAll(flow.ARPSHA, flow.EthSrc)
	)
	return []flow.Flow{
		drop(tableSource, prioSpecial+20, dropUnsupported, tagged),
		drop(tableSource, prioSpecial+10, dropTunnelARP, flow.ARP, inPort(w.TunnelPort)),
		// An ARP probe (RFC 5227) claims no address: only its MACs are verified.
		{Table: tableSource, Priority: prioSpecial,
			Match:   flow.On(flow.ARP, flow.Eq(flow.ARPOp, arpRequest), flow.Eq(flow.ARPSPA, flow.U32(0))),
			Actions: []flow.Action{load(foundPort, flow.InPort16), verify, arpSender, verify, spoofCheck}},
		{Table: tableSource, Priority: prioNormal, Match: flow.On(flow.ARP),
			Actions: append(loadKey(flow.ARPSPA), locate, verify, arpSender, verify, spoofCheck)},
		// A DHCP client without an address claims none either (RFC 2131 section 4.1).
		{Table: tableSource, Priority: prioSpecial,
			Match: flow.On(flow.IP, flow.UDP, flow.Eq(flow.IPSrc, flow.U32(0)), flow.Eq(flow.UDPSrc, dhcpClient),
				flow.Eq(flow.UDPDst, dhcpServer)),
			Actions: []flow.Action{load(foundPort, flow.InPort16), verify, spoofCheck}},
		{Table: tableSource, Priority: prioNormal + 1, Match: flow.On(flow.IP, inPort(w.TunnelPort)),
			Actions: append(loadKey(flow.IPSrc), locate, same, verify, asRouted, spoofCheck)},
		{Table: tableSource, Priority: prioNormal, Match: flow.On(flow.IP),
			Actions: append(loadKey(flow.IPSrc), locate, verify, spoofCheck)},
		drop(tableSource, prioMiss, dropUnsupported),
	}
}

func verifyEndpoint(a view.Address, port uint32) flow.Flow {
	return flow.Flow{Table: tableVerify, Priority: prioNormal,
		Match: flow.On(inPort(port), is(foundPort, port), flow.Eq(flow.EthSrc, flow.MAC(a.MAC)))}
}

func verifyPeer(w Wiring, p view.Peer) flow.Flow {
	return flow.Flow{Table: tableVerify, Priority: prioNormal, Owner: "Host " + p.Host,
		Match: flow.On(inPort(w.TunnelPort), flow.Eq(foundVTEP.Field, flow.Addr(p.VTEP)),
			flow.Eq(flow.TunSrc, flow.Addr(p.VTEP)))}
}

func verifyStatic() []flow.Flow {
	return []flow.Flow{{Table: tableVerify, Priority: prioMiss, Actions: []flow.Action{set(slotBad, 1)}}}
}

func spoofCheckStatic(w Wiring) []flow.Flow {
	answer := flow.Goto{Table: tableAnswer}
	return []flow.Flow{
		drop(tableSpoofCheck, prioSpecial, dropSpoofedPeer, is(slotBad, 1), inPort(w.TunnelPort)),
		drop(tableSpoofCheck, prioNormal, dropSpoofed, is(slotBad, 1)),
		// The sender's host has checked its MAC. Writing the MAC of intent makes a peer that lies harmless.
		{Table: tableSpoofCheck, Priority: prioRest, Match: flow.On(inPort(w.TunnelPort), is(slotSame, 1)),
			Actions: []flow.Action{store(foundMAC, flow.EthSrc), answer}},
		{Table: tableSpoofCheck, Priority: prioMiss, Actions: []flow.Action{answer}},
	}
}

// spoofCheckUnknown gives DHCP messages of an unknown MAC to the agent, which makes an endpoint for it. All other
// packets of that MAC are dropped.
func spoofCheckUnknown(s view.Segment) flow.Flow {
	return flow.Flow{Table: tableSpoofCheck, Priority: prioNormal + 5,
		Match: flow.On(is(slotBad, 1), is(slotVNI, uint32(s.VNI)), flow.IP, flow.UDP,
			flow.Eq(flow.IPSrc, flow.U32(0)), flow.Eq(flow.UDPSrc, dhcpClient), flow.Eq(flow.UDPDst, dhcpServer)),
		Actions: []flow.Action{
			flow.UseMeter{ID: meterUnknownMAC},
			flow.Controller{Userdata: []byte{ForAgentUnknownMAC}, MaxLen: 1500},
		}}
}

func sameSubnet(s view.Segment) flow.Flow {
	return flow.Flow{Table: tableSameSubnet, Priority: prioNormal,
		Match:   flow.On(is(slotVNI, uint32(s.VNI)), is(foundVNI, uint32(s.VNI))),
		Actions: []flow.Action{set(slotSame, 1)}}
}

func sameSubnetStatic() []flow.Flow {
	return []flow.Flow{{Table: tableSameSubnet, Priority: prioMiss, Actions: []flow.Action{set(slotSame, 0)}}}
}
