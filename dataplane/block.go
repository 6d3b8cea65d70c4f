package dataplane

import (
	"net/netip"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/view"
)

// In the central design, the endpoints of a VPC on one host share a block of ports of a public address. Their host
// translates TCP and UDP to the block and tracks the connections. A border host only knows the host of each block, so
// any border host can replace another one.
//
// ICMP echoes have no ports and leave by the host's kernel. The switch cannot read the packet that an ICMP error
// quotes. The agent of the border host reads it, and sends the error to the block's host, where conntrack translates
// it.

// blocks compiles a block of ports.
var blocks = rows[view.BlockKey, view.Block]{
	kind:    "block",
	table:   func(v *view.View) view.Table[view.BlockKey, view.Block] { return v.Blocks },
	order:   view.BlockKey.Compare,
	entries: compileBlock,
	touched: touchBlocks,
}

// compileBlock gives the entries on the block's host and on a border host.
func compileBlock(v *view.View, w Wiring, b view.Block) Entries {
	g, ok := v.Gateways[b.VPC]
	if !ok {
		return Entries{}
	}
	var flows []flow.Flow
	if t, ok := w.translation(b.VPC); ok && b.Host == v.Host {
		flows = append(flows, publicNATBlock(b, t), snatOutBlock(b))
		for _, p := range portProtocols {
			flows = append(flows, snatToBlock(b, t, p))
		}
	}
	if isBorder(v, w, g) {
		flows = append(flows, borderBlock(v, w, b)...)
		flows = append(flows, answerPublic(v, w, g, b.Address, "")...)
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

// protocol is a protocol that has ports.
type protocol struct {
	name     string
	match    flow.Part
	src, dst *flow.Field
}

// portProtocols are the protocols of blocks and forwarded ports.
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

func snatToBlock(b view.Block, t translation, p protocol) flow.Flow {
	return flow.Flow{Table: tableSNAT, Priority: prioNormal,
		Match: flow.On(flow.IP, p.match, is(slotVPC, uint32(b.VPC))),
		Actions: []flow.Action{flow.CT{Commit: true, Zone: t.zone, Table: tableSNATOut,
			NAT: &flow.NAT{Kind: flow.NATSrc, Addr: b.Address, FirstPort: b.First, LastPort: b.Last}}}}
}

func snatOutBlock(b view.Block) flow.Flow {
	return flow.Flow{Table: tableSNATOut, Priority: prioNormal,
		Match:   flow.On(flow.IP, is(slotVPC, uint32(b.VPC)), flow.Eq(flow.IPSrc, flow.Addr(b.Address)), valid),
		Actions: toBorder(b.VPC)}
}

// publicNATBlock matches the VPC, since VPCs may share an address, each with blocks of its own.
func publicNATBlock(b view.Block, t translation) flow.Flow {
	return flow.Flow{Table: tablePublicNAT, Priority: prioNormal,
		Match: flow.On(flow.IP, is(slotVPC, uint32(b.VPC)), flow.Eq(flow.IPDst, flow.Addr(b.Address))),
		Actions: []flow.Action{set(slotArrived, arrivedAnswer), flow.CT{Zone: t.zone, Table: tablePublicState,
			NAT: &flow.NAT{}}}}
}

// borderBlock sends packets for the block to its host, and accepts packets from the block's ports, and ICMP errors,
// from that host only.
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

// SendToPortOwner gives the actions by which a border host's agent sends a packet to the host of a port (tcp or udp) of
// a shared public address. It returns false if no host has the port.
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

// icmpErrorsToAgent gives ICMP errors for a shared public address to the agent.
func icmpErrorsToAgent() (flows []flow.Flow) {
	for _, icmpType := range icmpErrors {
		flows = append(flows, flow.Flow{Table: tableInbound, Priority: prioRest + 20,
			Match: flow.On(flow.IP, flow.ICMP, flow.Eq(flow.ICMPType, flow.U32(icmpType)), is(slotLeaving, 0)),
			Actions: []flow.Action{flow.UseMeter{ID: meterICMPErrors},
				flow.Controller{Userdata: []byte{ForAgentICMPError}, MaxLen: 1500}}})
	}
	return flows
}

// icmpErrors are the types of ICMP errors (RFC 792): unreachable, time exceeded, parameter problem.
var icmpErrors = []uint32{3, 11, 12}
