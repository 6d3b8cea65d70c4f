package dataplane

import "github.com/overlane/overlane/dataplane/flow"

// The table deliver sends a unicast packet to the port or the host that locate has found.

func deliverStatic(w Wiring) []flow.Flow {
	toDestination := store(foundMAC, flow.EthDst)
	return []flow.Flow{
		{Table: tableDeliver, Priority: prioNormal, Match: flow.On(is(foundKind, kindHere)),
			Actions: []flow.Action{toDestination, flow.OutputReg{Field: foundPort.Field}}},
		drop(tableDeliver, prioSpecial, dropEndpointMoved, is(foundKind, kindElsewhere), inPort(w.TunnelPort)),
		{Table: tableDeliver, Priority: prioNormal, Match: flow.On(is(foundKind, kindElsewhere)),
			Actions: []flow.Action{
				toDestination,
				store(foundVTEP, flow.TunDst),
				store(foundVNI, flow.TunID),
				flow.Output{Port: w.TunnelPort},
			}},
		drop(tableDeliver, prioSpecial+10, dropGatewayClosed, is(foundKind, kindGateway), inPort(w.TunnelPort)),
		{Table: tableDeliver, Priority: prioSpecial, Match: flow.On(is(foundKind, kindGateway), flow.IP, flow.ICMP,
			flow.Eq(flow.ICMPType, icmpEcho), flow.Eq(flow.ICMPCode, flow.U32(0))),
			Actions: echoReply()},
		reject(tableDeliver, prioNormal, dropGatewayClosed, ForAgentGatewayClosed, is(foundKind, kindGateway)),
		drop(tableDeliver, prioMiss, dropNoSuchAddress),
	}
}

var (
	icmpEcho      = flow.U32(8)
	icmpEchoReply = flow.U32(0)
)

// echoReply turns an echo request for the address in slotKey into the reply to its sender (RFC 792).
func echoReply() []flow.Action {
	return []flow.Action{
		copyAll(flow.EthSrc, flow.EthDst),
		store(foundMAC, flow.EthSrc),
		copyAll(flow.IPSrc, flow.IPDst),
		store(slotKey, flow.IPSrc),
		flow.SetField{Field: flow.ICMPType, Value: icmpEchoReply},
		flow.SetField{Field: flow.IPTTL, Value: flow.U32(64)},
		flow.Output{Port: flow.PortInPort},
	}
}
