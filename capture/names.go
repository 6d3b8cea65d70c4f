package capture

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/overlane/overlane/internal/printable"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// Names maps numbers on the wire to names of intent, as far as one host knows them. Its zero value has no name.
type Names struct {
	segments  map[model.VNI]view.Segment
	addresses map[view.AddressKey]view.Address
	macs      map[macKey]string // endpoints
	hosts     map[netip.Addr]string
}

// macKey finds an endpoint by its MAC: unique in a segment only, as addresses are.
type macKey struct {
	vni model.VNI
	mac model.MAC
}

// NewNames takes the names from a host's view.
func NewNames(v view.View) Names {
	n := Names{
		segments:  v.Segments,
		addresses: v.Addresses,
		macs:      make(map[macKey]string, len(v.Addresses)),
		hosts:     make(map[netip.Addr]string, len(v.Peers)+1),
	}
	for key, a := range v.Addresses {
		n.macs[macKey{key.VNI, a.MAC}] = a.Endpoint
	}
	for _, p := range v.Peers {
		n.hosts[p.VTEP] = p.Host
	}
	if v.VTEP.IsValid() {
		n.hosts[v.VTEP] = v.Host
	}
	return n
}

// Known reports whether there are any names.
func (n Names) Known() bool { return len(n.segments)+len(n.hosts) > 0 }

// Host is the name of the host with a tunnel address, "" if unknown.
func (n Names) Host(vtep netip.Addr) string { return n.hosts[vtep] }

// Subnet is VPC/SUBNET of a VNI, "" if unknown.
func (n Names) Subnet(vni model.VNI) string {
	if vni == model.ProbeVNI {
		return "Overlane's probes"
	}
	return n.segments[vni].Subnet
}

// Address is the endpoint with an address in a segment, "" if unknown.
func (n Names) Address(vni model.VNI, ip netip.Addr) string {
	if a, ok := n.addresses[view.AddressKey{VNI: vni, IP: ip}]; ok {
		return a.Endpoint
	}
	if s, ok := n.segments[vni]; ok && s.Gateway == ip {
		return s.Subnet + " gateway"
	}
	return ""
}

// MAC is the endpoint with a MAC in a segment, "" if unknown.
func (n Names) MAC(vni model.VNI, mac model.MAC) string {
	if name, ok := n.macs[macKey{vni, mac}]; ok {
		return name
	}
	if s, ok := n.segments[vni]; ok && mac == model.GatewayMAC {
		return s.Subnet + " gateway"
	}
	return ""
}

// Want names the object whose packets a user wants to see: the most specific name that is not empty counts.
type Want struct {
	VPC      string // blue
	Subnet   string // blue/web
	Endpoint string // blue/web/db1
}

// Filter turns names into numbers on the wire.
func (n Names) Filter(w Want) (Filter, error) {
	switch {
	case w.Endpoint != "":
		return n.endpointFilter(w.Endpoint)
	case w.Subnet != "":
		return n.segmentFilter("subnet "+w.Subnet, func(s view.Segment) bool { return s.Subnet == w.Subnet })
	case w.VPC != "":
		return n.segmentFilter("VPC "+w.VPC, func(s view.Segment) bool { return strings.HasPrefix(s.Subnet, w.VPC+"/") })
	}
	return Filter{}, nil
}

func (n Names) endpointFilter(name string) (Filter, error) {
	for key, a := range n.addresses {
		if a.Endpoint == name {
			return Filter{VNIs: []model.VNI{key.VNI}, Endpoint: &a}, nil
		}
	}
	return Filter{}, unknown("endpoint " + name)
}

func (n Names) segmentFilter(what string, in func(view.Segment) bool) (Filter, error) {
	var f Filter
	for vni, s := range n.segments {
		if in(s) {
			f.VNIs = append(f.VNIs, vni)
		}
	}
	if f.VNIs == nil {
		return f, unknown(what)
	}
	return f, nil
}

func unknown(what string) error {
	return fmt.Errorf("this host knows of no %s: a host knows the subnets that it has endpoints on", printable.Escape(what))
}
