package dataplane

import (
	"cmp"
	"slices"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// gateways compiles an internet gateway: the packets that leave its VPC, and the border host that each takes.
var gateways = rows[model.VNI, view.Gateway]{
	kind:    "gateway",
	table:   func(v *view.View) view.Table[model.VNI, view.Gateway] { return v.Gateways },
	order:   cmp.Compare[model.VNI],
	entries: compileGateway,
	touched: touchGateways,
}

func compileGateway(v *view.View, w Wiring, g view.Gateway) Entries {
	var e Entries
	if g.Design == model.Central {
		e.Flows = append(e.Flows, admitTransit(v, w, g)...)
	}
	if t, ok := w.translation(g.VPC); ok {
		e.Flows = append(e.Flows, locateOutside(g))
		for _, to := range g.Allow {
			e.Flows = append(e.Flows, allowGuarded(g, to))
		}
		if g.SNAT && w.SNATPort != 0 {
			e.Flows = append(e.Flows, publicNATAnswer(g, t), snatToKernel(w, g, t), snatOutToKernel(g, t),
				snatOutHairpin(g, t))
		}
		e.Groups = append(e.Groups, borderGroups(v, w, g)...)
	}
	return e.ownedBy("InternetGateway " + g.Name)
}

func touchGateways(c *change, add func(model.VNI)) {
	addAll(add, c.gateways)
	addAll(add, c.translations)
	shut := c.before.Wiring.Shut != c.now.Wiring.Shut
	for vpc, g := range c.now.View.Gateways {
		if shut || anyOf(c.peers, g.BorderHosts) || anyOf(c.bfd, g.BorderHosts) || anyOf(c.edges, g.BorderHosts) {
			add(vpc)
		}
	}
}

// toBorder sends a packet with a public source address to a border host.
func toBorder(vpc model.VNI, before ...flow.Action) []flow.Action {
	return append(before, flow.DecTTL{}, flow.SetField{Field: flow.EthSrc, Value: gatewayMAC},
		flow.ToGroup{ID: borderGroupID(vpc)})
}

// borderGroupID shares its range with the flood groups, since a transit VNI is never the VNI of a segment.
func borderGroupID(vpc model.VNI) uint32 { return floodGroupID(vpc) }

func balanceGroupID(vpc model.VNI) uint32 { return 0x4d000000 | uint32(vpc) }

// borderPath is the path to a border host. The zero value is none.
type borderPath struct {
	livenessPort uint32 // tells whether the border host is alive
	outPort      uint32 // the port that packets leave by
	actions      []flow.Action
}

// borderGroups sends packets that leave a VPC out by this host, if it is an open border host of the VPC. Otherwise it
// balances connections over the border hosts that are alive by BFD. If none seems alive, which a switch that is too
// busy for BFD also reports, all packets take one path, which differs from VPC to VPC.
func borderGroups(v *view.View, w Wiring, g view.Gateway) []flow.Group {
	balance := flow.Group{ID: balanceGroupID(g.VPC), Type: flow.GroupSelect}
	failover := flow.Group{ID: borderGroupID(g.VPC), Type: flow.GroupFastFailover}
	var own []flow.Bucket
	if isBorder(v, w, g) {
		own = []flow.Bucket{{WatchPort: w.UpstreamPort, Actions: ownExit(g)}}
	}
	if !w.Shut {
		failover.Buckets = append(failover.Buckets, own...)
	}
	paths := borderPaths(v, w, g)
	for _, path := range paths {
		balance.Buckets = append(balance.Buckets, flow.Bucket{Weight: 100, WatchPort: path.livenessPort,
			Actions: path.actions})
		failover.Buckets = append(failover.Buckets, flow.Bucket{WatchPort: path.livenessPort,
			Actions: []flow.Action{flow.ToGroup{ID: balance.ID}}})
	}
	if w.Shut { // a drained border host still forwards the packets that it gets
		failover.Buckets = append(failover.Buckets, own...)
	}
	for i := range paths {
		path := paths[(int(g.VPC)+i)%len(paths)]
		failover.Buckets = append(failover.Buckets, flow.Bucket{WatchPort: path.outPort, Actions: path.actions})
	}
	return []flow.Group{balance, failover}
}

// ownExit sends a packet out by this border host. In the distributed design the table outbound replaces the NAT-IP, as
// for packets from other hosts.
func ownExit(g view.Gateway) []flow.Action {
	if g.Design == model.Distributed {
		return []flow.Action{set(slotLeaving, 1), flow.Resubmit{Table: tableOutbound}}
	}
	return append([]flow.Action{clearInPort}, SendFromBorder()...) // the destination may be behind the same port
}

// borderPaths are the paths to the other border hosts of a VPC.
func borderPaths(v *view.View, w Wiring, g view.Gateway) (paths []borderPath) {
	for _, host := range g.BorderHosts {
		if path := borderPathTo(v, w, g, host); path.livenessPort != 0 {
			paths = append(paths, path)
		}
	}
	return paths
}

// borderPathTo is the path to another border host; zero if there is none.
func borderPathTo(v *view.View, w Wiring, g view.Gateway, host string) borderPath {
	peer, isPeer := v.Peers[host]
	edgePort := w.EdgePorts[host]
	switch {
	case g.Design == model.Central && isPeer:
		return borderPath{w.BFDPorts[host], w.TunnelPort, overTransit(w, g.VPC, peer)}
	case g.Design == model.Distributed && edgePort != 0:
		return borderPath{w.BFDPorts[host], edgePort,
			[]flow.Action{flow.SetField{Field: flow.EthDst, Value: flow.MAC(model.KernelMAC)},
				flow.Output{Port: edgePort}}}
	}
	return borderPath{}
}

func overTransit(w Wiring, vpc model.VNI, p view.Peer) []flow.Action {
	return append(setTransit(vpc, p), flow.Output{Port: w.TunnelPort})
}

func setTransit(vpc model.VNI, p view.Peer) []flow.Action {
	return []flow.Action{
		flow.SetField{Field: flow.TunID, Value: flow.U32(uint32(vpc))},
		flow.SetField{Field: flow.TunDst, Value: flow.Addr(p.VTEP)},
	}
}

func isBorder(v *view.View, w Wiring, g view.Gateway) bool {
	return w.UpstreamPort != 0 && slices.Contains(g.BorderHosts, v.Host)
}

// admitTransit takes packets under the transit VNI: on a border host those from hosts, on a host with endpoints of the
// VPC those from border hosts.
func admitTransit(v *view.View, w Wiring, g view.Gateway) []flow.Flow {
	_, hasEndpoints := w.translation(g.VPC)
	if !isBorder(v, w, g) {
		if !hasEndpoints {
			return nil
		}
		return fromBorderHosts(v, w, g, tableAdmit, prioNormal)
	}
	flows := []flow.Flow{transit(w, g, tableAdmit, prioNormal, set(slotLeaving, 1), flow.Goto{Table: tableOutbound})}
	if hasEndpoints {
		flows = append(flows, fromBorderHosts(v, w, g, tableOutbound, prioRest)...)
	}
	return flows
}

// fromBorderHosts takes packets from other border hosts to endpoints of this host.
func fromBorderHosts(v *view.View, w Wiring, g view.Gateway, table uint8, priority uint16) (flows []flow.Flow) {
	for _, host := range g.BorderHosts {
		if peer, ok := v.Peers[host]; ok {
			f := transit(w, g, table, priority, flow.Goto{Table: tablePublicNAT})
			f.Match = flow.On(f.Match, flow.Eq(flow.TunSrc, flow.Addr(peer.VTEP)))
			flows = append(flows, f)
		}
	}
	return flows
}

func transit(w Wiring, g view.Gateway, table uint8, priority uint16, actions ...flow.Action) flow.Flow {
	return flow.Flow{Table: table, Priority: priority, Match: flow.On(inPort(w.TunnelPort), tunID(g.VPC)),
		Actions: append([]flow.Action{set(slotVPC, uint32(g.VPC))}, actions...)}
}
