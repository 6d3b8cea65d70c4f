package model

import (
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
)

// HostSpec is a machine that carries endpoints.
type HostSpec struct {
	Address   netip.Addr   `json:"address" doc:"Underlay IPv4 address of the host's VTEP: source and destination of its tunnel packets. Unique among hosts." example:"192.168.5.2"`
	MTU       int          `json:"mtu,omitempty" doc:"MTU of the underlay." unit:"bytes of IP" default:"1500" allowed:"626 to 65535" kept:"true" example:"1500"`
	Roles     []string     `json:"roles,omitempty" doc:"What the host is for: compute carries endpoints, gateway and edge pass public traffic." default:"[compute]" allowed:"compute, gateway, edge" kept:"true" example:"[compute, gateway]"`
	NATPrefix netip.Prefix `json:"natPrefix,omitzero" doc:"Addresses that the underlay routes to the host, first and last included. Edges send to them what is for public addresses of its endpoints. Disjoint from the prefixes of other hosts and from public pools. A prefix cannot lose an address in use." default:"none: edges send public addresses unchanged" allowed:"/8 to /32" example:"10.200.1.0/24"`
	Outside   *HostOutside `json:"outside,omitempty" doc:"How the host reaches the upstream network, and is reached from there. For the roles gateway and edge." default:"none: no public traffic passes the host"`

	Identity string `json:"identity,omitempty" doc:"SHA-256 of the public key that authenticates the host, in hex." default:"none: nobody may speak for the host" kept:"true" by:"overlane join"`
}

// DefaultUnderlayMTU is a host's MTU if it names none, in bytes of IP.
const DefaultUnderlayMTU = 1500

// Overhead is what VXLAN over IPv4 adds to an endpoint's IP packet, in bytes: inner Ethernet 14, VXLAN 8, UDP 8, outer
// IPv4 20 (RFC 7348 section 5).
const Overhead = 50

// The roles of a host: it carries endpoints, or public traffic passes it, in one of the two designs.
const (
	RoleCompute = "compute"
	RoleEdge    = "edge"
	RoleGateway = "gateway"
)

var hostRoles = []string{RoleCompute, RoleEdge, RoleGateway}

var hostKind = Kind{
	Name: "Host", Plural: "hosts", Short: "h", Path: []string{"HOST"},
	Doc:       "A machine that carries endpoints, or passes public traffic.",
	New:       func() Spec { return new(HostSpec) },
	NewStatus: func() any { return new(HostStatus) },
	Columns: []Column{
		{"NAME", func(o Object) string { return o.Name }},
		{"ADDRESS", column(func(s *HostSpec) any { return s.Address })},
		{"MTU", column(func(s *HostSpec) any { return s.MTU })},
		{"ROLES", column(func(s *HostSpec) any { return strings.Join(s.Roles, ",") })},
		{"OUTSIDE", column((*HostSpec).nextHop)},
		{"READY", statusColumn(func(s *HostStatus) any { return yesNo(s.Ready) })},
		{"DATAPATH", statusColumn(func(s *HostStatus) any { return s.Datapath })},
		{"TUNNELS", statusColumn((*HostStatus).tunnelsUp)},
		{"FLOWS", statusColumn(func(s *HostStatus) any { return s.Flows })},
	},
	admit: admitHosts,
	users: []users{{"endpoint", (*State).EndpointsOn}, {"internet gateway", (*State).gatewaysOver}},
}

// Check requires a unicast IPv4 address, an MTU that leaves [MinMTU] to endpoints, and roles that exist.
func (s *HostSpec) Check(name string) Problems {
	f := findingsOf(Key{"Host", name})
	f.hostAddress(s.Address)
	f.identity(s.Identity)
	if s.NATPrefix.IsValid() {
		f.cidr("spec.natPrefix", s.NATPrefix, 32, "NAT prefixes")
	}
	if least := MinMTU + Overhead; s.MTU != 0 && (s.MTU < least || s.MTU > 65535) {
		f.add("spec.mtu", s.MTU, fmt.Sprintf("is not from %d to 65535", least), "give the underlay's MTU, mostly 1500")
	}
	if s.Outside != nil {
		s.Outside.checkFields(f)
		if s.Outside.Address.IsValid() && s.Outside.Address.Addr() == s.Address {
			f.add("spec.outside.address", s.Outside.Address, "is the address of the host's VTEP", "choose another one of the upstream network")
		}
	}
	for i, role := range s.Roles {
		if !slices.Contains(hostRoles, role) {
			f.add("spec.roles", role, "is not a role", suggest(role, hostRoles, "use "+strings.Join(hostRoles, ", ")))
		} else if slices.Contains(s.Roles[:i], role) {
			f.add("spec.roles", role, "is given twice", "leave one out")
		}
	}
	return f.problems
}

func (f *findings) hostAddress(a netip.Addr) {
	const remedy = "give the IPv4 address that other hosts reach this one at"
	switch {
	case !a.IsValid():
		f.add("spec.address", nil, "is missing", remedy)
	case !a.Is4():
		f.add("spec.address", a, "is IPv6, which tunnels do not run over yet", remedy)
	case !unicast(a):
		f.add("spec.address", a, "is not an address that other hosts can reach", remedy)
	}
}

func (s *HostSpec) copy() Spec { c := *s; return &c }

func (s *HostSpec) setDefaults(stored Spec) {
	was, _ := stored.(*HostSpec)
	if was == nil {
		was = &HostSpec{MTU: DefaultUnderlayMTU, Roles: []string{"compute"}}
	}
	if s.MTU == 0 {
		s.MTU = was.MTU
	}
	if len(s.Roles) == 0 {
		s.Roles = was.Roles
	}
	if s.Identity == "" {
		s.Identity = was.Identity
	}
}

func (s *HostSpec) index(d *draft, o, _ *Object) {
	d.hostAt.put(d.edit, s.Address, o.Name)
	for _, role := range s.Roles {
		d.hostsByRole.put(d.edit, namePair{role, o.Name}, o)
	}
	if s.NATPrefix.IsValid() {
		d.ownedPrefixes.put(d.edit, ownedPrefix{s.NATPrefix.Addr(), o.Key()}, s.NATPrefix)
	}
	if s.Outside != nil {
		d.nextHops.put(d.edit, s.Outside.Address.Addr(), o.Name)
	}
}

func (s *HostSpec) unindex(d *draft, o, after *Object) {
	release(d, &d.hostAt, s.Address, o.Name)
	for _, role := range s.Roles {
		d.hostsByRole.remove(d.edit, namePair{role, o.Name})
	}
	if s.NATPrefix.IsValid() {
		d.ownedPrefixes.remove(d.edit, ownedPrefix{s.NATPrefix.Addr(), o.Key()})
	}
	if s.Outside != nil {
		release(d, &d.nextHops, s.Outside.Address.Addr(), o.Name)
	}
	if after == nil {
		d.cursors.remove(d.edit, o.Key().String())
	}
}

// admitHosts requires that no two hosts share an address, that every host's underlay can carry the VPCs of its
// endpoints, and that every gateway keeps hosts of its role.
func admitHosts(a *admission, puts []*put) {
	for _, p := range puts {
		if p.before != nil {
			p.before.Spec.unindex(a.draft, p.before, p.after)
		}
	}
	for _, p := range puts {
		spec := p.after.Spec.(*HostSpec)
		if other, taken := a.draft.hostAt.get(spec.Address); taken {
			a.refuse(p, "spec.address", spec.Address, "is the address of Host "+other, "give each host its own")
			continue
		}
		if !a.claimNextHop(p, spec.Outside) {
			continue
		}
		a.draft.put(p.after)
		a.afterPuts(func() { a.admitOutside(p, spec) })
		if p.before != nil && spec.MTU < p.before.Spec.(*HostSpec).MTU {
			a.afterPuts(func() { a.hostCarries(p, spec) })
		}
	}
}

// admitOutside refuses a host whose addresses another object has, or that loses NAT addresses in use, or the role for
// which a gateway names it.
func (a *admission) admitOutside(p *put, spec *HostSpec) {
	if holder, ok := a.draft.holderOf(spec.Address); ok {
		a.refuse(p, "spec.address", spec.Address, "is an address of "+holder.String(), "choose another one, or change that first")
	}
	if other, taken := a.draft.nextHops.get(spec.Address); taken && other != p.after.Name {
		a.refuse(p, "spec.address", spec.Address, "is the next hop that leads to Host "+other, "choose another one, or change that first")
	}
	if spec.NATPrefix.IsValid() {
		a.disjoint(p, "spec.natPrefix", spec.NATPrefix)
	}
	a.admitUpstream(p, spec)
	if p.before == nil {
		return
	}
	a.keepsNAT(p, p.before.Spec.(*HostSpec).NATPrefix, spec.NATPrefix)
	for o := range a.draft.gatewaysOver(p.after.Name) {
		if gateway := o.Spec.(*InternetGatewaySpec); !slices.Contains(spec.Roles, gateway.Role()) && !a.refused[o.Key()] {
			a.refuse(p, "spec.roles", strings.Join(spec.Roles, ", "), fmt.Sprintf("leaves out %s, by which InternetGateway %s leads over the host", gateway.Role(), o.Name),
				"keep that role, or take the host out of the gateway's hosts first")
			return
		}
	}
}

// hostCarries refuses an underlay MTU that is too small for a VPC of which the host has endpoints.
func (a *admission) hostCarries(p *put, spec *HostSpec) {
	var last string
	for o := range a.draft.EndpointsOn(p.after.Name) {
		vpc := VPCOf(o.Name)
		if vpc == last { // they come by name, so those of one VPC are together
			continue
		}
		last = vpc
		if v := a.draft.VPC(vpc); v != nil && v.MTU+Overhead > spec.MTU {
			a.refuse(p, "spec.mtu", spec.MTU,
				fmt.Sprintf("cannot carry the MTU %d of VPC %s, which has endpoints here: that takes %d", v.MTU, vpc, v.MTU+Overhead),
				fmt.Sprintf("detach its endpoints and lower the VPC's MTU to %d first, or move them to another host", spec.MTU-Overhead))
		}
	}
}

// Host is the spec of a host; nil if there is none of that name.
func (s *State) Host(name string) *HostSpec { return specOf[*HostSpec](s, "Host", name) }

// EndpointsOn goes over the endpoints of a host, by name.
func (s *State) EndpointsOn(host string) iter.Seq[*Object] { return s.endpointsOn(host, "") }

// EndpointsOnOf goes over the endpoints of a VPC or of a subnet on a host, by name.
func (s *State) EndpointsOnOf(host, parent string) iter.Seq[*Object] {
	return s.endpointsOn(host, parent+"/")
}

func (s *State) endpointsOn(host, prefix string) iter.Seq[*Object] {
	return func(yield func(*Object) bool) {
		for at, o := range s.onHost.from(hostEndpoint{host, prefix}) {
			if at.host != host || !strings.HasPrefix(at.endpoint, prefix) || !yield(o) {
				return
			}
		}
	}
}

// CountOn is the number of endpoints on a host, in logarithmic time.
func (s *State) CountOn(host string) int {
	return s.onHost.rank(hostEndpoint{host: host + "\x00"}) - s.onHost.rank(hostEndpoint{host: host})
}

// CountOnOf is the number of endpoints of a VPC on a host, in logarithmic time.
func (s *State) CountOnOf(host, vpc string) int {
	return s.onHost.rank(hostEndpoint{host, vpc + "0"}) - s.onHost.rank(hostEndpoint{host, vpc + "/"}) // '0' follows '/' in ASCII
}

// HostAt finds the host with that VTEP address; nil if there is none.
func (s *State) HostAt(address netip.Addr) *Object {
	name, _ := s.hostAt.get(address)
	return s.Get(Key{"Host", name})
}

// HostsWithRole goes over the hosts that have a role, by name.
func (s *State) HostsWithRole(role string) iter.Seq[*Object] { return secondsOf(s.hostsByRole, role) }

// HostsUpstream goes over the hosts that have a next hop in an upstream network, by next hop.
func (s *State) HostsUpstream(network netip.Prefix) iter.Seq[*Object] {
	return func(yield func(*Object) bool) {
		for address, host := range s.nextHops.from(network.Masked().Addr()) {
			if !network.Contains(address) || !yield(s.Get(Key{"Host", host})) {
				return
			}
		}
	}
}
