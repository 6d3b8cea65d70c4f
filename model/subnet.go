package model

import "net/netip"

// VNI is a VXLAN network identifier, 24 bits (RFC 7348 section 5).
type VNI uint32

// MaxVNI is the last VNI a subnet may have. The one above it, [ProbeVNI], carries Overlane's own probes between hosts.
const (
	MinVNI   VNI = 1
	MaxVNI   VNI = 0xfffffe
	ProbeVNI VNI = 0xffffff
)

// SubnetSpec is an L2 segment across hosts. Its name is VPC/SUBNET.
type SubnetSpec struct {
	CIDR    netip.Prefix `json:"cidr" doc:"IPv4 addresses of the subnet, prefix /8 to /30; disjoint from the other subnets of the VPC."`
	VNI     VNI          `json:"vni,omitempty" doc:"VXLAN network identifier on the wire, 1 to 16777214, unique over all VPCs; default: the lowest free one from 4096."`
	Gateway netip.Addr   `json:"gateway,omitzero" doc:"Address inside the CIDR that every host answers for; default: the first host address."`
}

var subnetKind = Kind{
	Name: "Subnet", Plural: "subnets", Short: "sn", Path: []string{"VPC", "SUBNET"},
	Doc:       "A range of addresses of a VPC: one L2 segment across hosts, with its VNI.",
	New:       func() Spec { return new(SubnetSpec) },
	NewStatus: func() any { return new(SubnetStatus) },
}

func (s *SubnetSpec) Check(name string) Problems { return nil }

func (s *SubnetSpec) copy() Spec { c := *s; return &c }

// inherit keeps a stored gateway only if it may be one of the new CIDR.
func (s *SubnetSpec) inherit(stored Spec) {
	was := stored.(*SubnetSpec)
	if s.VNI == 0 {
		s.VNI = was.VNI
	}
	if !s.Gateway.IsValid() && s.usable(was.Gateway) == "" {
		s.Gateway = was.Gateway
	}
}

func (s *SubnetSpec) enter(d *draft, o, _ *Object) {
	d.ofVNI.put(d.edit, s.VNI, o.Name)
	d.ranges.put(d.edit, place{Parent(o.Name), s.CIDR.Addr()}, cidrOf{s.CIDR, o.Name})
}

func (s *SubnetSpec) leave(d *draft, o, after *Object) {
	release(d, &d.ofVNI, s.VNI, o.Name)
	releaseRange(d, o.Name, s.CIDR)
	if after == nil {
		d.cursors.remove(d.edit, o.Name)
	}
}

func releaseRange(d *draft, subnet string, cidr netip.Prefix) {
	at := place{Parent(subnet), cidr.Addr()}
	if holder, ok := d.ranges.get(at); ok && holder.subnet == subnet {
		d.ranges.remove(d.edit, at)
	}
}

// usable is empty if an endpoint or a gateway may have the address, else the reason why not.
func (s *SubnetSpec) usable(a netip.Addr) string {
	switch {
	case !s.CIDR.Contains(a):
		return "is outside " + s.CIDR.String()
	case a == s.CIDR.Masked().Addr():
		return "is the network address of " + s.CIDR.String()
	case a == broadcast(s.CIDR):
		return "is the broadcast address of " + s.CIDR.String()
	}
	return ""
}
