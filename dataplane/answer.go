package dataplane

import "github.com/overlane/overlane/dataplane/flow"

// DHCP requests go to the agent. Endpoints see neither the requests nor the replies of each other.
//
// The tables answer and arp_reply answer ARP for every address of the segment, including the gateway's. An endpoint
// that asks for its own address (duplicate detection, RFC 5227) gets no answer.

var (
	arpRequest = flow.U32(1)
	arpReply   = flow.U32(2)
	dhcpServer = flow.U32(67)
	dhcpClient = flow.U32(68)
)

func answerStatic() []flow.Flow {
	return []flow.Flow{
		{Table: tableAnswer, Priority: prioNormal, Match: flow.On(flow.ARP, flow.Eq(flow.ARPOp, arpRequest)),
			Actions: append(loadKey(flow.ARPTPA),
				flow.Resubmit{Table: tableLocate},
				flow.Resubmit{Table: tableSameSubnet},
				flow.Goto{Table: tableARPReply},
			)},
		// The agent asks endpoints by ARP, in the gateway's name, whether they are alive.
		{Table: tableAnswer, Priority: prioNormal,
			Match: flow.On(flow.ARP, flow.Eq(flow.ARPOp, arpReply), flow.Eq(flow.EthDst, gatewayMAC)),
			Actions: []flow.Action{
				flow.UseMeter{ID: meterEndpointARP},
				flow.Controller{Userdata: []byte{ForAgentEndpointARP}, MaxLen: 128},
			}},
		drop(tableAnswer, prioRest, dropARPUnsolicited, flow.ARP),
		{Table: tableAnswer, Priority: prioNormal,
			Match: flow.On(flow.IP, flow.UDP, flow.Eq(flow.UDPSrc, dhcpClient), flow.Eq(flow.UDPDst, dhcpServer)),
			Actions: []flow.Action{
				flow.UseMeter{ID: meterDHCP},
				flow.Controller{Userdata: []byte{ForAgentDHCP}, MaxLen: 1500},
			}},
		drop(tableAnswer, prioNormal, dropDHCPServer, flow.IP, flow.UDP, flow.Eq(flow.UDPSrc, dhcpServer),
			flow.Eq(flow.UDPDst, dhcpClient)),
		{Table: tableAnswer, Priority: prioMiss, Actions: []flow.Action{flow.Goto{Table: tableForward}}},
	}
}

func arpReplyStatic() []flow.Flow {
	return []flow.Flow{
		drop(tableARPReply, prioNormal, dropARPNoAddress, flow.ARP, is(slotSame, 0)),
		{Table: tableARPReply, Priority: prioRest, Match: flow.On(flow.ARP),
			Actions: []flow.Action{
				copyAll(flow.EthSrc, flow.EthDst),
				store(foundMAC, flow.EthSrc),
				flow.SetField{Field: flow.ARPOp, Value: arpReply},
				copyAll(flow.ARPSHA, flow.ARPTHA),
				store(foundMAC, flow.ARPSHA),
				copyAll(flow.ARPSPA, flow.ARPTPA),
				store(slotKey, flow.ARPSPA),
				// A switch does not send a packet out of its in_port. With the owner's port as in_port, only the owner
				// gets no answer.
				load(slotAsker, flow.InPort16),
				store(foundPort, flow.InPort16),
				flow.OutputReg{Field: slotAsker.Field},
			}},
		drop(tableARPReply, prioMiss, dropARPUnsolicited),
	}
}
