package agent

import (
	"github.com/overlane/overlane/attach"
	"github.com/overlane/overlane/internal/ifname"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/view"
)

// portEndpoint is the external ID of a port that says which endpoint it is for, so that an agent that starts finds its
// ports again. The name of the port follows from the endpoint's address; 0.1.0 made it of the endpoint's name.
const portEndpoint = "overlane-endpoint"

// endpointPorts are the ports of the bridge that are endpoints', by endpoint.
type endpointPorts map[string]ovs.Port

func newEndpointPorts(ports []ovs.Port) endpointPorts {
	e := endpointPorts{}
	for _, p := range ports {
		if name := p.ExternalIDs[portEndpoint]; name != "" {
			e[name] = p
		}
	}
	return e
}

// name is what the port of an address is called, or will be.
func (e endpointPorts) name(a view.Address) string {
	if p, ok := e[a.Endpoint]; ok {
		return p.Name
	}
	return newPortName(a)
}

func newPortName(a view.Address) string { return ifname.Endpoint(model.Parent(a.Endpoint), a.IP) }

// number is the OpenFlow port of an endpoint; 0 if it has none. While ovs-vswitchd is making a port, its number is the
// one that it will have: flows may come first, and need not wait then.
func (e endpointPorts) number(endpoint string) uint32 {
	p := e[endpoint]
	if p.OFPort == 0 && p.Err == "" {
		return p.OFPortRequest
	}
	return p.OFPort
}

// portNumbers are the OpenFlow ports of this host's addresses, which own gives by endpoint. An endpoint that
// is behind another one shares its port.
func portNumbers(own map[string]view.Address, ports endpointPorts) map[view.AddressKey]uint32 {
	all := make(map[view.AddressKey]uint32, len(own))
	for name, address := range own {
		if port := ports.number(name); port != 0 {
			all[address.AddressKey] = port
		}
	}
	for _, address := range own {
		if f, ok := front(own, address); ok && all[f.AddressKey] != 0 {
			all[address.AddressKey] = all[f.AddressKey]
		}
	}
	return all
}

// leftInterface is the host's end of an address that has no port: the interface may be there all the same. Empty: there
// is none, or it is that of an endpoint that had the address before or has it since, or it does not say whose it is. The
// name that 0.1.0 gave says whose it is, while the name of today is the address's.
func leftInterface(a view.Address) (name string, err error) {
	name = newPortName(a)
	if owner, err := attach.Owner(name); err != nil || owner == a.Endpoint {
		return name, err
	}
	if name = ifname.EndpointOf010(a.Endpoint); attach.Exists(name) {
		return name, nil
	}
	return "", nil
}

// another tells whether a port is that of another endpoint: the next one with an address has a port by the same name.
func (e endpointPorts) another(endpoint, port string) bool {
	for owner, p := range e {
		if p.Name == port && owner != endpoint {
			return true
		}
	}
	return false
}

func endpointPort(a view.Address, name string) ovs.Port {
	return ovs.Port{
		Name: name,
		ExternalIDs: map[string]string{
			portEndpoint:   a.Endpoint,
			"attached-mac": a.MAC.String(),
		},
	}
}
