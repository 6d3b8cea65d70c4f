package dataplane

import (
	"net/netip"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/view"
)

// In the central design the endpoints of a VPC on one host share a block of ports of a public address. Their host
// translates TCP and UDP to it and keeps the connections; a passage only knows which host a block is of, so any passage
// will do, and none is missed. An ICMP identifier is no port, so echoes leave by the host's kernel. Of an ICMP error
// the switch cannot see whose packet it quotes: a passage's agent looks, and sends it to the block's host, where
// conntrack translates what it quotes.

var blocks = rows[view.BlockKey, view.Block]{
	kind:    "block",
	table:   func(v *view.View) view.Table[view.BlockKey, view.Block] { return v.Blocks },
	order:   view.BlockKey.Compare,
	entries: compileBlock,
	touched: touchBlocks,
}

// compileBlock is what this host does for a block: as the block's host, and as a passage.
func compileBlock(v *view.View, w Wiring, b view.Block) Entries {
	g, ok := v.Gateways[b.VPC]
	if !ok {
		return Entries{}
	}
	var flows []flow.Flow
	if t, ok := w.Translations[b.VPC]; ok && b.Host == v.Host {
		flows = append(flows, publicNATBlock(b, t), snatOutBlock(b))
		for _, p := range portProtocols {
			flows = append(flows, snatToBlock(b, t, p))
		}
	}
	if isBorder(v, w, g) {
		flows = append(flows, borderBlock(v, w, b)...)
		flows = append(flows, ownUpstream(v, w, g, b.Address, "")...)
	}
	return Entries{Flows: flows}.ownedBy("PortBlock " + b.Name)
}

func touchBlocks(c *change, add func(view.BlockKey)) {
	addAll(add, keys(c.before.Undo.Blocks, c.before.Undo.GoneBlocks))
	if !c.affectsPublic() {
		return
	}
	for key, b := range c.now.View.Blocks {
		if c.affects(b.VPC, b.Host) {
			add(key)
		}
	}
}

// protocol is one that has ports.
type protocol struct {
	name     string
	match    flow.Part
	src, dst *flow.Field
}

// ported are the protocols that blocks are for.
var portProtocols = []protocol{{"tcp", flow.TCP, flow.TCPSrc, flow.TCPDst}, {"udp", flow.UDP, flow.UDPSrc, flow.UDPDst}}

func protocolNamed(name string) (protocol, bool) {
	for _, p := range portProtocols {
		if p.name == name {
			return p, true
		}
	}
	return protocol{}, false
}

// inBlock matches the ports of a block.
func inBlock(f *flow.Field, b view.Block) flow.Term {
	return flow.Masked(f, flow.U32(uint32(b.First)), flow.U32(uint32(^(b.Last - b.First))))
}

func snatToBlock(b view.Block, t Translation, p protocol) flow.Flow {
	return flow.Flow{Table: tableSNAT, Priority: prioNormal, Match: flow.On(flow.IP, p.match, is(slotVPC, uint32(b.VPC))),
		Actions: []flow.Action{flow.CT{Commit: true, Zone: t.Zone, Table: tableSNATOut, NAT: &flow.NAT{Kind: flow.NATSrc, Addr: b.Address, FirstPort: b.First, LastPort: b.Last}}}}
}

func snatOutBlock(b view.Block) flow.Flow {
	return flow.Flow{Table: tableSNATOut, Priority: prioNormal, Match: flow.On(flow.IP, is(slotVPC, uint32(b.VPC)), flow.Eq(flow.IPSrc, flow.Addr(b.Address)), valid),
		Actions: toBorder(b.VPC)}
}

// publicNATBlock names the VPC, since a block of another one may be of the same address.
func publicNATBlock(b view.Block, t Translation) flow.Flow {
	return flow.Flow{Table: tablePublicNAT, Priority: prioNormal, Match: flow.On(flow.IP, is(slotVPC, uint32(b.VPC)), flow.Eq(flow.IPDst, flow.Addr(b.Address))),
		Actions: []flow.Action{set(slotArrived, arrivedAnswer), flow.CT{Zone: t.Zone, Table: tablePublicState, NAT: &flow.NAT{}}}}
}

// passBlock believes the block's host that the ports are its own, and ICMP errors of it.
func borderBlock(v *view.View, w Wiring, b view.Block) (flows []flow.Flow) {
	actions, ok := toHost(v, w, b.VPC, b.Host)
	if !ok {
		return nil
	}
	from := fromHost(v, b.VPC, b.Host, b.Address)
	for _, p := range portProtocols {
		flows = append(flows, flow.Flow{Table: tableInbound, Priority: prioNormal, Actions: actions,
			Match: flow.On(flow.IP, p.match, flow.Eq(flow.IPDst, flow.Addr(b.Address)), inBlock(p.dst, b))})
		if b.Host != v.Host {
			flows = append(flows, outbound(append(from[:3:3], p.match, inBlock(p.src, b))))
		}
	}
	if b.Host != v.Host {
		flows = append(flows, outbound(append(from, flow.ICMP)))
	}
	return flows
}

// ToOwner is the way from a passage to the host that has a port of a shared public address, for tcp or udp; false if
// none has.
func SendToPortOwner(v *view.View, w Wiring, protocol string, port netip.AddrPort) ([]flow.Action, bool) {
	for key, b := range v.Blocks {
		if key.Address == port.Addr() && key.First <= port.Port() && port.Port() <= b.Last {
			return toHost(v, w, b.VPC, b.Host)
		}
	}
	if f, ok := v.Forwards[view.ForwardKey{Address: port.Addr(), Protocol: protocol, Port: port.Port()}]; ok {
		return toHost(v, w, f.VPC, f.Host)
	}
	return nil, false
}

// quotedToAgent takes the ICMP errors for an address that has blocks.
func icmpErrorsToAgent() (flows []flow.Flow) {
	for _, icmpType := range icmpErrors {
		flows = append(flows, flow.Flow{Table: tableInbound, Priority: prioRest + 20, Match: flow.On(flow.IP, flow.ICMP, flow.Eq(flow.ICMPType, flow.U32(icmpType)), is(slotLeaving, 0)),
			Actions: []flow.Action{flow.UseMeter{ID: meterICMPErrors}, flow.Controller{Userdata: []byte{ForAgentICMPError}, MaxLen: 1500}}})
	}
	return flows
}

// icmpErrors are the types of ICMP errors (RFC 792): unreachable, time exceeded, parameter problem.
var icmpErrors = []uint32{3, 11, 12}
