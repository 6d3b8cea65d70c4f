package dataplane

import "github.com/overlane/overlane/dataplane/flow"

// Route decides whether a packet may go to where its destination was found. Every host routes for its own endpoints:
// what comes by the tunnel has been routed, and is delivered within the segment of its VNI. The sender of a packet that
// cannot be routed is told so by the agent, from the gateway's address (RFC 1812 section 5.3.1 for the TTL, 4.3.3.1 for
// destinations).

func routeStatic(w Wiring) []flow.Flow {
	var (
		toGateway = flow.Eq(flow.EthDst, gatewayMAC)
		deliver   = flow.Goto{Table: tableDeliver}
		ttl       = func(n uint32) flow.Term { return flow.Eq(flow.IPTTL, flow.U32(n)) }
	)
	return []flow.Flow{
		drop(tableRoute, prioTunnel, dropWrongVNI, inPort(w.TunnelPort), is(slotSame, 0)),
		// What comes with 0 left is dropped by dec_ttl, and by every router before. The gateway's own addresses end
		// here, whatever the TTL.
		{Table: tableRoute, Priority: prioSpecial + 30, Match: flow.On(flow.IP, is(foundKind, kindGateway), toGateway), Actions: []flow.Action{deliver}},
		reject(tableRoute, prioSpecial+20, dropTTLExpired, ForAgentTTLExpired, flow.IP, toGateway, ttl(1)),
		reject(tableRoute, prioSpecial+10, dropNoSuchAddress, ForAgentUnreachable, flow.IP, toGateway, is(foundKind, kindNothing)),
		{Table: tableRoute, Priority: prioSpecial, Match: flow.On(flow.IP, toGateway),
			Actions: []flow.Action{flow.DecTTL{}, flow.SetField{Field: flow.EthSrc, Value: gatewayMAC}, deliver}},
		{Table: tableRoute, Priority: prioNormal, Match: flow.On(is(slotSame, 1)), Actions: []flow.Action{deliver}},
		drop(tableRoute, prioRest, dropNoSuchAddress, is(foundKind, kindNothing)),
		drop(tableRoute, prioMiss, dropNotRouted),
	}
}

// prioTunnel is above whatever is for endpoints.
const prioTunnel = prioSpecial + 50
