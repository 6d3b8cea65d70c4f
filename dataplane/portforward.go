package dataplane

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/view"
)

// In the central design, a port of a public address can be forwarded to a port of an endpoint, unless an endpoint has
// the whole address. The endpoint's host translates. A border host finds that host by address and port.

// compileForwards gives the flows of the forwarded ports of a public address.
func compileForwards(v *view.View, w Wiring, address netip.Addr) (flows []flow.Flow) {
	seen := map[flow.Key]bool{} // forwards of one address may have flows in common
	for _, f := range forwardsOf(v, address) {
		p, ok := protocolNamed(f.Protocol)
		if !ok {
			continue // from a newer server
		}
		own := translateForward(v, w, f, p)
		if isBorder(v, w, v.Gateways[f.VPC]) {
			own = append(own, borderForward(v, w, f, p)...)
			own = append(own, answerPublic(v, w, v.Gateways[f.VPC], f.Address, "")...)
		}
		for _, one := range own {
			if !seen[one.Key()] {
				seen[one.Key()], one.Owner = true, "Forward "+f.Name
				flows = append(flows, one)
			}
		}
	}
	return flows
}

// forwardsOf lists the forwards of an address, in order.
func forwardsOf(v *view.View, address netip.Addr) (list []view.Forward) {
	for key, f := range v.Forwards {
		if key.Address == address {
			list = append(list, f)
		}
	}
	slices.SortFunc(list, func(a, b view.Forward) int {
		return cmp.Or(strings.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port))
	})
	return list
}

// translateForward gives the flows on the endpoint's host. Conntrack recognises the endpoint's answers, including ICMP
// errors. If the VPC has SNAT, or the endpoint a public address, the flow for that takes the answers first, with the
// same result.
func translateForward(v *view.View, w Wiring, f view.Forward, p protocol) []flow.Flow {
	t, ok := w.translation(f.VPC)
	if !ok || f.Host != v.Host {
		return nil
	}
	vpc, public, endpoint := is(slotVPC, uint32(f.VPC)), flow.Addr(f.Address), flow.Addr(f.Endpoint.IP)
	flows := []flow.Flow{
		{Table: tablePublicNAT, Priority: prioNormal,
			Match: flow.On(flow.IP, p.match, vpc, flow.Eq(flow.IPDst, public),
				flow.Eq(p.dst, flow.U32(uint32(f.Port)))),
			Actions: []flow.Action{set(slotArrived, arrivedOpen), setKey(f.Address), flow.CT{Commit: true, Zone: t.zone,
				Table: tablePublicState,
				NAT: &flow.NAT{Kind: flow.NATDst, Addr: f.Endpoint.IP, FirstPort: f.TargetPort,
					LastPort: f.TargetPort}}}},
		{Table: tableSNATOut, Priority: prioNormal,
			Match: flow.On(flow.IP, p.match, vpc, keyIs(f.Endpoint.IP), flow.Eq(flow.IPSrc, public),
				flow.Eq(p.src, flow.U32(uint32(f.Port))), valid),
			Actions: toBorder(f.VPC)},
		{Table: tableSNATOut, Priority: prioNormal,
			Match:   flow.On(flow.IP, flow.ICMP, vpc, keyIs(f.Endpoint.IP), flow.Eq(flow.IPSrc, public), valid),
			Actions: toBorder(f.VPC)},
		publicStateOpen(f.VPC, f.Address, f.Endpoint.IP),
		publicNATError(f, t),
	}
	for _, answer := range answerMatches(f, p) {
		flows = append(flows, flow.Flow{Table: tableSNAT, Priority: prioRest,
			Match:   flow.On(append(answer, flow.IP, vpc, flow.Eq(flow.IPSrc, endpoint))...),
			Actions: []flow.Action{flow.CT{Zone: t.zone, Table: tableSNATOut, NAT: &flow.NAT{}}}})
	}
	return flows
}

// publicNATError takes ICMP errors about connections of this host, which border hosts have sorted out. For an error in
// the direction in which the connection was opened, the kernel translates only if the action commits. It then uses the
// translation of the connection, whatever the action says.
func publicNATError(f view.Forward, t translation) flow.Flow {
	return flow.Flow{Table: tablePublicNAT, Priority: prioNormal,
		Match: flow.On(flow.IP, flow.ICMP, is(slotVPC, uint32(f.VPC)), flow.Eq(flow.IPDst, flow.Addr(f.Address))),
		Actions: []flow.Action{set(slotArrived, arrivedAnswer), flow.CT{Commit: true, Zone: t.zone,
			Table: tablePublicState, NAT: &flow.NAT{Kind: flow.NATDst, Addr: f.Endpoint.IP}}}}
}

// answerMatches match the packets by which an endpoint may answer to a forwarded connection.
func answerMatches(f view.Forward, p protocol) [][]flow.Part {
	answers := [][]flow.Part{{p.match, flow.Eq(p.src, flow.U32(uint32(f.TargetPort)))}}
	for _, icmpType := range icmpErrors {
		answers = append(answers, []flow.Part{flow.ICMP, flow.Eq(flow.ICMPType, flow.U32(icmpType))})
	}
	return answers
}

// borderForward also accepts ICMP errors from the endpoint's host.
func borderForward(v *view.View, w Wiring, f view.Forward, p protocol) []flow.Flow {
	actions, ok := toHost(v, w, f.VPC, f.Host)
	if !ok {
		return nil
	}
	flows := []flow.Flow{{Table: tableInbound, Priority: prioNormal, Actions: actions,
		Match: flow.On(flow.IP, p.match, flow.Eq(flow.IPDst, flow.Addr(f.Address)),
			flow.Eq(p.dst, flow.U32(uint32(f.Port))))}}
	if f.Host == v.Host {
		return flows
	}
	from := fromHost(v, f.VPC, f.Host, f.Address)
	return append(flows, outbound(append(from[:3:3], p.match, flow.Eq(p.src, flow.U32(uint32(f.Port))))),
		outbound(append(from, flow.ICMP)))
}
