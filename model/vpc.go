package model

import (
	"fmt"
	"strings"
)

// VPCSpec is a tenant's isolated address space and routing domain. CIDRs of two VPCs may overlap; a VPC's subnets reach
// each other through their gateway addresses.
type VPCSpec struct {
	MTU        int `json:"mtu,omitempty" doc:"MTU of every endpoint. It cannot change while endpoints are plugged in." unit:"bytes of IP" default:"the least underlay MTU over all hosts, less 50; 1450 without hosts" allowed:"576 to 9000" kept:"true" example:"1450"`
	TransitVNI VNI `json:"transitVNI,omitempty" doc:"VNI of the VPC's traffic between its hosts and its gateways. No subnet may have it." default:"the lowest free one from 15728640" allowed:"1 to 16777214" kept:"true" example:"15728640"`
}

// The MTU of a VPC, in bytes of IP: the least that every IPv4 host accepts (RFC 791 section 3.2), and the usual jumbo
// frame.
const (
	MinMTU = 576
	MaxMTU = 9000
)

var vpcKind = Kind{
	Name: "VPC", Plural: "vpcs", Short: "v", Path: []string{"VPC"},
	Doc:       "A tenant's isolated address space, whose subnets are routed.",
	New:       func() Spec { return new(VPCSpec) },
	NewStatus: func() any { return new(VPCStatus) },
	Columns: []Column{
		{"NAME", func(o Object) string { return o.Name }},
		{"MTU", column(func(s *VPCSpec) any { return s.MTU })},
		{"SUBNETS", statusColumn(func(s *VPCStatus) any { return s.Subnets })},
		{"ENDPOINTS", statusColumn(func(s *VPCStatus) any { return s.Endpoints.Total })},
		{"READY", statusColumn(func(s *VPCStatus) any { return s.Endpoints.Ready })},
	},
	admit:     admitVPCs,
	summarise: summariseVPC,
	users:     []users{{"subnet", (*State).SubnetsOf}, {"internet gateway", (*State).gatewayOf}},
}

// Check wants an MTU from [MinMTU] to [MaxMTU].
func (s *VPCSpec) Check(name string) Problems {
	f := findingsOf(Key{"VPC", name})
	if s.MTU != 0 && (s.MTU < MinMTU || s.MTU > MaxMTU) {
		f.add("spec.mtu", s.MTU, fmt.Sprintf("is not from %d to %d", MinMTU, MaxMTU),
			"leave it out, and it is what the hosts can carry")
	}
	f.vni("spec.transitVNI", s.TransitVNI)
	return f.problems
}

func (s *VPCSpec) copy() Spec { c := *s; return &c }

func (s *VPCSpec) setDefaults(stored Spec) {
	was, _ := stored.(*VPCSpec)
	if was == nil {
		return
	}
	if s.MTU == 0 {
		s.MTU = was.MTU
	}
	if s.TransitVNI == 0 {
		s.TransitVNI = was.TransitVNI
	}
}

func (s *VPCSpec) index(d *draft, o, _ *Object) {
	if s.TransitVNI != 0 {
		d.vniHolder.put(d.edit, s.TransitVNI, o.Name)
	}
}

func (s *VPCSpec) unindex(d *draft, o, _ *Object) { release(d, &d.vniHolder, s.TransitVNI, o.Name) }

// admitVPCs allocates transit VNIs that are left out, sets the MTU of new VPCs to the largest that every host can
// carry, and keeps it while endpoints have it. So no VPC outgrows its hosts: [admission.plugIn] judges later endpoints.
func admitVPCs(a *admission, puts []*put) {
	least := 0
	for _, p := range puts {
		if p.before != nil {
			p.before.Spec.unindex(a.draft, p.before, p.after)
		}
	}
	for _, p := range puts {
		a.claimVNI(p, "spec.transitVNI", p.after.Spec.(*VPCSpec).TransitVNI)
	}
	for _, p := range a.accepted(puts) {
		spec := p.after.Spec.(*VPCSpec)
		if spec.TransitVNI == 0 {
			spec.TransitVNI = a.allocateVNI(p, "spec.transitVNI", FirstTransitVNI)
		}
		if spec.MTU == 0 {
			if least == 0 {
				least = leastMTU(&a.draft.State)
			}
			spec.MTU = least
		}
		a.draft.put(p.after)
		if p.before != nil {
			a.keepsPlugged(p, "spec.mtu", p.before.Spec.(*VPCSpec).MTU, spec.MTU)
			a.keepsPlugged(p, "spec.transitVNI", p.before.Spec.(*VPCSpec).TransitVNI, spec.TransitVNI)
		}
	}
}

func summariseVPC(s *State, name string, m Measured) any {
	return &VPCStatus{Subnets: s.CountUnder("Subnet", name), Endpoints: countStates(s, name, m.Endpoint)}
}

// leastMTU is the largest MTU that every host can carry.
func leastMTU(s *State) int {
	least := MaxMTU
	for o := range s.List("Host") {
		least = min(least, o.Spec.(*HostSpec).MTU-Overhead)
	}
	if s.Len("Host") == 0 {
		return DefaultUnderlayMTU - Overhead
	}
	return least
}

// VPCOf is the VPC of an object by its name: of a subnet, an endpoint, a port block, a public IP or a forward.
func VPCOf(name string) string {
	vpc, _, _ := strings.Cut(name, "/")
	return vpc
}

// VPC is the spec of a VPC; nil if there is none of that name.
func (s *State) VPC(name string) *VPCSpec { return specOf[*VPCSpec](s, "VPC", name) }
