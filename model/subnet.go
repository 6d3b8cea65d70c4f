package model

import (
	"fmt"
	"iter"
	"net/netip"
)

// SubnetSpec is an L2 segment across hosts. Its name is VPC/SUBNET.
type SubnetSpec struct {
	CIDR    netip.Prefix `json:"cidr" doc:"Addresses of the subnet. Disjoint from the other subnets of the VPC." allowed:"/8 to /30" example:"172.17.42.0/24"`
	VNI     VNI          `json:"vni,omitempty" doc:"VXLAN network identifier on the wire. Unique over all VPCs." default:"the lowest free one from 4096" allowed:"1 to 16777214" kept:"true" example:"100"`
	Gateway netip.Addr   `json:"gateway,omitzero" doc:"Address inside the CIDR that every host answers for." default:"the first address of the CIDR" kept:"true" example:"172.17.42.1"`
	DHCP    *DHCP        `json:"dhcp,omitempty" doc:"What DHCP tells endpoints beside address, gateway and MTU. Each endpoint is answered on its own host." default:"none: DHCP tells address, gateway and MTU only"`
}

// The length of a subnet's prefix: a shorter one is no private network, a longer one leaves no address beside the
// gateway.
const (
	minPrefix = 8
	maxPrefix = 30
)

var subnetKind = Kind{
	Name: "Subnet", Plural: "subnets", Short: "sn", Path: []string{"VPC", "SUBNET"},
	Doc:       "A range of addresses of a VPC: one L2 segment across hosts, with its VNI.",
	New:       func() Spec { return new(SubnetSpec) },
	NewStatus: func() any { return new(SubnetStatus) },
	Columns: []Column{
		{"NAME", func(o Object) string { return o.Name }},
		{"CIDR", column(func(s *SubnetSpec) any { return s.CIDR })},
		{"VNI", column(func(s *SubnetSpec) any { return s.VNI })},
		{"GATEWAY", column(func(s *SubnetSpec) any { return s.Gateway })},
		{"ENDPOINTS", statusColumn(func(s *SubnetStatus) any { return s.Endpoints.Total })},
		{"READY", statusColumn(func(s *SubnetStatus) any { return s.Endpoints.Ready })},
		{"FREE", statusColumn(func(s *SubnetStatus) any { return s.Free })},
	},
	reserve:   func(a *admission, spec Spec) { a.chosen[spec.(*SubnetSpec).VNI] = true },
	admit:     admitSubnets,
	summarise: summariseSubnet,
	users:     []users{{"endpoint", (*State).EndpointsOf}},
}

// Check requires an IPv4 CIDR of unicast addresses without host bits, a VNI in range, and a gateway inside the CIDR.
func (s *SubnetSpec) Check(name string) Problems {
	f := findingsOf(Key{"Subnet", name})
	f.cidr("spec.cidr", s.CIDR, maxPrefix, "subnets")
	f.vni("spec.vni", s.VNI)
	f.dhcp(s.DHCP, s.CIDR)
	if s.Gateway.IsValid() && len(f.problems) == 0 {
		if why := s.unusable(s.Gateway); why != "" {
			f.add("spec.gateway", s.Gateway, why, "choose "+s.firstAddress().String()+", for example, or leave it out")
		}
	}
	return f.problems
}

// cidr requires a CIDR of unicast addresses, no longer than /longest; whose names the objects for the message.
func (f *findings) cidr(field string, c netip.Prefix, longest int, whose string) {
	const remedy = "give an IPv4 network, like 10.0.0.0/24"
	switch {
	case !c.IsValid():
		f.add(field, nil, "is missing", remedy)
	case !c.Addr().Is4():
		f.add(field, c, "is IPv6, which "+whose+" do not have yet", remedy)
	case c.Bits() < minPrefix || c.Bits() > longest:
		f.add(field, c, fmt.Sprintf("has a prefix of /%d, not from /%d to /%d", c.Bits(), minPrefix, longest), remedy)
	case c != c.Masked():
		f.add(field, c, "has host bits set", "write it as "+c.Masked().String())
	case !unicast(c.Addr()): // so are all its addresses: the special blocks are /8 or wider
		f.add(field, c, "has addresses that no host may have", "choose one of the private networks, like 10.0.0.0/24")
	}
}

// unusable says why neither gateway nor endpoint may have the address; empty if they may.
func (s *SubnetSpec) unusable(a netip.Addr) string {
	switch {
	case !s.CIDR.Contains(a):
		return "is outside " + s.CIDR.String()
	case a == s.CIDR.Addr():
		return "is the network address of " + s.CIDR.String()
	case a == Broadcast(s.CIDR):
		return "is the broadcast address of " + s.CIDR.String()
	}
	return ""
}

func (s *SubnetSpec) firstAddress() netip.Addr { return s.CIDR.Addr().Next() }

// capacity is how many endpoints the subnet has addresses for: all but network, broadcast and gateway.
func (s *SubnetSpec) capacity() int { return 1<<(32-s.CIDR.Bits()) - 3 }

func (s *SubnetSpec) copy() Spec { c := *s; return &c }

// setDefaults keeps the stored gateway only if the new CIDR has it.
func (s *SubnetSpec) setDefaults(stored Spec) {
	if was, _ := stored.(*SubnetSpec); was != nil {
		if s.VNI == 0 {
			s.VNI = was.VNI
		}
		if !s.Gateway.IsValid() && s.unusable(was.Gateway) == "" {
			s.Gateway = was.Gateway
		}
	}
	if !s.Gateway.IsValid() {
		s.Gateway = s.firstAddress()
	}
}

func (s *SubnetSpec) index(d *draft, o, _ *Object) {
	d.vniHolder.put(d.edit, s.VNI, o.Name)
	d.cidrs.put(d.edit, addressKey{Parent(o.Name), s.CIDR.Addr()}, subnetCIDR{s.CIDR, o.Name})
}

func (s *SubnetSpec) unindex(d *draft, o, after *Object) {
	release(d, &d.vniHolder, s.VNI, o.Name)
	at := addressKey{Parent(o.Name), s.CIDR.Addr()}
	if holder, ok := d.cidrs.get(at); ok && holder.subnet == o.Name {
		d.cidrs.remove(d.edit, at)
	}
	if after == nil {
		d.cursors.remove(d.edit, o.Name)
	}
}

// admitSubnets requires that VNIs are unique, that the CIDRs of a VPC are disjoint, and that nothing changes under
// endpoints; it allocates the VNIs that are left out.
func admitSubnets(a *admission, puts []*put) {
	puts = a.withParents(puts, "VPC")
	for _, p := range puts {
		if p.before != nil {
			p.before.Spec.unindex(a.draft, p.before, p.after)
		}
	}
	for _, p := range puts {
		a.admitSubnet(p, p.after.Spec.(*SubnetSpec))
	}
	for _, p := range puts {
		if spec := p.after.Spec.(*SubnetSpec); spec.VNI == 0 && !a.refused[p.key()] {
			spec.VNI = a.allocateVNI(p, "spec.vni", FirstAllocatedVNI)
		}
		if !a.refused[p.key()] {
			a.draft.put(p.after)
		}
	}
}

// admitSubnet judges a subnet and claims its CIDR and its VNI, if it names one.
func (a *admission) admitSubnet(p *put, spec *SubnetSpec) {
	if other, ok := a.draft.overlap(VPCOf(p.after.Name), spec.CIDR); ok {
		a.refuse(p, "spec.cidr", spec.CIDR, fmt.Sprintf("overlaps %s of Subnet %s", other.cidr, other.subnet),
			"choose a CIDR outside "+other.cidr.String()+", or another VPC")
	} else {
		a.draft.cidrs.put(a.draft.edit, addressKey{VPCOf(p.after.Name), spec.CIDR.Addr()}, subnetCIDR{spec.CIDR, p.after.Name})
	}
	a.claimVNI(p, "spec.vni", spec.VNI)
	if p.before != nil {
		a.keepsEndpoints(p, p.before.Spec.(*SubnetSpec), spec)
	}
}

// keepsEndpoints refuses changes that would cut off or readdress the endpoints that a subnet has.
func (a *admission) keepsEndpoints(p *put, was, spec *SubnetSpec) {
	if was.CIDR != spec.CIDR || was.VNI != spec.VNI {
		names, total := namesOf(a.draft.EndpointsOf(p.after.Name))
		if total > 0 {
			in, remedy := "has "+count(total, "endpoint")+": "+names, "delete "+itOrThem(total)+" first, or make another subnet"
			if was.CIDR != spec.CIDR {
				a.refuse(p, "spec.cidr", spec.CIDR, "cannot change from "+was.CIDR.String()+" while the subnet "+in, remedy)
			}
			if was.VNI != spec.VNI {
				a.refuse(p, "spec.vni", spec.VNI, fmt.Sprintf("cannot change from %d while the subnet %s", was.VNI, in), remedy)
			}
		}
	}
	if was.CIDR == spec.CIDR {
		a.keepsPlugged(p, "spec.gateway", was.Gateway, spec.Gateway)
	}
	if was.Gateway != spec.Gateway {
		a.afterPuts(func() {
			if o := a.draft.EndpointAt(p.after.Name, spec.Gateway); o != nil {
				a.refuse(p, "spec.gateway", spec.Gateway, "is the address of "+o.Key().String(), "choose a free one, or delete the endpoint first")
			}
		})
	}
}

// overlap finds a subnet of the VPC that overlaps a CIDR. The indexed CIDRs are disjoint, so only the neighbours by
// first address can.
func (d *draft) overlap(vpc string, cidr netip.Prefix) (subnetCIDR, bool) {
	next := d.cidrs.rank(addressKey{vpc, cidr.Addr()})
	for _, i := range []int{next - 1, next} {
		if at, other, ok := d.cidrs.at(i); ok && at.in == vpc && other.cidr.Overlaps(cidr) {
			return other, true
		}
	}
	return subnetCIDR{}, false
}

func summariseSubnet(s *State, name string, m Measured) any {
	status := &SubnetStatus{Endpoints: countStates(s, name, m.Endpoint), Hosts: s.hostsOf(name)}
	if spec := s.Subnet(name); spec != nil {
		status.Free = spec.capacity() - status.Endpoints.Total
	}
	return status
}

// Subnet is the spec of a subnet; nil if there is none of that name.
func (s *State) Subnet(name string) *SubnetSpec { return specOf[*SubnetSpec](s, "Subnet", name) }

// SubnetsOf goes over the subnets of a VPC, by name.
func (s *State) SubnetsOf(vpc string) iter.Seq[*Object] { return s.Under("Subnet", vpc) }

// SubnetOf finds the subnet of a VNI; nil if there is none.
func (s *State) SubnetOf(vni VNI) *Object {
	name, _ := s.vniHolder.get(vni)
	return s.Get(Key{"Subnet", name})
}
