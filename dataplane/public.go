package dataplane

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// A public address is translated on its endpoint's host, one to one, where conntrack also translates what ICMP errors
// quote. Passages on the way only forward it; they know where each address lives, keep nothing of connections, and any
// of them will do. In the central design they are reached by the VPC's transit VNI, in the distributed one by the
// underlay as it is. There a NAT-IP may stand for the public address between edge and host: both put it on and take it
// off without looking further, and conntrack never sees it, so what ICMP errors quote is right at both ends.

// publicAddresses compiles a public address, be it of an endpoint as a whole, or of forwarded ports of it.
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

// compile gives what this host does for a public address: as the host of its endpoints, and as a passage.
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

// compileWhole is for an address that one endpoint has.
func compilePublicIP(v *view.View, w Wiring, p view.Public) []flow.Flow {
	var flows []flow.Flow
	g := v.Gateways[p.VPC]
	if t, ok := w.Translations[p.VPC]; ok && p.Host == v.Host {
		flows = append(flows, snatToPublic(p, t), publicNATOpen(p, t, p.Known()), publicStateOpen(p.VPC, p.Address, p.Endpoint.IP), snatOutPublic(g, p))
		if p.NATIP.IsValid() { // from upstream, or nearby, it comes without
			flows = append(flows, publicNATOpen(p, t, p.Address))
		}
		if w.SNATPort != 0 {
			flows = append(flows, hairpin(g, p))
		}
	}
	if isBorder(v, w, g) {
		flows = append(flows, borderPublicIP(v, w, g, p)...)
		flows = append(flows, ownUpstream(v, w, g, p.Address, p.Host)...)
	}
	return Entries{Flows: flows}.ownedBy("PublicIP " + p.Name).Flows
}

func snatToPublic(p view.Public, t Translation) flow.Flow {
	return flow.Flow{Table: tableSNAT, Priority: prioSpecial, Match: flow.On(flow.IP, is(slotVPC, uint32(p.VPC)), flow.Eq(flow.IPSrc, flow.Addr(p.Endpoint.IP))),
		Actions: []flow.Action{flow.CT{Commit: true, Zone: t.Zone, Table: tableSNATOut, NAT: &flow.NAT{Kind: flow.NATSrc, Addr: p.Address}}}}
}

// snatOutPublic names the endpoint, too: in conntrack, another one may have connections from when the address was its
// own.
func snatOutPublic(g view.Gateway, p view.Public) flow.Flow {
	return flow.Flow{Table: tableSNATOut, Priority: prioNormal,
		Match:   flow.On(flow.IP, is(slotVPC, uint32(p.VPC)), keyIs(p.Endpoint.IP), flow.Eq(flow.IPSrc, flow.Addr(p.Address)), valid),
		Actions: toBorder(g.VPC, rewrite(flow.IPSrc, p.Address, p.Known())...)}
}

// InTheNameOf is what the agent asks of the switch to send a packet of its own out, from the public address of this
// host's that another packet is for; ok is false if that is for none.
func SendFromPublicIP(v *view.View, to netip.Addr) (address netip.Addr, way []flow.Action, ok bool) {
	for _, p := range v.Publics {
		if p.Host == v.Host && p.Known() == to {
			return p.Address, append([]flow.Action{set(slotVPC, uint32(p.VPC))}, toBorder(p.VPC, rewrite(flow.IPSrc, p.Address, p.Known())...)...), true
		}
	}
	for key, f := range v.Forwards {
		if f.Host == v.Host && key.Address == to {
			return to, toBorder(f.VPC), true
		}
	}
	return address, nil, false
}

// passPublic is what a passage does: it believes the address's own host, and sends on to it what is for the address, be
// it from outside or from a host.
func borderPublicIP(v *view.View, w Wiring, g view.Gateway, p view.Public) []flow.Flow {
	actions, ok := toHost(v, w, p.VPC, p.Host)
	switch {
	case ok && p.Host == v.Host:
		flows := []flow.Flow{inbound(p, actions...)}
		if g.Design == model.Distributed { // what comes from elsewhere is of no VPC there
			flows = append(flows, outbound([]flow.Part{is(slotVPC, uint32(p.VPC)), flow.Eq(flow.IPSrc, flow.Addr(p.Known()))}, rewrite(flow.IPSrc, p.Known(), p.Address)...))
		}
		return flows
	case ok && g.Design == model.Central:
		return []flow.Flow{inbound(p, actions...), outbound(fromHost(v, p.VPC, p.Host, p.Address))}
	case g.Design == model.Distributed && w.UnderlayPort != 0:
		return []flow.Flow{
			inbound(p, checkMTU(g, w.UnderlayPort, setKey(p.Known()))...),
			outbound([]flow.Part{inPort(w.UnderlayPort), flow.Eq(flow.IPSrc, flow.Addr(p.Known()))}, rewrite(flow.IPSrc, p.Known(), p.Address)...),
		}
	}
	return nil
}

// toHost is the way from a passage to a host with endpoints of a VPC, this one perhaps, in the central design; false if
// there is none.
func toHost(v *view.View, w Wiring, vpc model.VNI, host string) ([]flow.Action, bool) {
	if _, hasEndpoints := w.Translations[vpc]; host == v.Host && hasEndpoints {
		return checkMTU(v.Gateways[vpc], 0, set(slotVPC, uint32(vpc))), true
	}
	peer, ok := v.Peers[host]
	if !ok {
		return nil, false
	}
	return checkMTU(v.Gateways[vpc], w.TunnelPort, setTransit(vpc, peer)...), true
}

// fromHost matches what a host sends to a passage from a public address of a VPC.
func fromHost(v *view.View, vpc model.VNI, host string, address netip.Addr) []flow.Part {
	return []flow.Part{is(slotVPC, uint32(vpc)), flow.Eq(flow.TunSrc, flow.Addr(v.Peers[host].VTEP)), flow.Eq(flow.IPSrc, flow.Addr(address))}
}

func inbound(p view.Public, actions ...flow.Action) flow.Flow {
	return flow.Flow{Table: tableInbound, Priority: prioNormal, Match: flow.On(flow.IP, flow.Eq(flow.IPDst, flow.Addr(p.Address))), Actions: actions}
}

func outbound(match []flow.Part, actions ...flow.Action) flow.Flow {
	return flow.Flow{Table: tableOutbound, Priority: prioNormal, Match: flow.On(append(match, flow.IP)...),
		Actions: append(actions, clearInPort, flow.Goto{Table: tableInbound})}
}

// renamed changes an address, unless it stays as it is.
func rewrite(field *flow.Field, was, now netip.Addr) []flow.Action {
	if was == now {
		return nil
	}
	return []flow.Action{flow.SetField{Field: field, Value: flow.Addr(now)}}
}

// unreceived lets a packet go back where it came from: a switch sends nothing out of a packet's in_port.
var clearInPort = flow.SetField{Field: flow.InPort16, Value: flow.U32(0)}

// enterWatched has packets of a watched tunnel go the way of all tunnel packets. A peer's come by it even if they have
// left by the port that all share.
func enterBFD(w Wiring, host string, port uint32) flow.Flow {
	return flow.Flow{Table: tableEnter, Priority: prioNormal, Match: flow.On(inPort(port)), Owner: "Host " + host,
		Actions: []flow.Action{flow.SetField{Field: flow.InPort16, Value: flow.U32(w.TunnelPort)}, flow.Goto{Table: tableAdmit}}}
}

// watchedHosts are those with a tunnel of their own, in order.
func (w Wiring) bfdPeers() []string { return slices.Sorted(maps.Keys(w.BFDPorts)) }
