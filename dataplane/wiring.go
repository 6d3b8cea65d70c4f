package dataplane

import (
	"net/netip"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// Wiring is where things are plugged in on this host, as OpenFlow port numbers. An address of this host that is not in
// Ports is not plugged in (yet), and has no flows.
type Wiring struct {
	TunnelPort uint32
	UDPPort    uint16 // that tunnels end at
	Ports      map[view.AddressKey]uint32

	SNATPort     uint32                    // the host's kernel, by which translated packets leave and come back; 0: they do not
	Translations map[model.VNI]Translation // of the VPCs that this host translates for, by transit VNI
	Guarded      []netip.Addr              // hosts and servers, which endpoints reach only if the gateway allows it

	BFDPorts     map[string]uint32 // tunnel ports with BFD (RFC 5880), by the peer host at their end
	UpstreamPort uint32            // the interface on the upstream network; 0: this host is no passage
	Router       model.MAC         // of the upstream router; zero: not known yet
	Shut         bool              // this passage is to hold no next hop, though what comes to it still passes
	UnderlayPort uint32            // on an edge: the host's kernel, which forwards to hosts' addresses on the underlay; 0: none
	EdgePorts    map[string]uint32 // by edge: the host's kernel, which forwards to that edge
}

// Translation is what this host has given a VPC to translate with.
type Translation struct {
	Zone    uint16     // of conntrack
	Address netip.Addr // towards the host's kernel, which no other VPC of this host has
}
