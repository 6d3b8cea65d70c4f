package dataplane

import (
	"net/netip"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// Wiring is what the flows need to know of this host, beside the view: OpenFlow port numbers, and what the agent has
// allocated or measured. An address of this host that is not in Ports is not plugged in, and has no flows.
type Wiring struct {
	TunnelPort uint32 // shared by the tunnels to all peers
	UDPPort    uint16 // of the tunnels
	Ports      map[view.AddressKey]uint32

	VPCZones map[model.VNI]uint16 // conntrack zones of this host that VPCs have, by transit VNI

	SNATPort     uint32                   // to the host's kernel, which forwards translated packets; 0: it does not
	Translations map[model.VNI]netip.Addr // addresses of translated VPCs towards the host's kernel, by transit VNI
	Guarded      []netip.Addr             // hosts and servers, which endpoints reach only if the gateway allows it

	BFDPorts     map[string]uint32 // tunnel ports with BFD (RFC 5880), by peer host
	UpstreamPort uint32            // the interface on the upstream network; 0: this host is no border host
	Router       model.MAC         // of the upstream router; zero: not known yet
	Shut         bool              // this border host has no next hop active, but forwards what it gets
	UnderlayPort uint32            // on an edge: to the host's kernel, which forwards to other hosts
	EdgePorts    map[string]uint32 // by edge: to the host's kernel, which forwards to that edge
}

// translation is what this host translates a VPC's packets with.
type translation struct {
	zone    uint16     // of conntrack
	address netip.Addr // towards the host's kernel; no other VPC of this host has it
}

// translation is that of a VPC; ok is false if this host does not translate for it.
func (w Wiring) translation(vpc model.VNI) (t translation, ok bool) {
	address, translates := w.Translations[vpc]
	zone, has := w.VPCZones[vpc]
	return translation{zone, address}, translates && has
}
