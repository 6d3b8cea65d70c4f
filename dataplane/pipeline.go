// Package dataplane compiles what one host's switch must contain: [Compile] turns a view and the host's wiring into
// flows, groups and meters. It is pure: it never talks to a switch, and the same input gives the same output.
//
// The rules, in the order in which a packet meets them:
//
//   - A packet belongs to a segment: the segment of its ingress port or, if it comes through a tunnel, of its VNI. A
//     packet without a segment is dropped.
//   - The sender is checked first. An endpoint may send only from its own MAC and IP address. A tunnel packet must come
//     from the host on which its inner sender lives. The endpoints behind a shared port cannot be told from each other.
//   - The agent of the client's own host answers DHCP. Endpoints neither receive DHCP requests nor answer them.
//   - The switch answers ARP and pings of the gateway from intent. It forwards no ARP.
//   - A multicast packet is replicated to the segment's local ports and to every host with an endpoint in the segment.
//   - A unicast packet within its segment goes to the host of its destination.
//   - A unicast packet to the gateway's MAC is routed on the sender's host, to any subnet of the VPC, and travels under
//     the VNI of the destination's subnet (asymmetric IRB). Other packets stay within their segment.
//   - A destination that is in no subnet of the VPC is outside. A packet to the outside leaves only with a translated
//     source address. A packet from outside reaches an endpoint only as part of a connection that the endpoint opened,
//     or through its public address or a forwarded port.
//   - All other packets are dropped. Every drop has a name and a counter.
//
// Each address of a VPC is one flow of the table locate, a directory that the sender's check, the ARP reply and
// forwarding all resubmit to. An endpoint on another host therefore costs this host one flow.
//
// # A new kind
//
// CONTRIBUTING.md lists the files of a kind with an effect on the switch. A kind that needs a table or a slot adds it to
// this file and raises [Version].
package dataplane

import (
	"github.com/overlane/overlane/dataplane/flow"
)

// Version is the version of the pipeline: it changes whenever the flows of running hosts change their meaning. Release
// 0.1.0 had version 1. A test holds it to the flows and the layout of the slots.
const Version = 2

// Table is one step of the pipeline. ID is its number in the switch; [Tables] is in the order of the IDs.
type Table struct {
	ID      uint8
	Name    string
	Decides string // one sentence
	Miss    string // what happens to a packet that matches no flow of the table
}

// The tables that a packet passes, then the subroutines: tables that others resubmit to, and that only set slots.
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
	{tableEnter, "enter",
		"Treats a packet of a tunnel with BFD as a packet of the tunnel port that all peers share.",
		"on to admit"},
	{tableAdmit, "admit",
		"Finds the segment of the packet by its ingress port or its VNI.",
		"drop: the port or the VNI has no segment here"},
	{tableUpstream, "upstream",
		"On a border host: takes packets from the upstream network to a next hop.",
		"drop: no next hop has the destination"},
	{tableOutbound, "outbound",
		"On a border host: checks that the host of the public source address has sent the packet.",
		"drop: another host has sent it"},
	{tableInbound, "inbound",
		"On a border host: finds the host of a public address. A packet from a host to another address leaves.",
		"drop: no endpoint has the address"},
	{tablePublicMTU, "public_mtu",
		"Sends a packet for a public address to its host, unless the packet exceeds the MTU of the VPC.",
		"drop: no host was found"},
	{tableFragNeeded, "frag_needed",
		"The agent tells the sender of a packet that exceeds the MTU.",
		"drop: the packet ends here"},
	{tablePublicNAT, "public_nat",
		"Finds the VPC by the destination address, then undoes NAT in the conntrack zone of that VPC (ct).",
		"drop: the address belongs to no VPC here"},
	{tablePublicState, "public_state",
		"Admits a packet of a connection that an endpoint opened, or to an open address.",
		"drop: no connection"},
	{tableSource, "source",
		"Looks up the claimed sender (locate), and compares it with the packet's origin (verify).",
		"drop: neither IPv4 nor ARP"},
	{tableSpoofCheck, "spoof_check",
		"Drops what verify has marked. In a subnet with dynamic endpoints, DHCP of an unknown MAC goes to the agent.",
		"on to answer"},
	{tableAnswer, "answer", "Answers ARP and DHCP instead of forwarding them.", "on to forward"},
	{tableARPReply, "arp_reply",
		"Makes the ARP reply from the address that locate found.",
		"drop: no endpoint has the address"},
	{tableForward, "forward",
		"Looks up a unicast destination (locate). Sends multicast to the segment's flood group.",
		"drop: neither"},
	{tableRoute, "route",
		"Decides whether the packet may go to its destination: within its segment, through the gateway, or outside.",
		"drop: for another segment, and not sent to the gateway"},
	{tableGuard, "guard",
		"Keeps a packet that leaves its VPC from hosts, servers and special addresses, unless the gateway allows them.",
		"on to snat"},
	{tableSNAT, "snat",
		"Translates the source address of a packet that leaves its VPC (ct).",
		"drop: the VPC has no internet gateway"},
	{tableSNATOut, "snat_out",
		"Sends a translated packet out by the path of its new source address.",
		"drop: it could not be translated"},
	{tableHairpin, "hairpin",
		"Turns around a packet for a public address of this host, which the host's kernel cannot.",
		"out by the host's kernel"},
	{tableDeliver, "deliver",
		"Sends the packet to the port or the host that locate found. Answers a ping of the gateway.",
		"drop: no endpoint has the address"},
	{tableProbe, "probe",
		"Reflects a peer's probe. Gives the reflection of this host's own probe to the agent.",
		"drop: neither"},
	{tableLocate, "locate", "Subroutine: finds an address of a VPC. One flow for each address.", "found nothing"},
	{tableVerify, "verify",
		"Subroutine: does what locate found fit the packet's port, MAC and outer source?",
		"marks the packet"},
	{tableSameSubnet, "same_subnet", "Subroutine: is the address that locate found in the packet's own segment?", "no"},
}

// Names are the names of the tables, by ID, as the switch shows them.
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
	First  int         // its first bit in Field, from the least significant one
	Width  int         // in bits
	Form   flow.Form   // how people write a value
	Values map[uint64]string
	Holds  string
}

// Slots carry what one table has found to the next ones. Each look-up in locate writes all found_* slots. An IPv4
// address is looked up as an IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2), so that one directory serves both
// families.
var (
	slotKey = Slot{"key", flow.XXReg0, 0, 128, flow.IPv6, nil,
		"the address to look up: the endpoint's own in a packet to the outside, the public one in a packet from there"}

	slotVNI = Slot{"vni", flow.Reg4, 0, 24, flow.Decimal, nil, "the segment of the packet, from admit on"}
	slotVPC = Slot{"vpc", flow.Reg5, 0, 24, flow.Decimal, nil,
		"the routing domain of the segment: the transit VNI of its VPC"}
	foundVNI = Slot{"found_vni", flow.Reg6, 0, 24, flow.Decimal, nil, "the segment of the address that locate found"}

	slotAsker = Slot{"asker", flow.Reg7, 0, 16, flow.Port, nil, "the port of the endpoint that sent an ARP request"}
	foundKind = Slot{"found_kind", flow.Reg7, 16, 4, flow.Decimal, kindNames,
		"what locate found: nothing, an endpoint here or elsewhere, a gateway, or the outside"}
	slotArrived = Slot{"arrived", flow.Reg7, 20, 2, flow.Decimal, arrivedNames,
		"how a packet came from outside: as an answer, to an open address, or by the host's kernel, its VPC unknown"}
	slotBad     = Slot{"bad", flow.Reg7, 22, 1, flow.Decimal, nil, "1 if the sender is not who the packet claims"}
	slotSame    = Slot{"same", flow.Reg7, 23, 1, flow.Decimal, nil, "1 if found_vni is vni"}
	slotLeaving = Slot{"leaving", flow.Reg7, 24, 1, flow.Decimal, nil,
		"1 if a host sends the packet out by this border host"}
	slotTooLong = Slot{"too_long", flow.Reg7, 25, 1, flow.Decimal, nil,
		"1 if the packet exceeds the MTU of its destination's VPC"}

	foundVTEP = Slot{"found_vtep", flow.Reg8, 0, 32, flow.IPv4, nil,
		"the VTEP of the host that has the address; 0: this host"}
	foundPort = Slot{"found_port", flow.Reg9, 0, 16, flow.Port, nil,
		"the port of the address on this host; 0: on another host"}
	foundMAC = Slot{"found_mac", flow.XReg5, 0, 48, flow.Ethernet, nil, "the MAC of the address"}

	// Set aside for security groups. No flow uses these slots yet.
	slotSenderSet = Slot{"sender_set", flow.Reg12, 0, 32, flow.Decimal, nil, "set aside for security groups: the sender's set of groups"}
	foundSet      = Slot{"found_set", flow.Reg13, 0, 32, flow.Decimal, nil,
		"set aside for security groups: the set of groups of the address found"}
	slotSenderZone = Slot{"sender_zone", flow.Reg14, 0, 16, flow.Decimal, nil,
		"set aside for security groups: the conntrack zone of the sender"}
	foundZone = Slot{"found_zone", flow.Reg14, 16, 16, flow.Decimal, nil,
		"set aside for security groups: the conntrack zone of the address found"}
	slotVerdict = Slot{"verdict", flow.Reg15, 0, 32, flow.Decimal, nil,
		"set aside for security groups: the rule that allows the packet; 0: none"}
	slotOwnSet = Slot{"own_set", flow.Metadata, 0, 32, flow.Decimal, nil,
		"set aside for security groups: the set of groups whose rules apply"}
	slotPeerSet = Slot{"peer_set", flow.Metadata, 32, 32, flow.Decimal, nil,
		"set aside for security groups: the set of groups of the other side"}
)

// Slots are all slots, by register.
var Slots = []Slot{
	slotKey, slotVNI, slotVPC, foundVNI,
	slotAsker, foundKind, slotArrived, slotBad, slotSame, slotLeaving, slotTooLong,
	foundVTEP, foundPort, foundMAC,
	slotSenderSet, foundSet, slotSenderZone, foundZone, slotVerdict, slotOwnSet, slotPeerSet,
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
	uint64(kindNothing): "nothing", uint64(kindHere): "here", uint64(kindElsewhere): "elsewhere",
	uint64(kindGateway): "gateway", uint64(kindOutside): "outside",
}

// Priorities within a table. Flows that exclude each other all have prioNormal.
const (
	prioMiss    uint16 = 0
	prioDefault uint16 = 10  // applies if nothing else is known
	prioRest    uint16 = 50  // takes the rest of a class, mostly to drop it by name
	prioNormal  uint16 = 100 // the table's main purpose
	prioSpecial uint16 = 110 // exceptions to it
)

// Meters bound the packets that reach the agent. Packets from endpoints, from peers and from outside have meters of
// their own, so that a flood from one side does not starve the others.
const (
	meterEndpointARP    uint32 = 0x4f00
	meterProbe          uint32 = 0x4f01
	meterRejected       uint32 = 0x4f02 // packets whose sender gets an ICMP error
	meterDHCP           uint32 = 0x4f03
	meterUnknownMAC     uint32 = 0x4f04
	meterICMPErrors     uint32 = 0x4f05 // ICMP errors from outside, on a border host
	meterBorderRejected uint32 = 0x4f06 // public traffic on a border host whose sender gets an ICMP error
	meterRouterARP      uint32 = 0x4f07
)

// Meters are the meters of every switch. Rate is in packets a second, Burst in packets.
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

// The first byte of the userdata of a packet for the agent says what the packet is.
const (
	ForAgentEndpointARP      byte = 1  // ARP reply of an endpoint to the gateway: the endpoint is alive
	ForAgentProbe            byte = 2  // probe of this host, reflected by a peer's switch
	ForAgentTTLExpired       byte = 3  // from an endpoint, to be routed, with TTL 1
	ForAgentUnreachable      byte = 4  // from an endpoint, to be routed, to an address that no endpoint has
	ForAgentGatewayClosed    byte = 5  // to the gateway's own address, which serves ARP and ping only
	ForAgentDHCP             byte = 6  // DHCP message of an endpoint to a server, whatever the server's address
	ForAgentRouterARP        byte = 7  // ARP reply of the upstream router
	ForAgentICMPError        byte = 8  // ICMP error from outside; the packet that it quotes tells its host
	ForAgentBorderTTLExpired byte = 9  // public traffic on a border host, with TTL 1
	ForAgentUnknownMAC       byte = 10 // DHCP message of an unknown MAC, in a subnet with dynamic endpoints
	ForAgentExceedsMTU       byte = 11 // to a public address, by border host or hairpin, and longer than the VPC's MTU
	ForAgentPublicTTLExpired byte = 12 // from outside, on the endpoint's host, with TTL 1
)

// Drop is a reason to drop a packet. The switch counts each one.
type Drop struct {
	Name    string // "spoofed"
	Because string // one sentence
}

// The reasons, in the order of the tables.
var (
	dropPort      = Drop{"unknown-port", "came in by a port that belongs to no endpoint"}
	dropVNI       = Drop{"unknown-vni", "tunnel packet of a VNI that has no endpoint on this host"}
	dropNoNextHop = Drop{"no-next-hop",
		"from the upstream network, to a MAC or address that is no next hop of this border host"}
	dropNoPublicIP = Drop{"no-public-ip", "from outside, to a public address that no endpoint has"}
	dropTooLong    = Drop{"exceeds-mtu",
		"to a public address, and longer than the MTU of its VPC; the sender is told, if it forbids fragments"}
	dropNoConnection = Drop{"no-connection", "from outside, and part of no connection that an endpoint has opened"}
	dropTunnelARP    = Drop{"tunnel-arp",
		"ARP in a tunnel packet; each host answers ARP itself and never sends it"}
	dropDHCPServer  = Drop{"dhcp-server", "an endpoint answered like a DHCP server; none may be one"}
	dropUnsupported = Drop{"unsupported-protocol", "neither IPv4 nor ARP, or with a VLAN tag"}
	dropSpoofedPeer = Drop{"spoofed-peer",
		"tunnel packet whose inner sender is not on the host of its outer source"}
	dropSpoofed        = Drop{"spoofed", "an endpoint sent from a MAC or address that is not its own"}
	dropARPUnsolicited = Drop{"unsolicited-arp", "ARP reply without a request"}
	dropARPNoAddress   = Drop{"arp-no-such-address",
		"ARP request for an address that no endpoint of the segment has"}
	dropNoMembers  = Drop{"no-multicast-members", "multicast in a segment that has no other members"}
	dropTTLExpired = Drop{"ttl-expired",
		"to be routed, with TTL 1; the sender is told, except for answers to a connection by SNAT"}
	dropNotRouted      = Drop{"not-routed", "to another segment, but not sent to the gateway's MAC"}
	dropWrongVNI       = Drop{"wrong-vni", "tunnel packet to an endpoint under another VNI than its own"}
	dropGuardedAddress = Drop{"guarded-address",
		"to a host, a server or a special address that the internet gateway of the VPC does not allow"}
	dropNoInternetGateway = Drop{"no-internet-gateway",
		"to an address outside, and the VPC has no internet gateway with SNAT; the sender is told"}
	dropSNATFailed = Drop{"snat-failed",
		"to an address outside, and its source could not be translated: no port is free, or conntrack finds it invalid"}
	dropEndpointMoved = Drop{"endpoint-moved",
		"tunnel packet, or answer from outside, to an endpoint that has moved to another host"}
	dropGatewayClosed = Drop{"gateway-closed",
		"to a gateway address, which answers ARP and ping only; the sender is told"}
	dropNoSuchAddress = Drop{"no-such-address",
		"to an address that no endpoint of the VPC has; the sender is told, if the packet was to be routed"}
	dropUnknownProbe = Drop{"unknown-probe", "probe between hosts, from a host that is no peer"}
)

// Drops are all reasons.
var Drops = []Drop{
	dropPort, dropVNI, dropNoNextHop, dropNoPublicIP, dropTooLong, dropNoConnection, dropTunnelARP, dropDHCPServer,
	dropUnsupported, dropSpoofedPeer, dropSpoofed, dropARPUnsolicited, dropARPNoAddress, dropNoMembers, dropTTLExpired,
	dropNotRouted, dropWrongVNI, dropGuardedAddress, dropNoInternetGateway, dropSNATFailed, dropEndpointMoved,
	dropGatewayClosed, dropNoSuchAddress, dropUnknownProbe,
}

// OtherDrops are counted beside the switch's flows, under names of their own or under those of [Drops]: by the nftables
// table of the host, by the agent, and by the kernel's conntrack.
var OtherDrops = []Drop{
	{"forged-tunnel", "tunnel packet that is not the switch's (nftables)"},
	{"no-exit", "to an interface that does not lead outside (nftables)"},
	{"not-translated", "of no connection that the host's kernel could translate (nftables)"},
	{"conntrack-full", "of a connection that the kernel's conntrack had no room for (kernel datapath)"},
	{"agent-busy", "handed to the agent, which was too busy for it"},
}

// dropOwner begins the owner of every flow that drops, by which [DropCounters] finds its counter.
const dropOwner = "drop "

func drop(table uint8, priority uint16, why Drop, match ...flow.Part) flow.Flow {
	return flow.Flow{Table: table, Priority: priority, Match: flow.On(match...), Owner: dropOwner + why.Name}
}

// reject drops and counts a packet, and gives it to the agent, which sends an ICMP error to the sender.
func reject(table uint8, priority uint16, why Drop, what byte, match ...flow.Part) flow.Flow {
	f, meter := drop(table, priority, why, match...), meterRejected
	if what == ForAgentBorderTTLExpired {
		meter = meterBorderRejected
	}
	f.Actions = []flow.Action{flow.UseMeter{ID: meter}, flow.Controller{Userdata: []byte{what}, MaxLen: rejectedLen}}
	return f
}

// rejectedLen is the part of a packet that an ICMP error quotes at most (RFC 1812 section 4.3.2.3), after its Ethernet
// header, in bytes.
const rejectedLen = 14 + 576
