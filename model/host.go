package model

import "net/netip"

// HostSpec is a machine that carries endpoints.
type HostSpec struct {
	Address netip.Addr `json:"address" doc:"Underlay IPv4 address of the host's VTEP: source and destination of its tunnel packets; unique among hosts."`
	MTU     int        `json:"mtu,omitempty" doc:"MTU of the underlay in bytes of IP; default 1500."`
	Roles   []string   `json:"roles,omitempty" doc:"What the host is for: compute, edge or gateway; default compute."`
}

var hostKind = Kind{
	Name: "Host", Plural: "hosts", Short: "h", Path: []string{"HOST"},
	Doc:       "A machine that carries endpoints.",
	New:       func() Spec { return new(HostSpec) },
	NewStatus: func() any { return new(HostStatus) },
}

func (s *HostSpec) Check(name string) Problems { return nil }

func (s *HostSpec) copy() Spec { c := *s; return &c }

func (s *HostSpec) inherit(stored Spec) {
	was := stored.(*HostSpec)
	if s.MTU == 0 {
		s.MTU = was.MTU
	}
	if s.Roles == nil {
		s.Roles = was.Roles
	}
}

func (s *HostSpec) enter(d *draft, o, _ *Object) { d.hostAt.put(d.edit, s.Address, o.Name) }

func (s *HostSpec) leave(d *draft, o, _ *Object) { release(d, &d.hostAt, s.Address, o.Name) }
