package dataplane

import (
	"net/netip"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// Locate is the directory: (VNI, address) -> kind, VTEP, port, MAC.

func locateHere(a view.Address, port uint32) flow.Flow {
	return located(a.AddressKey, kindHere, netip.Addr{}, port, a.MAC)
}

func locateElsewhere(a view.Address, p view.Peer) flow.Flow {
	return located(a.AddressKey, kindElsewhere, p.VTEP, 0, a.MAC)
}

func locateGateway(s view.Segment) flow.Flow {
	return located(view.AddressKey{VNI: s.VNI, IP: s.Gateway}, kindGateway, netip.Addr{}, 0, model.GatewayMAC)
}

func locateStatic() []flow.Flow {
	return []flow.Flow{{Table: tableLocate, Priority: prioMiss, Actions: found(kindNothing, netip.Addr{}, 0, model.MAC{})}}
}

func located(key view.AddressKey, kind uint32, vtep netip.Addr, port uint32, mac model.MAC) flow.Flow {
	return flow.Flow{Table: tableLocate, Priority: prioNormal,
		Match:   flow.On(is(slotVNI, uint32(key.VNI)), flow.Eq(slotKey.Field, flow.Addr(key.IP))),
		Actions: found(kind, vtep, port, mac)}
}

func found(kind uint32, vtep netip.Addr, port uint32, mac model.MAC) []flow.Action {
	host := flow.U32(0)
	if vtep.IsValid() {
		host = flow.Addr(vtep)
	}
	return []flow.Action{
		set(foundKind, kind),
		flow.SetField{Field: foundVTEP.Field, Value: host},
		set(foundPort, port),
		flow.SetField{Field: foundMAC.Field, Value: flow.MAC(mac)},
	}
}
