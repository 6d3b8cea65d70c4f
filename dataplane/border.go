package dataplane

import (
	"net/netip"
	"slices"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// A passage is where public traffic meets the upstream network: an edge or a gateway. Upstream's routes lead to next
// hops, one for each passage, of a fixed address and MAC. A passage answers and announces its own while a tunnel to any
// host is alive, or it leads to endpoints here, and another one's while that is dead and those before it in the order
// are, too. OVS decides it by fast-failover groups over watched tunnels, so that no agent is asked when a passage dies.
// The agent only goes on announcing.

// passageStatic is what every passage has.
func borderStatic(v *view.View, w Wiring) []flow.Flow {
	if w.UpstreamPort == 0 {
		return nil
	}
	flows := []flow.Flow{
		{Table: tableAdmit, Priority: prioNormal, Match: flow.On(inPort(w.UpstreamPort)), Actions: []flow.Action{flow.Goto{Table: tableUpstream}}},
		drop(tableUpstream, prioSpecial, dropUnsupported, tagged), // or an endpoint would get it with its tag
		drop(tableUpstream, prioMiss, dropNoNextHop),
		drop(tableOutbound, prioMiss, dropSpoofedPeer),
		reject(tableInbound, prioSpecial, dropTTLExpired, ForAgentBorderTTLExpired, flow.IP, flow.Eq(flow.IPTTL, flow.U32(1))),
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

// Exit takes what hosts send out to the upstream router; ok is false while that is not known.
func Exit(v *view.View, w Wiring) (f flow.Flow, ok bool) {
	own, ok := v.NextHops[v.Host]
	if !ok || w.UpstreamPort == 0 || w.Router == (model.MAC{}) {
		return f, false
	}
	return flow.Flow{Table: tableInbound, Priority: prioRest, Match: flow.On(flow.IP, is(slotLeaving, 1)), Actions: []flow.Action{
		flow.DecTTL{},
		flow.SetField{Field: flow.EthSrc, Value: flow.MAC(own.LeavingMAC())},
		flow.SetField{Field: flow.EthDst, Value: flow.MAC(w.Router)},
		flow.Output{Port: w.UpstreamPort},
	}}, true
}

// ExitKeys are the keys that [Exit] has in this version's pipeline and had in earlier ones. A switch with one of them is
// the work of an agent that had this border host open. It has none if the router is not known.
func ExitKeys(v *view.View, w Wiring) []flow.Key {
	exit, ok := Exit(v, w)
	if !ok {
		return nil
	}
	first := flow.Flow{Table: tableInbound, Priority: prioRest, Match: flow.On(flow.IP, flow.Eq(flow.Reg13, flow.U32(1)))} // 0.1.0
	return []flow.Key{exit.Key(), first.Key()}
}

// ownUpstream answers for a public address that is of the upstream network itself, so that no route leads to it. Each
// of them belongs to the next hop of one of the VPC's passages: of the only host that the address may lead to, if that
// is one.
func ownUpstream(v *view.View, w Wiring, g view.Gateway, address netip.Addr, only string) []flow.Flow {
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

// AskRouter is what the agent asks of the switch to send a question to the upstream router.
func AskRouter(w Wiring) []flow.Action { return []flow.Action{flow.Output{Port: w.UpstreamPort}} }

// Pass is what the agent asks of the switch to have a packet of its own pass here, to wherever that leads.
func SendFromBorder() []flow.Action {
	return []flow.Action{set(slotLeaving, 1), flow.Resubmit{Table: tableInbound}}
}
