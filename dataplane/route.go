package dataplane

import "github.com/overlane/overlane/dataplane/flow"

// The table route decides whether a packet may go to the destination that locate has found. Every host routes for its
// own endpoints. A tunnel packet has been routed already, and is delivered within the segment of its VNI. The agent
// tells the sender of a packet that cannot be routed, from the gateway's address (RFC 1812 section 5.3.1 for the TTL,
// 4.3.3.1 for destinations).

func routeStatic(w Wiring) []flow.Flow {
	var (
		toGateway = flow.Eq(flow.EthDst, gatewayMAC)
		deliver   = flow.Goto{Table: tableDeliver}
		ttl       = func(n uint32) flow.Term { return flow.Eq(flow.IPTTL, flow.U32(n)) }
	)
	return []flow.Flow{
		drop(tableRoute, prioTunnel, dropWrongVNI, inPort(w.TunnelPort), is(slotSame, 0)),
		// A packet with TTL 0 is dropped by dec_ttl. A packet to the gateway itself is delivered whatever its TTL.
		{Table: tableRoute, Priority: prioSpecial + 30, Match: flow.On(flow.IP, is(foundKind, kindGateway), toGateway),
			Actions: []flow.Action{deliver}},
		reject(tableRoute, prioSpecial+20, dropTTLExpired, ForAgentTTLExpired, flow.IP, toGateway, ttl(1)),
		reject(tableRoute, prioSpecial+10, dropNoSuchAddress, ForAgentUnreachable, flow.IP, toGateway,
			is(foundKind, kindNothing)),
		{Table: tableRoute, Priority: prioSpecial, Match: flow.On(flow.IP, toGateway),
			Actions: []flow.Action{flow.DecTTL{}, flow.SetField{Field: flow.EthSrc, Value: gatewayMAC}, deliver}},
		{Table: tableRoute, Priority: prioNormal, Match: flow.On(is(slotSame, 1)), Actions: []flow.Action{deliver}},
		drop(tableRoute, prioRest, dropNoSuchAddress, is(foundKind, kindNothing)),
		drop(tableRoute, prioMiss, dropNotRouted),
	}
}

// prioTunnel is above all flows for packets from endpoints.
const prioTunnel = prioSpecial + 50
