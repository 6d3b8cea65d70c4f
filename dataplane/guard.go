package dataplane

import (
	"net/netip"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/view"
)

// Guard keeps endpoints from hosts and servers, by whichever way they would leave: the host's own kernel has a table of
// its own against that, but what leaves by gateways and edges would come to a host as anybody's on the internet, where
// its own firewall may not look for it.

// nobodys are what no router leads to: link-local (RFC 3927), where a cloud's metadata service lives, which trusts
// whoever asks for a host; multicast, and what is beyond.
var specialAddresses = []netip.Prefix{netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("224.0.0.0/3")}

func guard(w Wiring) []flow.Flow {
	flows := []flow.Flow{{Table: tableGuard, Priority: prioMiss, Actions: []flow.Action{flow.Goto{Table: tableSNAT}}}}
	for _, p := range specialAddresses {
		flows = append(flows, drop(tableGuard, prioNormal, dropGuardedAddress, flow.IP, flow.Prefix(flow.IPDst, p)))
	}
	for _, a := range w.Guarded {
		flows = append(flows, drop(tableGuard, prioNormal, dropGuardedAddress, flow.IP, flow.Eq(flow.IPDst, flow.Addr(a))))
	}
	return flows
}

// allow lets a VPC's endpoints leave for what would be guarded.
func allowGuarded(g view.Gateway, to netip.Prefix) flow.Flow {
	return flow.Flow{Table: tableGuard, Priority: prioSpecial, Match: flow.On(flow.IP, is(slotVPC, uint32(g.VPC)), flow.Prefix(flow.IPDst, to)),
		Actions: []flow.Action{flow.Goto{Table: tableSNAT}}}
}
