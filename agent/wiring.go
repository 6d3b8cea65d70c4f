package agent

import (
	"net/netip"

	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/view"
)

// What a port is for is written beside it in OVSDB, so that an agent that starts finds its ports again.
const portEndpoint = "overlane-endpoint"

// touch notes what a change of the view, which undo undoes, and of the wiring asks the switch for.
func (a *Agent) touch(undo view.Delta, next dataplane.Wiring) {
	subjects, all := dataplane.Touched(dataplane.Before{Undo: undo, Wiring: a.wiring}, dataplane.Input{View: &a.view, Wiring: next})
	a.wiring = next
	if all {
		a.wantResync("new wiring")
	}
	for _, s := range subjects {
		a.touched[s] = true
	}
}

// rewire changes the wiring, and nothing else does. The maps of a wiring are not written any more once it is handed over.
func (a *Agent) rewire(next dataplane.Wiring) { a.touch(view.Delta{}, next) }

// wirePorts takes the ports of endpoints that the switch has into the wiring.
func (a *Agent) wirePorts() {
	if a.db == nil {
		return
	}
	own := a.own()
	ports := map[view.AddressKey]uint32{}
	for _, p := range a.db.Ports() {
		if address, ok := own[p.ExternalIDs[portEndpoint]]; ok && portNumber(p) != 0 {
			ports[address.AddressKey] = portNumber(p)
		}
	}
	for _, address := range own {
		if f, ok := front(own, address); ok && ports[f.AddressKey] != 0 {
			ports[address.AddressKey] = ports[f.AddressKey]
		}
	}
	next := a.wiring
	next.Ports = ports
	a.rewire(next)
}

// wireZones takes the zones of VPCs into the wiring.
func (a *Agent) wireZones() {
	next := a.wiring
	next.Translations = a.zones.translations()
	a.rewire(next)
}

// portNumber is that which the port has or, while ovs-vswitchd is making it, will have: flows may come first, and need not wait then.
func portNumber(p ovs.Port) uint32 {
	if p.OFPort == 0 && p.Err == "" {
		return p.OFPortRequest
	}
	return p.OFPort
}

// endpointAt finds an endpoint that a port of the switch leads to.
func endpointAt(v *view.View, ports map[view.AddressKey]uint32, port uint32, match func(view.Address) bool) (view.Address, bool) {
	for key, at := range ports {
		if at != port {
			continue
		}
		if address, ok := v.Addresses[key]; ok && match(address) {
			return address, true
		}
	}
	return view.Address{}, false
}

// withIP matches an endpoint by its address.
func withIP(ip netip.Addr) func(view.Address) bool {
	return func(address view.Address) bool { return address.IP == ip }
}

// withMAC matches an endpoint by its MAC.
func withMAC(mac model.MAC) func(view.Address) bool {
	return func(address view.Address) bool { return address.MAC == mac }
}

// inFront matches an endpoint that has a port of its own.
func inFront(address view.Address) bool { return address.Via() == "" && address.Attachment != nil }
