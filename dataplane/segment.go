package dataplane

import (
	"cmp"
	"slices"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// segments compiles a subnet: the address of its gateway, its ports on this host, and its multicast.
var segments = rows[model.VNI, view.Segment]{
	kind:    "segment",
	table:   func(v *view.View) view.Table[model.VNI, view.Segment] { return v.Segments },
	order:   cmp.Compare[model.VNI],
	entries: compileSegment,
	touched: touchSegments,
}

func compileSegment(v *view.View, w Wiring, s view.Segment) Entries {
	e := Entries{Flows: []flow.Flow{locateGateway(s), sameSubnet(s)}}
	for _, port := range localPorts(v, w, s.VNI) {
		e.Flows = append(e.Flows, admitEndpoint(s, port))
	}
	if s.DHCP.DynamicPerPort() > 0 {
		e.Flows = append(e.Flows, spoofCheckUnknown(s))
	}
	if slices.Contains(s.Members, v.Host) {
		e.Flows = append(e.Flows, admitTunnel(w, s))
		if group, has := floodGroup(v, w, s); has {
			e.Groups = append(e.Groups, group)
			e.Flows = append(e.Flows, forwardFlood(s))
		}
	}
	if _, ok := w.translation(s.VPC); ok {
		e.Flows = append(e.Flows, locateUnknown(s))
	}
	return e.ownedBy("Subnet " + s.Subnet)
}

// portOf is the part of an address that decides its port on this host; zero if the address is on another host.
func portOf(v *view.View, a *view.Address) localPort {
	if a == nil || a.Host != v.Host {
		return localPort{}
	}
	return localPort{via: a.Via(), endpoint: a.Endpoint}
}

// touchSegments: the ports of the addresses on this host are ports of the segment, and get its multicast.
func touchSegments(c *change, add func(model.VNI)) {
	undo, v := &c.before.Undo, c.now.View
	addAll(add, keys(undo.Segments, undo.GoneSegments))
	for was, is := range changed(undo.Addresses, undo.GoneAddresses, v.Addresses) {
		if portOf(v, was) != portOf(v, is) {
			add(either(was, is).VNI)
		}
	}
	for key := range c.ports {
		add(key.VNI)
	}
	if len(c.peers)+len(c.translations) == 0 {
		return
	}
	for vni, s := range v.Segments {
		if c.translations[s.VPC] || anyOf(c.peers, s.Members) {
			add(vni)
		}
	}
}
