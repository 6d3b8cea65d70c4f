package model

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// HostOutside connects a border host to the upstream network.
type HostOutside struct {
	Interface string       `json:"interface" doc:"NIC on the upstream network. Overlane has it for itself: it becomes a port of the integration bridge." example:"eth1"`
	Address   netip.Prefix `json:"address" doc:"Next hop by which the upstream router reaches the host, with the network's prefix length. Unique. Another host of the same network takes it over if this one dies." type:"IPv4 address with prefix length" allowed:"/8 to /30" example:"203.0.113.11/24"`
	Router    netip.Addr   `json:"router" doc:"Address of the upstream router in that network. The same for all hosts of the network." example:"203.0.113.1"`
	Drain     bool         `json:"drain,omitempty" doc:"Move public traffic to other hosts, for maintenance. Next hop and connections move without loss." default:"false" example:"false"`
}

// NextHopMAC is the fixed MAC of a border host's next hop. ARP tables of the upstream network keep it when another
// border host takes the next hop over.
func NextHopMAC(address netip.Addr) MAC {
	a := address.As4()
	return MAC{0x02, 0x4e, a[0], a[1], a[2], a[3]}
}

// LeavingMAC is the source MAC of packets that leave by the border host of a next hop. It differs from the next hop's
// MAC, which upstream switches must learn at the border host that holds the next hop now.
func LeavingMAC(address netip.Addr) MAC {
	a := address.As4()
	return MAC{0x02, 0x4d, a[0], a[1], a[2], a[3]}
}

func (h *HostOutside) checkFields(f *findings) {
	if h.Interface == "" {
		f.add("spec.outside.interface", nil, "is missing", "name the NIC on the upstream network")
	}
	f.device("spec.outside.interface", h.Interface)
	if h.checkAddress(f) {
		h.checkRouter(f)
	}
}

func (h *HostOutside) checkAddress(f *findings) bool {
	const field, remedy = "spec.outside.address", "give an IPv4 address of the upstream network with its prefix length, like 203.0.113.11/24"
	at := h.Address.Addr()
	switch {
	case !h.Address.IsValid():
		f.add(field, nil, "is missing", remedy)
	case !at.Is4():
		f.add(field, h.Address, "is IPv6, which the outside does not have yet", remedy)
	case h.Address.Bits() < 8 || h.Address.Bits() > 30:
		f.add(field, h.Address, fmt.Sprintf("has a prefix of /%d, not from /8 to /30", h.Address.Bits()), remedy)
	case !unicast(at):
		f.add(field, h.Address, "is not an address that a router can reach", remedy)
	case at == h.Address.Masked().Addr():
		f.add(field, h.Address, "is the network address of "+h.Address.Masked().String(), remedy)
	case at == Broadcast(h.Address.Masked()):
		f.add(field, h.Address, "is the broadcast address of "+h.Address.Masked().String(), remedy)
	default:
		return true
	}
	return false
}

func (h *HostOutside) checkRouter(f *findings) {
	const field = "spec.outside.router"
	network := h.Address.Masked()
	remedy := "give the address of the upstream router in " + network.String()
	switch {
	case !h.Router.IsValid():
		f.add(field, nil, "is missing", remedy)
	case !network.Contains(h.Router):
		f.add(field, h.Router, "is outside "+network.String(), remedy)
	case h.Router == network.Addr():
		f.add(field, h.Router, "is the network address of "+network.String(), remedy)
	case h.Router == Broadcast(network):
		f.add(field, h.Router, "is the broadcast address of "+network.String(), remedy)
	case h.Router == h.Address.Addr():
		f.add(field, h.Router, "is the host's own next hop", remedy)
	}
}

// nextHop is the host's next hop, as a table shows it.
func (s *HostSpec) nextHop() any {
	if s.Outside == nil {
		return nil
	}
	return s.Outside.Address
}

// claimNextHop judges the next hop that a host names. It reports false if another host has it.
func (a *admission) claimNextHop(p *put, outside *HostOutside) bool {
	if outside == nil {
		return true
	}
	other, taken := a.draft.nextHops.get(outside.Address.Addr())
	if taken {
		a.refuse(p, "spec.outside.address", outside.Address, "is the next hop that leads to Host "+other, "give each host its own")
	}
	return !taken
}

// admitUpstream refuses an outside that the host's roles do not use, or that contradicts other objects. It is called
// when every put is in the draft.
func (a *admission) admitUpstream(p *put, spec *HostSpec) {
	if spec.Outside == nil {
		return
	}
	const field = "spec.outside.address"
	address := spec.Outside.Address
	if !slices.Contains(spec.Roles, RoleEdge) && !slices.Contains(spec.Roles, RoleGateway) {
		a.refuse(p, "spec.outside", nil, "has no effect on a host of the roles "+strings.Join(spec.Roles, ", ")+": no public traffic passes it",
			"give the host the role edge or gateway, or leave outside out")
	}
	if holder, ok := a.draft.holderOf(address.Addr()); ok {
		a.refuse(p, field, address, "is an address of "+holder.String(), "choose another one, or change that first")
	}
	if holder, ok := a.draft.holderOf(spec.Outside.Router); ok {
		a.refuse(p, "spec.outside.router", spec.Outside.Router, "is an address of "+holder.String(), "change that first")
	}
	if other, taken := a.draft.hostAt.get(address.Addr()); taken && other != p.after.Name {
		a.refuse(p, field, address, "is the address of Host "+other, "choose another one of the upstream network")
	}
	a.sameUpstream(p, spec.Outside)
}

// sameUpstream refuses an outside whose network another host describes differently. All stored hosts agree, so it
// compares with the neighbours in the index only.
func (a *admission) sameUpstream(p *put, outside *HostOutside) {
	d := a.draft
	i := d.nextHops.rank(outside.Address.Addr())
	for _, near := range []int{i - 1, i + 1} {
		_, name, ok := d.nextHops.at(near)
		if !ok {
			continue
		}
		other := d.Host(name).Outside
		switch {
		case !other.Address.Overlaps(outside.Address):
		case other.Address.Bits() != outside.Address.Bits():
			a.refuse(p, "spec.outside.address", outside.Address, fmt.Sprintf("is in the network of Host %s, whose prefix length is /%d", name, other.Address.Bits()),
				"give all hosts of the network the same prefix length")
			return
		case other.Router != outside.Router:
			a.refuse(p, "spec.outside.router", outside.Router, fmt.Sprintf("is not %s, the router of Host %s in the same network", other.Router, name),
				"give all hosts of the network the same router")
			return
		}
	}
}
