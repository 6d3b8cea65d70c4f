package dataplane

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// The endpoint's host translates a public address, one to one. Its conntrack also translates the packets that ICMP
// errors quote. Border hosts only forward: they know the host of each address, keep no state of connections, and can
// replace each other.
//
// In the central design, hosts and border hosts exchange packets under the VPC's transit VNI. In the distributed design
// they use the underlay without a tunnel. There a NAT-IP may replace the public address between edge and host. Both
// rewrite it without state, and conntrack never sees it, so the packets that ICMP errors quote are right at both ends.

// publicAddresses compiles a public address: one that an endpoint has as a whole, or one with forwarded ports.
type publicAddresses struct{}

var publics compiler = publicAddresses{}

func (publicAddresses) name() string { return "public" }

func (publicAddresses) subjects(v *view.View) []Subject {
	all := slices.Collect(maps.Keys(v.Publics))
	for key := range v.Forwards {
		all = append(all, key.Address)
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return inOrder("public", slices.Compact(all))
}

// compile gives the entries on the host of the address's endpoints and on a border host.
func (publicAddresses) compile(v *view.View, w Wiring, key any) Entries {
	address := key.(netip.Addr)
	flows := compileForwards(v, w, address)
	if p, ok := v.Publics[address]; ok {
		flows = append(flows, compilePublicIP(v, w, p)...)
	}
	return Entries{Flows: flows}
}

func (publicAddresses) touch(c *change, add func(key any)) {
	undo, v := &c.before.Undo, c.now.View
	for address := range keys(undo.Publics, undo.GonePublics) {
		add(address)
	}
	for key := range keys(undo.Forwards, undo.GoneForwards) {
		add(key.Address)
	}
	if !c.affectsPublic() {
		return
	}
	for address, p := range v.Publics {
		if c.affects(p.VPC, p.Host) {
			add(address)
		}
	}
	for key, f := range v.Forwards {
		if c.affects(f.VPC, f.Host) {
			add(key.Address)
		}
	}
}

// compilePublicIP gives the flows of an address that one endpoint has as a whole.
func compilePublicIP(v *view.View, w Wiring, p view.Public) []flow.Flow {
	var flows []flow.Flow
	g := v.Gateways[p.VPC]
	if t, ok := w.translation(p.VPC); ok && p.Host == v.Host {
		flows = append(flows, snatToPublic(p, t), publicNATOpen(p, t, p.Known()), publicStateOpen(p.VPC, p.Address,
			p.Endpoint.IP), snatOutPublic(g, p))
		if p.NATIP.IsValid() { // packets from upstream or by hairpin have the address itself
			flows = append(flows, publicNATOpen(p, t, p.Address))
		}
		if w.SNATPort != 0 {
			flows = append(flows, hairpin(g, p))
		}
	}
	if isBorder(v, w, g) {
		flows = append(flows, borderPublicIP(v, w, g, p)...)
		flows = append(flows, answerPublic(v, w, g, p.Address, p.Host)...)
	}
	return Entries{Flows: flows}.ownedBy("PublicIP " + p.Name).Flows
}

func snatToPublic(p view.Public, t translation) flow.Flow {
	return flow.Flow{Table: tableSNAT, Priority: prioSpecial,
		Match: flow.On(flow.IP, is(slotVPC, uint32(p.VPC)), flow.Eq(flow.IPSrc, flow.Addr(p.Endpoint.IP))),
		Actions: []flow.Action{flow.CT{Commit: true, Zone: t.zone, Table: tableSNATOut,
			NAT: &flow.NAT{Kind: flow.NATSrc, Addr: p.Address}}}}
}

// snatOutPublic matches the endpoint, too: conntrack may have connections of an endpoint that had the address before.
func snatOutPublic(g view.Gateway, p view.Public) flow.Flow {
	return flow.Flow{Table: tableSNATOut, Priority: prioNormal,
		Match: flow.On(flow.IP, is(slotVPC, uint32(p.VPC)), keyIs(p.Endpoint.IP),
			flow.Eq(flow.IPSrc, flow.Addr(p.Address)), valid),
		Actions: toBorder(g.VPC, rewrite(flow.IPSrc, p.Address, p.Known())...)}
}

// SendFromPublicIP gives the actions by which the agent answers a packet to a public address of this host, and the
// address that the answer comes from. ok is false if no endpoint of this host has the destination.
func SendFromPublicIP(v *view.View, to netip.Addr) (address netip.Addr, way []flow.Action, ok bool) {
	for _, p := range v.Publics {
		if p.Host == v.Host && p.Known() == to {
			return p.Address, append([]flow.Action{set(slotVPC, uint32(p.VPC))},
				toBorder(p.VPC, rewrite(flow.IPSrc, p.Address, p.Known())...)...), true
		}
	}
	for key, f := range v.Forwards {
		if f.Host == v.Host && key.Address == to {
			return to, toBorder(f.VPC), true
		}
	}
	return address, nil, false
}

// borderPublicIP gives the flows on a border host: packets for the address go to its host, and packets from the address
// are accepted from that host only.
func borderPublicIP(v *view.View, w Wiring, g view.Gateway, p view.Public) []flow.Flow {
	actions, ok := toHost(v, w, p.VPC, p.Host)
	switch {
	case ok && p.Host == v.Host:
		flows := []flow.Flow{inbound(p, actions...)}
		if g.Design == model.Distributed { // packets from other hosts have no VPC there
			flows = append(flows, outbound([]flow.Part{is(slotVPC, uint32(p.VPC)),
				flow.Eq(flow.IPSrc, flow.Addr(p.Known()))}, rewrite(flow.IPSrc, p.Known(), p.Address)...))
		}
		return flows
	case ok && g.Design == model.Central:
		return []flow.Flow{inbound(p, actions...), outbound(fromHost(v, p.VPC, p.Host, p.Address))}
	case g.Design == model.Distributed && w.UnderlayPort != 0:
		return []flow.Flow{
			inbound(p, checkMTU(g, w.UnderlayPort, setKey(p.Known()))...),
			outbound([]flow.Part{inPort(w.UnderlayPort), flow.Eq(flow.IPSrc, flow.Addr(p.Known()))},
				rewrite(flow.IPSrc, p.Known(), p.Address)...),
		}
	}
	return nil
}

// toHost sends a packet from a border host to a host with endpoints of a VPC, which may be this one, in the central
// design. It returns false if there is no such host.
func toHost(v *view.View, w Wiring, vpc model.VNI, host string) ([]flow.Action, bool) {
	if _, hasEndpoints := w.translation(vpc); host == v.Host && hasEndpoints {
		return checkMTU(v.Gateways[vpc], 0, set(slotVPC, uint32(vpc))), true
	}
	peer, ok := v.Peers[host]
	if !ok {
		return nil, false
	}
	return checkMTU(v.Gateways[vpc], w.TunnelPort, setTransit(vpc, peer)...), true
}

// fromHost matches packets from a host to a border host, from a public address of a VPC.
func fromHost(v *view.View, vpc model.VNI, host string, address netip.Addr) []flow.Part {
	return []flow.Part{is(slotVPC, uint32(vpc)), flow.Eq(flow.TunSrc, flow.Addr(v.Peers[host].VTEP)),
		flow.Eq(flow.IPSrc, flow.Addr(address))}
}

func inbound(p view.Public, actions ...flow.Action) flow.Flow {
	return flow.Flow{Table: tableInbound, Priority: prioNormal,
		Match: flow.On(flow.IP, flow.Eq(flow.IPDst, flow.Addr(p.Address))), Actions: actions}
}

func outbound(match []flow.Part, actions ...flow.Action) flow.Flow {
	return flow.Flow{Table: tableOutbound, Priority: prioNormal, Match: flow.On(append(match, flow.IP)...),
		Actions: append(actions, clearInPort, flow.Goto{Table: tableInbound})}
}

// rewrite sets an address field, unless the address stays the same.
func rewrite(field *flow.Field, was, now netip.Addr) []flow.Action {
	if was == now {
		return nil
	}
	return []flow.Action{flow.SetField{Field: field, Value: flow.Addr(now)}}
}

// clearInPort lets a packet leave by its ingress port: a switch sends no packet out of its in_port.
var clearInPort = flow.SetField{Field: flow.InPort16, Value: flow.U32(0)}

// enterBFD gives packets of a peer's own tunnel port the number of the shared tunnel port. OVS delivers all packets of
// that peer by its own port, whichever port they have left by.
func enterBFD(w Wiring, host string, port uint32) flow.Flow {
	return flow.Flow{Table: tableEnter, Priority: prioNormal, Match: flow.On(inPort(port)), Owner: "Host " + host,
		Actions: []flow.Action{flow.SetField{Field: flow.InPort16, Value: flow.U32(w.TunnelPort)},
			flow.Goto{Table: tableAdmit}}}
}

// bfdPeers are the peers with a tunnel port of their own, in order.
func (w Wiring) bfdPeers() []string { return slices.Sorted(maps.Keys(w.BFDPorts)) }
