package dataplane

import (
	"net/netip"
	"slices"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// A border host, a gateway or an edge, connects the VPCs with the upstream network. The upstream router's routes lead
// to next hops. Each border host has one, with a fixed address and MAC, and the others take it over in a fixed order:
// the failover order.
//
// A border host has its own next hop active, that is, it answers and announces it, while a tunnel to any host is alive,
// or while the next hop leads to endpoints on the border host itself. It has another one's next hop active while all
// border hosts before it in the failover order are dead. OVS decides this in fast-failover groups, by BFD, so no agent
// takes part when a border host dies. The agent only repeats the announcements.

// borderStatic gives the static flows of a border host.
func borderStatic(v *view.View, w Wiring) []flow.Flow {
	if w.UpstreamPort == 0 {
		return nil
	}
	flows := []flow.Flow{
		{Table: tableAdmit, Priority: prioNormal, Match: flow.On(inPort(w.UpstreamPort)),
			Actions: []flow.Action{flow.Goto{Table: tableUpstream}}},
		drop(tableUpstream, prioSpecial, dropUnsupported, tagged), // otherwise an endpoint would receive the tag
		drop(tableUpstream, prioMiss, dropNoNextHop),
		drop(tableOutbound, prioMiss, dropSpoofedPeer),
		reject(tableInbound, prioSpecial, dropTTLExpired, ForAgentBorderTTLExpired, flow.IP,
			flow.Eq(flow.IPTTL, flow.U32(1))),
		drop(tableInbound, prioMiss, dropNoPublicIP),
	}
	flows = append(flows, icmpErrorsToAgent()...)
	if w.UnderlayPort != 0 {
		flows = append(flows, flow.Flow{Table: tableAdmit, Priority: prioNormal, Match: flow.On(inPort(w.UnderlayPort)),
			Actions: []flow.Action{set(slotLeaving, 1), flow.Goto{Table: tableOutbound}}})
	}
	if exit, ok := Exit(v, w); ok {
		flows = append(flows, exit)
	}
	return flows
}

// Exit sends packets from hosts to the upstream router. ok is false while the router's MAC is unknown.
func Exit(v *view.View, w Wiring) (f flow.Flow, ok bool) {
	own, ok := v.NextHops[v.Host]
	if !ok || w.UpstreamPort == 0 || w.Router == (model.MAC{}) {
		return f, false
	}
	return flow.Flow{Table: tableInbound, Priority: prioRest, Match: flow.On(flow.IP, is(slotLeaving, 1)),
		Actions: []flow.Action{
			flow.DecTTL{},
			flow.SetField{Field: flow.EthSrc, Value: flow.MAC(own.LeavingMAC())},
			flow.SetField{Field: flow.EthDst, Value: flow.MAC(w.Router)},
			flow.Output{Port: w.UpstreamPort},
		}}, true
}

// ExitKeys are the keys of [Exit] in this version of the pipeline and in earlier ones. A switch with one of them is
// from an agent that had this border host open. There are none while the router's MAC is unknown.
func ExitKeys(v *view.View, w Wiring) []flow.Key {
	exit, ok := Exit(v, w)
	if !ok {
		return nil
	}
	first := flow.Flow{Table: tableInbound, Priority: prioRest,
		Match: flow.On(flow.IP, flow.Eq(flow.Reg13, flow.U32(1)))} // 0.1.0
	return []flow.Key{exit.Key(), first.Key()}
}

// answerPublic answers ARP for a public address inside the upstream network, to which the router has no route. The
// answer is the next hop of one of the VPC's border hosts: of the host named only, if it is one of them, or else of one
// that the address selects.
func answerPublic(v *view.View, w Wiring, g view.Gateway, address netip.Addr, only string) []flow.Flow {
	if own, ok := v.NextHops[v.Host]; !ok || !own.Address.Contains(address) {
		return nil
	}
	var hops []view.NextHop
	for _, host := range g.BorderHosts {
		if n, ok := v.NextHops[host]; ok {
			hops = append(hops, n)
		}
	}
	if len(hops) == 0 {
		return nil
	}
	hop := hops[int(address.As4()[3])%len(hops)]
	if i := slices.IndexFunc(hops, func(n view.NextHop) bool { return n.Host == only }); i >= 0 {
		hop = hops[i]
	}
	return []flow.Flow{answerUpstream(w, hop, address)}
}

// AskRouter gives the actions by which the agent sends an ARP request to the upstream router.
func AskRouter(w Wiring) []flow.Action { return []flow.Action{flow.Output{Port: w.UpstreamPort}} }

// SendFromBorder gives the actions by which a border host's agent sends a packet to a public address or to the outside.
func SendFromBorder() []flow.Action {
	return []flow.Action{set(slotLeaving, 1), flow.Resubmit{Table: tableInbound}}
}
