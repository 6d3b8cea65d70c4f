package model

import (
	"fmt"
	"strings"
)

// VPCSpec is a tenant's isolated address space. CIDRs of two VPCs may overlap.
type VPCSpec struct {
	MTU int `json:"mtu,omitempty" doc:"MTU of every endpoint in bytes of IP, 576 to 9000; default, set at creation: the least over the hosts of their underlay MTU less 50, or 1450 without hosts."`
}

// The MTU of a VPC, in bytes of IP: what every IPv4 host must take (RFC 791 section 3.2), and the usual jumbo frame.
const (
	MinMTU = 576
	MaxMTU = 9000
)

var vpcKind = Kind{
	Name: "VPC", Plural: "vpcs", Short: "v", Path: []string{"VPC"},
	Doc:       "A tenant's isolated address space.",
	New:       func() Spec { return new(VPCSpec) },
	NewStatus: func() any { return new(VPCStatus) },
	Columns: []Column{
		{"NAME", func(o Object) string { return o.Name }},
		{"MTU", column(func(s *VPCSpec) any { return s.MTU })},
		{"SUBNETS", statusColumn(func(s *VPCStatus) any { return s.Subnets })},
		{"ENDPOINTS", statusColumn(func(s *VPCStatus) any { return s.Endpoints.Total })},
		{"READY", statusColumn(func(s *VPCStatus) any { return s.Endpoints.Ready })},
	},
	settle:   settleVPCs,
	users:    (*State).SubnetsOf,
	userNoun: "subnet",
}

// Check wants an MTU from [MinMTU] to [MaxMTU].
func (s *VPCSpec) Check(name string) Problems {
	f := about(Key{"VPC", name})
	if s.MTU != 0 && (s.MTU < MinMTU || s.MTU > MaxMTU) {
		f.add("spec.mtu", s.MTU, fmt.Sprintf("is not from %d to %d", MinMTU, MaxMTU),
			"leave it out, and it is what the hosts can carry")
	}
	return f.problems
}

func (s *VPCSpec) copy() Spec { c := *s; return &c }

func (s *VPCSpec) complete(stored Spec) {
	if was, _ := stored.(*VPCSpec); was != nil && s.MTU == 0 {
		s.MTU = was.MTU
	}
}

func (s *VPCSpec) enter(*draft, *Object, *Object) {}

func (s *VPCSpec) leave(*draft, *Object, *Object) {}

// settleVPCs sets the MTU of new VPCs to what every host can carry, and keeps it while endpoints have it. So no VPC outgrows its
// hosts: an endpoint that is plugged in later is judged then.
func settleVPCs(a *admission, puts []*put) {
	least := 0
	for _, p := range puts {
		spec := p.after.Spec.(*VPCSpec)
		if spec.MTU == 0 {
			if least == 0 {
				least = leastMTU(&a.draft.State)
			}
			spec.MTU = least
		}
		a.draft.put(p.after)
		if p.before != nil {
			a.keepsPlugged(p, "spec.mtu", p.before.Spec.(*VPCSpec).MTU, spec.MTU)
		}
	}
}

// leastMTU is the widest that every host can carry.
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

// vpcOf is the VPC of a subnet or an endpoint.
func vpcOf(name string) string {
	vpc, _, _ := strings.Cut(name, "/")
	return vpc
}
