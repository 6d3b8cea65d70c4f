package dataplane

import (
	"cmp"
	"slices"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// gateways compiles a VPC's way outside: what leaves it, and on which passage.
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
	if t, ok := w.Translations[g.VPC]; ok {
		e.Flows = append(e.Flows, locateOutside(g))
		for _, to := range g.Allow {
			e.Flows = append(e.Flows, allow(g, to))
		}
		if g.SNAT && w.Outside != 0 {
			e.Flows = append(e.Flows, publicNATAnswer(g, t), snatToKernel(w, g, t), snatOutToKernel(g, t), snatOutHairpin(g, t))
		}
		e.Groups = append(e.Groups, passageGroups(v, w, g)...)
	}
	return e.ownedBy("InternetGateway " + g.Name)
}

func touchGateways(c *change, add func(model.VNI)) {
	addAll(add, c.gateways)
	addAll(add, c.translations)
	shut := c.before.Wiring.Shut != c.now.Wiring.Shut
	for vpc, g := range c.now.View.Gateways {
		if shut || anyOf(c.peers, g.Passages) || anyOf(c.watched, g.Passages) || anyOf(c.edges, g.Passages) {
			add(vpc)
		}
	}
}

// toPassages is the way of what has been translated to a public address.
func toPassages(vpc model.VNI, before ...flow.Action) []flow.Action {
	return append(before, flow.DecTTL{}, flow.SetField{Field: flow.EthSrc, Value: gatewayMAC}, flow.ToGroup{ID: passageGroupID(vpc)})
}

// passageGroupID is of the range of floods, for a transit VNI is no segment's.
func passageGroupID(vpc model.VNI) uint32 { return floodGroupID(vpc) }

func spreadGroupID(vpc model.VNI) uint32 { return 0x4d000000 | uint32(vpc) }

// wayOut leads to a passage.
type wayOut struct {
	watch   uint32 // the port that tells whether the passage is alive
	out     uint32 // the one that the way leaves by
	actions []flow.Action
}

// passageGroups have what leaves a VPC leave this host itself, if it is one of the passages and open. Else they spread
// it over the passages that are alive, which OVS sees by the watched tunnels. With none alive, as a switch that is too
// busy for BFD finds them, all of it takes one way, which differs by VPC.
func passageGroups(v *view.View, w Wiring, g view.Gateway) []flow.Group {
	spread := flow.Group{ID: spreadGroupID(g.VPC), Type: flow.GroupSelect}
	leave := flow.Group{ID: passageGroupID(g.VPC), Type: flow.GroupFastFailover}
	var own []flow.Bucket
	if isPassage(v, w, g) {
		own = []flow.Bucket{{WatchPort: w.External, Actions: ownWay(g)}}
	}
	if !w.Shut {
		leave.Buckets = append(leave.Buckets, own...)
	}
	ways := waysOut(v, w, g)
	for _, way := range ways {
		spread.Buckets = append(spread.Buckets, flow.Bucket{Weight: 100, WatchPort: way.watch, Actions: way.actions})
		leave.Buckets = append(leave.Buckets, flow.Bucket{WatchPort: way.watch, Actions: []flow.Action{flow.ToGroup{ID: spread.ID}}})
	}
	if w.Shut { // a drained one still passes what comes
		leave.Buckets = append(leave.Buckets, own...)
	}
	for i := range ways {
		way := ways[(int(g.VPC)+i)%len(ways)]
		leave.Buckets = append(leave.Buckets, flow.Bucket{WatchPort: way.out, Actions: way.actions})
	}
	return []flow.Group{spread, leave}
}

// ownWay leads out by this host. A NAT-IP is taken off as what comes from other hosts has it taken off.
func ownWay(g view.Gateway) []flow.Action {
	if g.Design == model.Distributed {
		return []flow.Action{set(slotLeaving, 1), flow.Resubmit{Table: tableOutbound}}
	}
	return append([]flow.Action{unreceived}, Pass()...) // it may be for an endpoint behind the port that it came in by
}

// waysOut lead to the other passages.
func waysOut(v *view.View, w Wiring, g view.Gateway) (ways []wayOut) {
	for _, host := range g.Passages {
		if way := wayTo(v, w, g, host); way.watch != 0 {
			ways = append(ways, way)
		}
	}
	return ways
}

// wayTo watches no port if there is no way.
func wayTo(v *view.View, w Wiring, g view.Gateway, host string) wayOut {
	peer, isPeer := v.Peers[host]
	toEdge := w.Edges[host]
	switch {
	case g.Design == model.Central && isPeer:
		return wayOut{w.Watched[host], w.Tunnel, toTransit(w, g.VPC, peer)}
	case g.Design == model.Distributed && toEdge != 0:
		return wayOut{w.Watched[host], toEdge, []flow.Action{flow.SetField{Field: flow.EthDst, Value: flow.MAC(model.KernelMAC)}, flow.Output{Port: toEdge}}}
	}
	return wayOut{}
}

func toTransit(w Wiring, vpc model.VNI, p view.Peer) []flow.Action {
	return append(underTransit(vpc, p), flow.Output{Port: w.Tunnel})
}

func underTransit(vpc model.VNI, p view.Peer) []flow.Action {
	return []flow.Action{
		flow.SetField{Field: flow.TunID, Value: flow.U32(uint32(vpc))},
		flow.SetField{Field: flow.TunDst, Value: flow.Addr(p.VTEP)},
	}
}

func isPassage(v *view.View, w Wiring, g view.Gateway) bool {
	return w.External != 0 && slices.Contains(g.Passages, v.Host)
}

// admitTransit takes packets under the transit VNI: on a passage those of hosts, on a host with endpoints of the VPC
// those of passages.
func admitTransit(v *view.View, w Wiring, g view.Gateway) []flow.Flow {
	_, hasEndpoints := w.Translations[g.VPC]
	if !isPassage(v, w, g) {
		if !hasEndpoints {
			return nil
		}
		return fromPassages(v, w, g, tableAdmit, prioNormal)
	}
	flows := []flow.Flow{transit(w, g, tableAdmit, prioNormal, set(slotLeaving, 1), flow.Goto{Table: tableOutbound})}
	if hasEndpoints {
		flows = append(flows, fromPassages(v, w, g, tableOutbound, prioRest)...)
	}
	return flows
}

// fromPassages takes what other passages send to endpoints here.
func fromPassages(v *view.View, w Wiring, g view.Gateway, table uint8, priority uint16) (flows []flow.Flow) {
	for _, host := range g.Passages {
		if peer, ok := v.Peers[host]; ok {
			f := transit(w, g, table, priority, flow.Goto{Table: tablePublicNAT})
			f.Match = flow.On(f.Match, flow.Eq(flow.TunSrc, flow.Addr(peer.VTEP)))
			flows = append(flows, f)
		}
	}
	return flows
}

func transit(w Wiring, g view.Gateway, table uint8, priority uint16, actions ...flow.Action) flow.Flow {
	return flow.Flow{Table: table, Priority: priority, Match: flow.On(inPort(w.Tunnel), tunID(g.VPC)),
		Actions: append([]flow.Action{set(slotVPC, uint32(g.VPC))}, actions...)}
}
