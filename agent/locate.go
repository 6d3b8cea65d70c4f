package agent

import (
	"net/netip"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

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
