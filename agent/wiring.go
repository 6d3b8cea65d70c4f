package agent

import (
	"maps"

	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/view"
)

// What a port is for is written beside it in OVSDB, so that an agent that starts finds its ports again.
const portEndpoint = "overlane-endpoint"

// rewire compares the ports that the switch has with those that flows were made for.
func (a *Agent) rewire() {
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
	for key := range maps.Keys(a.wiring.Ports) {
		if ports[key] != a.wiring.Ports[key] {
			a.touchPort(key)
		}
	}
	for key := range ports {
		if ports[key] != a.wiring.Ports[key] {
			a.touchPort(key)
		}
	}
	a.wiring.Ports = ports
}

// portNumber is that which the port has or, while ovs-vswitchd is making it, will have: flows may come first, and need not wait then.
func portNumber(p ovs.Port) uint32 {
	if p.OFPort == 0 && p.Err == "" {
		return p.OFPortRequest
	}
	return p.OFPort
}

func (a *Agent) touchPort(key view.AddressKey) {
	a.touched[dataplane.Subject{Address: key}] = true
	a.touched[dataplane.Subject{Segment: key.VNI}] = true
}
