package model

// VPCSpec is a tenant's isolated address space. CIDRs of two VPCs may overlap.
type VPCSpec struct {
	MTU int `json:"mtu,omitempty" doc:"MTU of every endpoint in bytes of IP; default, set at creation: the least over the hosts of their underlay MTU less 50, or 1450 without hosts."`
}

var vpcKind = Kind{
	Name: "VPC", Plural: "vpcs", Short: "v", Path: []string{"VPC"},
	Doc:       "A tenant's isolated address space.",
	New:       func() Spec { return new(VPCSpec) },
	NewStatus: func() any { return new(VPCStatus) },
}

func (s *VPCSpec) Check(name string) Problems { return nil }

func (s *VPCSpec) copy() Spec { c := *s; return &c }

func (s *VPCSpec) inherit(stored Spec) {
	if s.MTU == 0 {
		s.MTU = stored.(*VPCSpec).MTU
	}
}

func (s *VPCSpec) enter(*draft, *Object, *Object) {}

func (s *VPCSpec) leave(*draft, *Object, *Object) {}
