package dataplane

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/view"
)

// nextHops compiles a next hop of the upstream router: this border host answers for it while it is active here.
var nextHops = rows[string, view.NextHop]{
	kind:    "next hop",
	table:   func(v *view.View) view.Table[string, view.NextHop] { return v.NextHops },
	order:   strings.Compare,
	entries: compileNextHop,
	touched: touchNextHops,
}

// compileNextHop compiles a next hop of this border host's upstream network.
func compileNextHop(v *view.View, w Wiring, n view.NextHop) Entries {
	if w.UpstreamPort == 0 {
		return Entries{}
	}
	fromUpstream := inPort(w.UpstreamPort)
	e := Entries{
		Groups: []flow.Group{
			{ID: announceGroupID(n), Type: flow.GroupFastFailover,
				Buckets: whileActive(v, w, n, flow.Output{Port: w.UpstreamPort})},
			{ID: replyGroupID(n), Type: flow.GroupFastFailover, Buckets: whileActive(v, w, n, nextHopReply(n)...)},
		},
		Flows: []flow.Flow{
			answerUpstream(w, n, n.Address.Addr()),
			{Table: tableUpstream, Priority: prioNormal, Actions: []flow.Action{flow.Goto{Table: tableInbound}},
				Match: flow.On(flow.IP, fromUpstream, flow.Eq(flow.EthDst, flow.MAC(n.MAC())))},
		},
	}
	if n.Host == v.Host {
		e.Flows = append(e.Flows, flow.Flow{Table: tableUpstream, Priority: prioNormal,
			Match: flow.On(flow.ARP, fromUpstream, flow.Eq(flow.ARPOp, arpReply),
				flow.Eq(flow.ARPSPA, flow.Addr(n.Router)), flow.Eq(flow.EthDst, flow.MAC(n.LeavingMAC()))),
			Actions: []flow.Action{flow.UseMeter{ID: meterRouterARP},
				flow.Controller{Userdata: []byte{ForAgentRouterARP}, MaxLen: 128}}})
	}
	return e.ownedBy("Host " + n.Host)
}

// touchNextHops: the state of a next hop depends on all next hops and on the tunnels with BFD. The state of the host's
// own one also depends on the VPCs with endpoints here.
func touchNextHops(c *change, add func(string)) {
	v := c.now.View
	addAll(add, c.hops)
	if len(c.hops)+len(c.bfd) > 0 || c.before.Wiring.Shut != c.now.Wiring.Shut {
		for host := range v.NextHops {
			add(host)
		}
	}
	if len(c.gateways)+len(c.translations) > 0 {
		add(v.Host)
	}
}

// answerUpstream answers ARP for an address behind a next hop, while the next hop is active here.
func answerUpstream(w Wiring, n view.NextHop, address netip.Addr) flow.Flow {
	return flow.Flow{Table: tableUpstream, Priority: prioNormal,
		Match: flow.On(flow.ARP, inPort(w.UpstreamPort), flow.Eq(flow.ARPOp, arpRequest),
			flow.Eq(flow.ARPTPA, flow.Addr(address))),
		Actions: append(loadKey(flow.ARPTPA), flow.ToGroup{ID: replyGroupID(n)})}
}

// announceGroupID is made of the part of the address that differs within an upstream network.
func announceGroupID(n view.NextHop) uint32 { return 0x4e000000 | hostPart(n)<<1 }

func replyGroupID(n view.NextHop) uint32 { return announceGroupID(n) | 1 }

func hostPart(n view.NextHop) uint32 {
	b := n.Address.Addr().As4()
	return (uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])) & (1<<23 - 1)
}

// whileActive gives the buckets that execute the actions while a next hop is active on this border host. The first
// bucket whose port is alive counts. The bucket of a predecessor in the failover order does nothing. The bucket of a
// witness proves that this border host is not cut off.
func whileActive(v *view.View, w Wiring, n view.NextHop, actions ...flow.Action) (buckets []flow.Bucket) {
	if w.Shut || !slices.Contains(n.FailoverOrder, v.Host) {
		return nil
	}
	predecessors, witnesses := failoverPeers(v, w, n)
	for _, host := range predecessors {
		buckets = append(buckets, flow.Bucket{WatchPort: w.BFDPorts[host]})
	}
	for _, host := range witnesses {
		buckets = append(buckets, flow.Bucket{WatchPort: w.BFDPorts[host], Actions: actions})
	}
	if len(witnesses) == 0 || w.hostsOwn(v, n) { // no other host can prove it
		buckets = append(buckets, flow.Bucket{WatchPort: w.UpstreamPort, Actions: actions})
	}
	return buckets
}

// failoverPeers are the peers with BFD that decide whether a next hop is active on this border host: its predecessors
// in the failover order, and the witnesses, which prove that this border host is not cut off. Witnesses are the hosts
// that are no border hosts. If there are any, other border hosts are witnesses for the own next hop as well. If there
// are none, the agents find out which border host is cut off.
func failoverPeers(v *view.View, w Wiring, n view.NextHop) (predecessors, witnesses []string) {
	var others []string
	for _, host := range w.bfdPeers() {
		if _, isBorder := v.NextHops[host]; isBorder {
			others = append(others, host)
		} else {
			witnesses = append(witnesses, host)
		}
	}
	if n.Host == v.Host {
		if len(witnesses) == 0 { // border hosts that are shut seem dead
			return nil, nil
		}
		return nil, append(witnesses, others...)
	}
	for _, host := range n.FailoverOrder[:max(0, slices.Index(n.FailoverOrder, v.Host))] {
		if _, ok := w.BFDPorts[host]; ok {
			predecessors = append(predecessors, host)
		}
	}
	return predecessors, witnesses
}

// NextHopActive reports whether the switch of this border host has a next hop active, given the hosts to which it finds
// the tunnels alive.
func NextHopActive(v *view.View, w Wiring, n view.NextHop, alive func(host string) bool) bool {
	predecessors, witnesses := failoverPeers(v, w, n)
	return w.UpstreamPort != 0 && !w.Shut && slices.Contains(n.FailoverOrder, v.Host) &&
		!slices.ContainsFunc(predecessors, alive) &&
		(len(witnesses) == 0 || w.hostsOwn(v, n) || slices.ContainsFunc(witnesses, alive))
}

// hostsOwn reports whether a next hop is this border host's own and leads to endpoints of this host. The agent shuts
// the border host if it finds it cut off.
func (w Wiring) hostsOwn(v *view.View, n view.NextHop) bool {
	for vpc := range w.Translations {
		if n.Host == v.Host && slices.Contains(v.Gateways[vpc].BorderHosts, v.Host) {
			return true
		}
	}
	return false
}

// nextHopReply makes an ARP reply: the address in slotKey is at the next hop's MAC.
func nextHopReply(n view.NextHop) []flow.Action {
	mac := flow.MAC(n.MAC())
	return []flow.Action{
		copyAll(flow.EthSrc, flow.EthDst),
		flow.SetField{Field: flow.EthSrc, Value: mac},
		flow.SetField{Field: flow.ARPOp, Value: arpReply},
		copyAll(flow.ARPSHA, flow.ARPTHA),
		copyAll(flow.ARPSPA, flow.ARPTPA),
		flow.SetField{Field: flow.ARPSHA, Value: mac},
		store(slotKey, flow.ARPSPA),
		flow.Output{Port: flow.PortInPort},
	}
}

// Announce gives the actions by which the agent announces a next hop, if it is active on this border host.
func Announce(n view.NextHop) []flow.Action {
	return []flow.Action{flow.ToGroup{ID: announceGroupID(n)}}
}
