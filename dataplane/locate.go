package dataplane

import (
	"net/netip"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// The table locate is the directory: (VPC, address) -> kind, segment, VTEP, port, MAC. The CIDRs of a VPC do not
// overlap, so an address has one segment.

func locateHere(s view.Segment, a view.Address, port uint32) flow.Flow {
	return located(s, a.IP, kindHere, netip.Addr{}, port, a.MAC)
}

func locateElsewhere(s view.Segment, a view.Address, p view.Peer) flow.Flow {
	return located(s, a.IP, kindElsewhere, p.VTEP, 0, a.MAC)
}

func locateGateway(s view.Segment) flow.Flow {
	return located(s, s.Gateway, kindGateway, netip.Addr{}, 0, model.GatewayMAC)
}

// locateOutside takes the addresses in no subnet, and locateUnknown the addresses in a subnet that no endpoint has.
func locateOutside(g view.Gateway) flow.Flow {
	return flow.Flow{Table: tableLocate, Priority: prioDefault, Match: flow.On(is(slotVPC, uint32(g.VPC))),
		Actions: found(0, kindOutside, netip.Addr{}, 0, model.MAC{})}
}

func locateUnknown(s view.Segment) flow.Flow {
	return flow.Flow{Table: tableLocate, Priority: prioRest, Match: flow.On(is(slotVPC, uint32(s.VPC)), keyIn(s.CIDR)),
		Actions: found(0, kindNothing, netip.Addr{}, 0, model.MAC{})}
}

func locateStatic() []flow.Flow {
	return []flow.Flow{{Table: tableLocate, Priority: prioMiss,
		Actions: found(0, kindNothing, netip.Addr{}, 0, model.MAC{})}}
}

func located(s view.Segment, ip netip.Addr, kind uint32, vtep netip.Addr, port uint32, mac model.MAC) flow.Flow {
	return flow.Flow{Table: tableLocate, Priority: prioNormal,
		Match:   flow.On(is(slotVPC, uint32(s.VPC)), keyIs(ip)),
		Actions: found(s.VNI, kind, vtep, port, mac)}
}

func found(vni model.VNI, kind uint32, vtep netip.Addr, port uint32, mac model.MAC) []flow.Action {
	host := flow.U32(0)
	if vtep.IsValid() {
		host = flow.Addr(vtep)
	}
	return put(
		slotValue{foundVNI, flow.U32(uint32(vni))}, slotValue{foundKind, flow.U32(kind)},
		slotValue{foundVTEP, host}, slotValue{foundPort, flow.U32(port)}, slotValue{foundMAC, flow.MAC(mac)},
	)
}
