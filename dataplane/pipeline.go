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
	tableOnward
	tableTooLong
	tableArrive
	tableArrived
	tableSource
	tableJudge
	tableAnswer
	tableReply
	tableForward
	tableRoute
	tableGuard
	tableTranslate
	tableDepart
	tableNearby
	tableDeliver
	tableProbe
	tableLocate
	tableVerify
	tableSame
)

// Tables is the pipeline. docs/pipeline.md is printed from it.
var Tables = []Table{
	{tableEnter, "enter", "Takes what comes by a watched tunnel for what comes by the tunnel port that all share.", "on to admit"},
	{tableAdmit, "admit", "Which segment the packet belongs to: that of its port, or that of its VNI.", "drop: a port or a VNI that carries no segment here"},
	{tableUpstream, "upstream", "On a passage: what its upstream network sends to one of the next hops.", "drop: for none of them"},
	{tableOutbound, "outbound", "On a passage: whether a host's packet for the outside comes from the host that has its public source.", "drop: it does not"},
	{tableInbound, "inbound", "On a passage: to which host a public address leads; what leads to none goes out, if it comes from a host.", "drop: nobody has the address"},
	{tableOnward, "onward", "Out by the way that inbound or nearby has found, unless the packet is too long for the endpoint's VPC.", "drop: they have found none"},
	{tableTooLong, "toolong", "What is too long (ct, so that nothing else is counted here): the agent tells the sender how long it may be.", "drop: that is its purpose"},
	{tableArrive, "arrive", "Whose a packet from outside is: the address that it is for stands for a VPC, whose conntrack zone says for which endpoint (ct).", "drop: the address stands for nothing here"},
	{tableArrived, "arrived", "What conntrack has said of it: is it of a connection that an endpoint has opened?", "drop: it is not"},
	{tableSource, "source", "Where the address that the packet claims to come from lives (locate), and whether that fits the way it came in (verify).", "drop: neither IPv4 nor ARP"},
	{tableJudge, "judge", "Drops what verify has marked; but in a subnet with dynamic endpoints the agent hears a MAC ask by DHCP that is no endpoint's yet.", "on to answer"},
	{tableAnswer, "answer", "Which packets the switch answers or hands to the agent instead of forwarding them: ARP, DHCP.", "on to forward"},
	{tableReply, "reply", "Makes the ARP answer, from the address that locate found.", "drop: no endpoint has the address"},
	{tableForward, "forward", "One destination or many: looks a unicast destination up (locate), gives multicast to the segment's group.", "drop: neither"},
	{tableRoute, "route", "Whether the packet may go to where locate found its destination: within its segment, by way of the gateway, which counts its TTL down, or out of the VPC.", "drop: beyond the segment, and not by way of the gateway"},
	{tableGuard, "guard", "Whether the packet may leave: for a host, a server, or what is nobody's outside only if the VPC's gateway allows it.", "on to translate"},
	{tableTranslate, "translate", "By which address a packet that leaves its VPC is known outside (ct).", "drop: the VPC has no way outside"},
	{tableDepart, "depart", "Out, by the way that the address stands for, if the packet has got it.", "drop: it could not be translated"},
	{tableNearby, "nearby", "Whether what is to leave by the host's kernel is for a public address of this very host, to which that could not lead.", "out to the kernel"},
	{tableDeliver, "deliver", "Out to the port or the host that locate found; the gateway's answer to a ping.", "drop: no endpoint has the address"},
	{tableProbe, "probe", "Reflects a probe of a peer host to it, and hands the reflection of our own to the agent.", "drop: neither"},
	{tableLocate, "locate", "Subroutine: where an address of a VPC lives. One flow for each address.", "found nothing"},
	{tableVerify, "verify", "Subroutine: does what locate found fit the port, the MAC and the outer source?", "marks the packet"},
	{tableSame, "same", "Subroutine: is the address that locate found of the packet's own segment?", "no"},
}

// Names are the table names as the switch is told them.
func Names() map[uint8]string {
	names := make(map[uint8]string, len(Tables))
	for _, t := range Tables {
		names[t.ID] = t.Name
	}
	return names
}

// Slot is a register with a meaning.
type Slot struct {
	Field  *flow.Field
	Name   string
	Form   flow.Form         // how people write a value of it
	Values map[uint64]string // names of values
	Holds  string
}

// Where a packet's state is kept between tables. The found* slots are written by locate, all of them at every look-up.
var (
	slotVNI   = Slot{flow.Reg0, "vni", flow.Decimal, nil, "the segment that the packet belongs to, from admit on"}
	slotKey   = Slot{flow.Reg1, "key", flow.IPv4, nil, "the address to be looked up by locate; of what leaves, the endpoint's own, and of what arrives, the public one"}
	foundVTEP = Slot{flow.Reg2, "found_vtep", flow.IPv4, nil, "the address of the host that has it, 0 for this one"}
	foundPort = Slot{flow.Reg3, "found_port", flow.Port, nil, "its port on this host, 0 if it is elsewhere"}
	foundMAC  = Slot{flow.XReg2, "found_mac", flow.Ethernet, nil, "its MAC, in the low 48 bits (registers 4 and 5)"}
	foundKind = Slot{flow.Reg6, "found_kind", flow.Decimal, kindNames, "nothing, an endpoint here, an endpoint elsewhere, the gateway, or the outside"}
	slotBad   = Slot{flow.Reg7, "bad", flow.Decimal, nil, "1 once verify has not found what the packet claims"}
	slotAsker = Slot{flow.Reg8, "asker", flow.Port, nil, "the port that an ARP request came in by"}
	slotVPC   = Slot{flow.Reg9, "vpc", flow.Decimal, nil, "the routing domain of that segment, the VPC's transit VNI"}
	foundVNI  = Slot{flow.Reg10, "found_vni", flow.Decimal, nil, "the segment of the address that was found"}
	slotSame  = Slot{flow.Reg11, "same", flow.Decimal, nil, "1 if that is the packet's own"}

	slotArrived = Slot{flow.Reg12, "arrived", flow.Decimal, nil, "1 of a packet from outside for an endpoint of this host, 2 if the endpoint need not have asked for it, 3 while it is not known whose it is"}
	slotLeaving = Slot{flow.Reg13, "leaving", flow.Decimal, nil, "1 of a packet of a host that passes here on its way outside"}
	slotTooLong = Slot{flow.Reg14, "too_long", flow.Decimal, nil, "1 of a packet that is longer than the MTU of the VPC that it is for"}
)

// Slots are all registers in use.
var Slots = []Slot{slotVNI, slotKey, foundVTEP, foundPort, foundMAC, foundKind, slotBad, slotAsker, slotVPC, foundVNI, slotSame, slotArrived, slotLeaving, slotTooLong}

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
	meterARP   uint32 = 0x4f00
	meterProbe uint32 = 0x4f01
	meterICMP  uint32 = 0x4f02
	meterDHCP  uint32 = 0x4f03

	meterUnknown uint32 = 0x4f04

	// What others than endpoints send has its own, so that neither takes the other's.
	meterQuoted  uint32 = 0x4f05
	meterPassing uint32 = 0x4f06
	meterRouter  uint32 = 0x4f07
)

// Meters are those of every switch.
func Meters() []flow.Meter {
	return []flow.Meter{
		{ID: meterARP, Rate: 500, Burst: 500},
		{ID: meterProbe, Rate: 500, Burst: 500},
		{ID: meterICMP, Rate: 200, Burst: 200},
		{ID: meterDHCP, Rate: 200, Burst: 200},
		{ID: meterUnknown, Rate: 50, Burst: 50},
		{ID: meterQuoted, Rate: 200, Burst: 200},
		{ID: meterPassing, Rate: 200, Burst: 200},
		{ID: meterRouter, Rate: 100, Burst: 100},
	}
}

// Userdata of packets for the agent: the first byte says what they are.
const (
	ForAgentARP   byte = 1 // an ARP reply of an endpoint to the gateway: it is alive
	ForAgentProbe byte = 2 // our own probe, reflected by a peer's switch

	ForAgentExpired     byte = 3 // routed, and its TTL is used up
	ForAgentUnreachable byte = 4 // routed, and nobody has its destination
	ForAgentRefused     byte = 5 // for the gateway itself, which has no such service

	ForAgentDHCP byte = 6 // an endpoint's question to a DHCP server, whoever that might be

	ForAgentRouter  byte = 7 // an ARP reply of the upstream router
	ForAgentQuoted  byte = 8 // an ICMP error from outside; whose packet it quotes tells where it is to go
	ForAgentPassing byte = 9 // public traffic's, on a passage, and its TTL is used up

	ForAgentUnknown byte = 10 // a question by DHCP of a MAC that is no endpoint's, on a segment that makes it one

	ForAgentTooLong byte = 11 // for a public address, on a passage or nearby, and longer than the MTU of the VPC that it is for
	ForAgentArrived byte = 12 // from outside, on an endpoint's host, and its TTL is used up
)

// Drop is a reason to drop a packet, with a counter in the switch.
type Drop struct {
	Name    string // "spoofed"
	Because string // one sentence
}

// The reasons, in the order of the tables.
var (
	dropPort         = Drop{"unknown-port", "came in by a port that is no endpoint's"}
	dropVNI          = Drop{"unknown-vni", "tunnel packet of a VNI that has no endpoint on this host"}
	dropUpstream     = Drop{"upstream", "from the upstream network, and for none of the next hops that lead here"}
	dropUnassigned   = Drop{"unassigned", "from outside, for a public address that no endpoint has"}
	dropTooLong      = Drop{"too-long", "for a public address, or an answer nearby, and longer than the MTU of the VPC that it is for; the sender is told, if it forbids fragments"}
	dropUnasked      = Drop{"unasked", "from outside, and no endpoint has asked for it"}
	dropTunnelARP    = Drop{"tunnel-arp", "ARP in a tunnel packet; ARP is answered on each host and never sent"}
	dropDHCP         = Drop{"dhcp", "answer of a DHCP server; no endpoint is one"}
	dropProtocol     = Drop{"protocol", "neither IPv4 nor ARP, or with a VLAN tag"}
	dropStranger     = Drop{"stranger", "tunnel packet whose inner sender does not live behind its outer source"}
	dropSpoofed      = Drop{"spoofed", "an endpoint sent from a MAC or address that is not its own"}
	dropARP          = Drop{"arp", "ARP that needs no answer: a reply nobody asked for"}
	dropARPUnknown   = Drop{"arp-unknown", "ARP request for an address that no endpoint of the segment has"}
	dropUnforwarded  = Drop{"unforwarded", "multicast of a segment that has no members here"}
	dropExpired      = Drop{"ttl", "routed, and its TTL is used up; the sender is told, but for what answers a connection by SNAT"}
	dropBeyond       = Drop{"beyond", "for another segment, but not sent to the gateway's MAC"}
	dropMisdirected  = Drop{"misdirected", "tunnel packet for an endpoint of another VNI than its own"}
	dropGuarded      = Drop{"guarded-host", "for a host, a server, or an address that is nobody's outside, and its VPC's gateway does not allow it"}
	dropNoOutside    = Drop{"no-outside", "for the outside, to which its VPC has no way; the sender is told"}
	dropUntranslated = Drop{"untranslated", "for the outside, but its source could not be translated: no port is free, or conntrack takes it for invalid"}
	dropMoved        = Drop{"moved", "tunnel packet or answer from outside for an endpoint that has moved away"}
	dropGateway      = Drop{"gateway", "sent to a gateway address, which answers ARP and ping only; the sender is told"}
	dropNowhere      = Drop{"no-such-address", "no endpoint of the VPC has the destination address; the sender is told, if it was to be routed"}
	dropProbe        = Drop{"probe", "probe between hosts from a host that is no peer"}
)

// Drops are all reasons.
var Drops = []Drop{dropPort, dropVNI, dropUpstream, dropUnassigned, dropTooLong, dropUnasked, dropTunnelARP, dropDHCP, dropProtocol, dropStranger, dropSpoofed, dropARP,
	dropARPUnknown, dropUnforwarded, dropExpired, dropBeyond, dropMisdirected, dropGuarded, dropNoOutside, dropUntranslated, dropMoved, dropGateway, dropNowhere, dropProbe}

// dropOwner marks the flows that drop, so that their counters can be found.
const dropOwner = "drop "

func drop(table uint8, priority uint16, why Drop, match ...flow.Part) flow.Flow {
	return flow.Flow{Table: table, Priority: priority, Match: flow.On(match...), Owner: dropOwner + why.Name}
}

// dropTelling drops, counts, and has the agent tell the sender why.
func dropTelling(table uint8, priority uint16, why Drop, what byte, match ...flow.Part) flow.Flow {
	f, meter := drop(table, priority, why, match...), meterICMP
	if what == ForAgentPassing {
		meter = meterPassing
	}
	f.Actions = []flow.Action{flow.UseMeter{ID: meter}, flow.Controller{Userdata: []byte{what}, MaxLen: toldLen}}
	return f
}

// toldLen is as much of a packet as an ICMP error quotes at most (RFC 1812 section 4.3.2.3), and its Ethernet header.
const toldLen = 14 + 576
