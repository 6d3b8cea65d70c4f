// Package dataplane says what one host's switch must contain: Compile turns a view and the host's wiring into flows, groups and
// meters. It is pure: it never talks to a switch, and the same input gives the same output.
//
// The rules, in the order in which a packet meets them:
//
//   - A packet belongs to the segment of the port it came in by, or of the VNI it came under; any other is dropped.
//   - A DHCP client is answered by the agent of its own host. No endpoint hears another one's questions, or answers them.
//   - A packet is judged by its sender first: an endpoint may send from its own MAC and address only, a tunnel packet
//     must come from the host that its inner sender lives on. Several endpoints may share a port: they are told apart from all others, and not from each other.
//   - ARP is answered here, from intent, and is never forwarded; so is a ping of the gateway.
//   - A unicast packet goes to the one place where its destination lives, a multicast packet to the hosts with members.
//   - A packet to the gateway's MAC is routed here, whatever subnet of the VPC its destination is in, and leaves under that subnet's VNI
//     (asymmetric IRB); any other stays within its segment.
//   - What no subnet of the VPC has is outside. If the VPC has a way there, the packet leaves by it under another source address, and never
//     under its own; what comes from outside is for an endpoint only if that has asked for it.
//   - What is left is dropped, and every drop has a name and a counter.
//
// Every address of a VPC is one flow, in the table locate. The sender's check, the ARP answer and forwarding all look
// an address up there, as in a subroutine; that is why a host's table grows by one flow for each endpoint elsewhere.
package dataplane

import (
	"github.com/overlane/overlane/dataplane/flow"
)

// Table is one step of the pipeline. ID is what the switch calls it, and the order of the list is the order of the IDs.
type Table struct {
	ID      uint8
	Name    string
	Decides string // one sentence
	Miss    string // what happens to a packet that no flow of it takes
}

// The tables a packet walks through, then the subroutines (looked up by resubmit; they only set slots).
const (
	tableEnter uint8 = iota
	tableAdmit
	tableUpstream
	tableOutbound
	tableInbound
	tablePublicMTU
	tableFragNeeded
	tablePublicNAT
	tablePublicState
	tableSource
	tableSpoofCheck
	tableAnswer
	tableARPReply
	tableForward
	tableRoute
	tableGuard
	tableSNAT
	tableSNATOut
	tableHairpin
	tableDeliver
	tableProbe
	tableLocate
	tableVerify
	tableSameSubnet
)

// Tables is the pipeline. docs/pipeline.md is printed from it.
var Tables = []Table{
	{tableEnter, "enter", "Takes a packet of a tunnel with BFD for a packet of the tunnel port that all peers share.", "on to admit"},
	{tableAdmit, "admit", "The segment of the packet, by the port or by the VNI that it came in by.", "drop: the port or the VNI has no segment here"},
	{tableUpstream, "upstream", "On a border host: what the upstream network sends to a next hop.", "drop: no next hop has the destination"},
	{tableOutbound, "outbound", "On a border host: does a packet that leaves come from the host that has its public source address?", "drop: it does not"},
	{tableInbound, "inbound", "On a border host: the host of a public address. A packet from a host to any other address leaves.", "drop: no endpoint has the address"},
	{tablePublicMTU, "public_mtu", "Sends a packet for a public address on to its host, unless it exceeds the MTU of the endpoint's VPC.", "drop: no host was found"},
	{tableFragNeeded, "frag_needed", "The agent tells the sender of a packet that exceeds the MTU how long it may be. (ct before it keeps the other counters right.)", "drop: the packet ends here"},
	{tablePublicNAT, "public_nat", "Finds the VPC by the destination address, then undoes NAT in the conntrack zone of that VPC (ct).", "drop: the address belongs to no VPC here"},
	{tablePublicState, "public_state", "Admits what conntrack knows: a packet of a connection that an endpoint opened, or to an open address.", "drop: no connection"},
	{tableSource, "source", "Looks the claimed sender up (locate), and compares it with where the packet came from (verify).", "drop: neither IPv4 nor ARP"},
	{tableSpoofCheck, "spoof_check", "Drops what verify has marked. In a subnet with dynamic endpoints, the agent hears an unknown MAC ask by DHCP.", "on to answer"},
	{tableAnswer, "answer", "Packets that the switch or the agent answers in place of forwarding them: ARP, DHCP.", "on to forward"},
	{tableARPReply, "arp_reply", "Makes the ARP reply from the address that locate found.", "drop: no endpoint has the address"},
	{tableForward, "forward", "Looks a unicast destination up (locate). Gives multicast to the group of the segment.", "drop: neither"},
	{tableRoute, "route", "May the packet go to its destination: within its segment, by way of the gateway, or out of the VPC?", "drop: it is for another segment, and was not sent to the gateway"},
	{tableGuard, "guard", "Keeps a packet that leaves its VPC from hosts, servers and special addresses, unless the gateway allows them.", "on to snat"},
	{tableSNAT, "snat", "Gives a packet that leaves its VPC a source address that is known outside (ct).", "drop: the VPC has no internet gateway"},
	{tableSNATOut, "snat_out", "Sends a translated packet out by the path of its new source address.", "drop: it could not be translated"},
	{tableHairpin, "hairpin", "Turns a packet for a public address of this same host around. The host's kernel could not.", "out by the host's kernel"},
	{tableDeliver, "deliver", "Out to the port or the host that locate found. Answers a ping of the gateway.", "drop: no endpoint has the address"},
	{tableProbe, "probe", "Reflects a peer's probe, and hands the reflection of our own to the agent.", "drop: neither"},
	{tableLocate, "locate", "Subroutine: where an address of a VPC is. One flow for each address.", "found nothing"},
	{tableVerify, "verify", "Subroutine: does what locate found fit the port, the MAC and the outer source of the packet?", "marks the packet"},
	{tableSameSubnet, "same_subnet", "Subroutine: is the address that locate found in the packet's own segment?", "no"},
}

// Names are the table names as the switch is told them.
func Names() map[uint8]string {
	names := make(map[uint8]string, len(Tables))
	for _, t := range Tables {
		names[t.ID] = t.Name
	}
	return names
}

// Slot is a range of bits of a register, with a meaning.
type Slot struct {
	Name   string
	Field  *flow.Field // the register
	First  int         // bit of Field, from the least significant one
	Width  int         // bits
	Form   flow.Form   // how people write a value of it
	Values map[uint64]string
	Holds  string
}

// What a packet carries from table to table. locate writes all found_* slots at every look-up. An IPv4 address is
// looked up as its IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2), so that one directory serves both families.
var (
	slotKey = Slot{"key", flow.XXReg0, 0, 128, flow.IPv6, nil,
		"the address to look up in locate. Of a packet that leaves its VPC, the endpoint's own; of one that arrives, the public one"}

	slotVNI  = Slot{"vni", flow.Reg4, 0, 24, flow.Decimal, nil, "the segment of the packet, from admit on"}
	slotVPC  = Slot{"vpc", flow.Reg5, 0, 24, flow.Decimal, nil, "the routing domain of that segment: the transit VNI of its VPC"}
	foundVNI = Slot{"found_vni", flow.Reg6, 0, 24, flow.Decimal, nil, "the segment of the address that was found"}

	slotAsker   = Slot{"asker", flow.Reg7, 0, 16, flow.Port, nil, "the port of the endpoint that sent an ARP request"}
	foundKind   = Slot{"found_kind", flow.Reg7, 16, 4, flow.Decimal, kindNames, "what was found: nothing, an endpoint here or elsewhere, a gateway, or the outside"}
	slotArrived = Slot{"arrived", flow.Reg7, 20, 2, flow.Decimal, arrivedNames,
		"how a packet came from outside: as an answer, to an open address, or by the host's kernel, before its VPC is known"}
	slotBad     = Slot{"bad", flow.Reg7, 22, 1, flow.Decimal, nil, "1 if verify has not found what the packet claims"}
	slotSame    = Slot{"same", flow.Reg7, 23, 1, flow.Decimal, nil, "1 if found_vni is vni"}
	slotLeaving = Slot{"leaving", flow.Reg7, 24, 1, flow.Decimal, nil, "1 of a packet that a host sends out by this border host"}
	slotTooLong = Slot{"too_long", flow.Reg7, 25, 1, flow.Decimal, nil, "1 of a packet that is longer than the MTU of its destination's VPC"}

	foundVTEP = Slot{"found_vtep", flow.Reg8, 0, 32, flow.IPv4, nil, "the VTEP of the host that has the address, 0 for this host"}
	foundPort = Slot{"found_port", flow.Reg9, 0, 16, flow.Port, nil, "the port of the address on this host, 0 if it is elsewhere"}
	foundMAC  = Slot{"found_mac", flow.XReg5, 0, 48, flow.Ethernet, nil, "the MAC of the address"}

	// Set aside for security groups. No flow uses them yet.
	slotSenderSet  = Slot{"sender_set", flow.Reg12, 0, 32, flow.Decimal, nil, "set aside: the set of groups of the sender"}
	foundSet       = Slot{"found_set", flow.Reg13, 0, 32, flow.Decimal, nil, "set aside: the set of groups of the address that was found"}
	slotSenderZone = Slot{"sender_zone", flow.Reg14, 0, 16, flow.Decimal, nil, "set aside: the conntrack zone of the sender"}
	foundZone      = Slot{"found_zone", flow.Reg14, 16, 16, flow.Decimal, nil, "set aside: the conntrack zone of the address that was found"}
	slotVerdict    = Slot{"verdict", flow.Reg15, 0, 32, flow.Decimal, nil, "set aside: the rule that allows the packet, 0 for none"}
	slotOwnSet     = Slot{"own_set", flow.Metadata, 0, 32, flow.Decimal, nil, "set aside: the set of groups whose rules are asked"}
	slotPeerSet    = Slot{"peer_set", flow.Metadata, 32, 32, flow.Decimal, nil, "set aside: the set of groups of the other side"}
)

// Slots are all slots, by register.
var Slots = []Slot{
	slotKey, slotVNI, slotVPC, foundVNI, slotAsker, foundKind, slotArrived, slotBad, slotSame, slotLeaving, slotTooLong,
	foundVTEP, foundPort, foundMAC, slotSenderSet, foundSet, slotSenderZone, foundZone, slotVerdict, slotOwnSet, slotPeerSet,
}

// What locate finds.
const (
	kindNothing uint32 = iota
	kindHere
	kindElsewhere
	kindGateway
	kindOutside
)

var kindNames = map[uint64]string{
	uint64(kindNothing): "nothing", uint64(kindHere): "here", uint64(kindElsewhere): "elsewhere", uint64(kindGateway): "gateway", uint64(kindOutside): "outside",
}

// Priorities inside a table. Where a table's flows exclude each other, all have prioNormal.
const (
	prioMiss    uint16 = 0
	prioDefault uint16 = 10  // where nothing else is known
	prioRest    uint16 = 50  // what is left of a class, mostly to drop it by name
	prioNormal  uint16 = 100 // the table's business
	prioSpecial uint16 = 110 // an exception to it
)

// Meters keep packets for the agent few, whatever endpoints and peers send.
const (
	meterEndpointARP uint32 = 0x4f00
	meterProbe       uint32 = 0x4f01
	meterRejected    uint32 = 0x4f02
	meterDHCP        uint32 = 0x4f03

	meterUnknownMAC uint32 = 0x4f04

	// What others than endpoints send has its own, so that neither takes the other's.
	meterICMPErrors     uint32 = 0x4f05
	meterBorderRejected uint32 = 0x4f06
	meterRouterARP      uint32 = 0x4f07
)

// Meters are those of every switch.
func Meters() []flow.Meter {
	return []flow.Meter{
		{ID: meterEndpointARP, Rate: 500, Burst: 500},
		{ID: meterProbe, Rate: 500, Burst: 500},
		{ID: meterRejected, Rate: 200, Burst: 200},
		{ID: meterDHCP, Rate: 200, Burst: 200},
		{ID: meterUnknownMAC, Rate: 50, Burst: 50},
		{ID: meterICMPErrors, Rate: 200, Burst: 200},
		{ID: meterBorderRejected, Rate: 200, Burst: 200},
		{ID: meterRouterARP, Rate: 100, Burst: 100},
	}
}

// Userdata of packets for the agent: the first byte says what they are.
const (
	ForAgentEndpointARP byte = 1 // an ARP reply of an endpoint to the gateway: it is alive
	ForAgentProbe       byte = 2 // our own probe, reflected by a peer's switch

	ForAgentTTLExpired    byte = 3 // routed, and its TTL is used up
	ForAgentUnreachable   byte = 4 // routed, and nobody has its destination
	ForAgentGatewayClosed byte = 5 // for the gateway itself, which has no such service

	ForAgentDHCP byte = 6 // an endpoint's question to a DHCP server, whoever that might be

	ForAgentRouterARP        byte = 7 // an ARP reply of the upstream router
	ForAgentICMPError        byte = 8 // an ICMP error from outside; whose packet it quotes tells where it is to go
	ForAgentBorderTTLExpired byte = 9 // public traffic's, on a passage, and its TTL is used up

	ForAgentUnknownMAC byte = 10 // a question by DHCP of a MAC that is no endpoint's, on a segment that makes it one

	ForAgentExceedsMTU       byte = 11 // for a public address, on a passage or nearby, and longer than the MTU of the VPC that it is for
	ForAgentPublicTTLExpired byte = 12 // from outside, on an endpoint's host, and its TTL is used up
)

// Drop is a reason to drop a packet, with a counter in the switch.
type Drop struct {
	Name    string // "spoofed"
	Because string // one sentence
}

// The reasons, in the order of the tables.
var (
	dropPort              = Drop{"unknown-port", "came in by a port that is no endpoint's"}
	dropVNI               = Drop{"unknown-vni", "tunnel packet of a VNI that has no endpoint on this host"}
	dropNoNextHop         = Drop{"no-next-hop", "from the upstream network, to a MAC or address that is no next hop of this border host"}
	dropNoPublicIP        = Drop{"no-public-ip", "from outside, to a public address that no endpoint has"}
	dropTooLong           = Drop{"exceeds-mtu", "for a public address, and longer than the MTU of its VPC; the sender is told, if it forbids fragments"}
	dropNoConnection      = Drop{"no-connection", "from outside, and of no connection that an endpoint has opened"}
	dropTunnelARP         = Drop{"tunnel-arp", "ARP in a tunnel packet; each host answers ARP itself and never sends it"}
	dropDHCPServer        = Drop{"dhcp-server", "an endpoint answered like a DHCP server; none may be one"}
	dropUnsupported       = Drop{"unsupported-protocol", "neither IPv4 nor ARP, or with a VLAN tag"}
	dropSpoofedPeer       = Drop{"spoofed-peer", "tunnel packet whose inner sender is not on the host of its outer source"}
	dropSpoofed           = Drop{"spoofed", "an endpoint sent from a MAC or address that is not its own"}
	dropARPUnsolicited    = Drop{"unsolicited-arp", "ARP that needs no answer: a reply that nobody asked for"}
	dropARPNoAddress      = Drop{"arp-no-such-address", "ARP request for an address that no endpoint of the segment has"}
	dropNoMembers         = Drop{"no-multicast-members", "multicast of a segment that has no other members"}
	dropTTLExpired        = Drop{"ttl-expired", "routed, and its TTL is used up; the sender is told, but for answers to a connection by SNAT"}
	dropNotRouted         = Drop{"not-routed", "for another segment, but not sent to the gateway's MAC"}
	dropWrongVNI          = Drop{"wrong-vni", "tunnel packet for an endpoint of another VNI than its own"}
	dropGuardedAddress    = Drop{"guarded-address", "for a host, a server, or a special address, and the internet gateway of the VPC does not allow it"}
	dropNoInternetGateway = Drop{"no-internet-gateway", "for an address outside, and the VPC has no internet gateway with SNAT; the sender is told"}
	dropSNATFailed        = Drop{"snat-failed", "for an address outside, and its source could not be translated: no port is free, or conntrack finds it invalid"}
	dropEndpointMoved     = Drop{"endpoint-moved", "tunnel packet, or answer from outside, for an endpoint that is on another host now"}
	dropGatewayClosed     = Drop{"gateway-closed", "for a gateway address, which answers ARP and ping only; the sender is told"}
	dropNoSuchAddress     = Drop{"no-such-address", "no endpoint of the VPC has the destination address; the sender is told, if the packet was to be routed"}
	dropUnknownProbe      = Drop{"unknown-probe", "probe between hosts, from a host that is no peer"}
)

// Drops are all reasons.
var Drops = []Drop{dropPort, dropVNI, dropNoNextHop, dropNoPublicIP, dropTooLong, dropNoConnection, dropTunnelARP, dropDHCPServer, dropUnsupported, dropSpoofedPeer, dropSpoofed, dropARPUnsolicited,
	dropARPNoAddress, dropNoMembers, dropTTLExpired, dropNotRouted, dropWrongVNI, dropGuardedAddress, dropNoInternetGateway, dropSNATFailed, dropEndpointMoved, dropGatewayClosed, dropNoSuchAddress, dropUnknownProbe}

// dropOwner marks the flows that drop, so that their counters can be found.
const dropOwner = "drop "

func drop(table uint8, priority uint16, why Drop, match ...flow.Part) flow.Flow {
	return flow.Flow{Table: table, Priority: priority, Match: flow.On(match...), Owner: dropOwner + why.Name}
}

// dropTelling drops, counts, and has the agent tell the sender why.
func reject(table uint8, priority uint16, why Drop, what byte, match ...flow.Part) flow.Flow {
	f, meter := drop(table, priority, why, match...), meterRejected
	if what == ForAgentBorderTTLExpired {
		meter = meterBorderRejected
	}
	f.Actions = []flow.Action{flow.UseMeter{ID: meter}, flow.Controller{Userdata: []byte{what}, MaxLen: rejectedLen}}
	return f
}

// toldLen is as much of a packet as an ICMP error quotes at most (RFC 1812 section 4.3.2.3), and its Ethernet header.
const rejectedLen = 14 + 576
