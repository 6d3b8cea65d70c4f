package dataplane

import (
	"net/netip"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/view"
)

// The table guard keeps endpoints from hosts and servers, whatever path their packets leave by. The host's kernel has
// rules of its own for this, but they do not see packets that leave by a border host. Such a packet would reach a host
// like any packet from the internet, which the host's own firewall may allow.

// specialAddresses are addresses that no router forwards to: link-local ones (RFC 3927), with the metadata service of a
// cloud, which takes every client for a host; multicast ones, and the reserved ones above.
var specialAddresses = []netip.Prefix{netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("224.0.0.0/3")}

func guard(w Wiring) []flow.Flow {
	flows := []flow.Flow{{Table: tableGuard, Priority: prioMiss, Actions: []flow.Action{flow.Goto{Table: tableSNAT}}}}
	for _, p := range specialAddresses {
		flows = append(flows, drop(tableGuard, prioNormal, dropGuardedAddress, flow.IP, flow.Prefix(flow.IPDst, p)))
	}
	for _, a := range w.Guarded {
		flows = append(flows, drop(tableGuard, prioNormal, dropGuardedAddress, flow.IP,
			flow.Eq(flow.IPDst, flow.Addr(a))))
	}
	return flows
}

// allowGuarded lets the endpoints of a VPC reach guarded addresses.
func allowGuarded(g view.Gateway, to netip.Prefix) flow.Flow {
	return flow.Flow{Table: tableGuard, Priority: prioSpecial,
		Match:   flow.On(flow.IP, is(slotVPC, uint32(g.VPC)), flow.Prefix(flow.IPDst, to)),
		Actions: []flow.Action{flow.Goto{Table: tableSNAT}}}
}
