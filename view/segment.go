package view

import (
	"cmp"
	"maps"
	"net/netip"
	"reflect"
	"slices"

	"github.com/overlane/overlane/model"
)

// Segment is a subnet in the form that switches need.
type Segment struct {
	VNI     model.VNI    `json:"vni"`
	VPC     model.VNI    `json:"vpc"`    // transit VNI of the VPC, which identifies the routing domain
	Subnet  string       `json:"subnet"` // VPC/SUBNET
	CIDR    netip.Prefix `json:"cidr"`
	Gateway netip.Addr   `json:"gateway"`
	MTU     int          `json:"mtu"`
	DHCP    *model.DHCP  `json:"dhcp,omitempty"`
	Members []string     `json:"members"` // names of all hosts with endpoints in the segment, sorted
}

// Key is the VNI.
func (s Segment) Key() model.VNI { return s.VNI }

var segments = kind[model.VNI, Segment]{
	table:   func(v *View) *Table[model.VNI, Segment] { return &v.Segments },
	changes: func(d *Delta) (*[]Segment, *[]model.VNI) { return &d.Segments, &d.GoneSegments },
	compare: cmp.Compare[model.VNI],
	equal:   func(a, b Segment) bool { return reflect.DeepEqual(a, b) },
	receive: func(v *View, s *Segment) {
		// from an older server, or on disk since then; it is not routed, since all such segments would share VPC 0
		if s.VPC == 0 {
			s.VPC = s.VNI
		}
		s.Members = slices.Clone(s.Members)
		for i, host := range s.Members {
			s.Members[i] = v.hostName(host)
		}
	},
	track: func(_ *Tracker, k *kind[model.VNI, Segment]) source {
		return &segmentSource{scoped[model.VNI, Segment]{kind: k, object: "Subnet", make: (*Tracker).segment,
			needs: segmentNeeds,
			sees:  func(v visibility, _ string, _ Segment) bool { return v.member }}}
	},
}

// segmentSource also tells hosts the addresses of segments, which it does not keep.
type segmentSource struct{ scoped[model.VNI, Segment] }

func (t *Tracker) segment(name string) (Segment, bool) {
	spec := t.state.Subnet(name)
	if spec == nil {
		return Segment{}, false
	}
	s := Segment{VNI: spec.VNI, Subnet: name, CIDR: spec.CIDR, Gateway: spec.Gateway, DHCP: spec.DHCP,
		Members: slices.Sorted(maps.Keys(t.members[name]))}
	if vpc := t.state.VPC(model.Parent(name)); vpc != nil {
		s.VPC, s.MTU = vpc.TransitVNI, vpc.MTU
	}
	return s, true
}

func segmentNeeds(t *Tracker, key model.Key, r *touched, mark func(string)) {
	switch key.Kind {
	case "VPC":
		for o := range t.state.SubnetsOf(key.Name) {
			mark(o.Name)
		}
	case "Endpoint":
		if subnet := model.Parent(key.Name); r.members[subnet] {
			mark(subnet)
		}
	}
}

func (s *segmentSource) tell(t *Tracker, n *news) {
	s.scoped.tell(t, n)
	for vpc, seen := range n.vpcs {
		switch {
		case !seen.now.member: // the segments take their addresses with them
		case !seen.was.member:
			n.delta.Addresses = slices.Grow(n.delta.Addresses, t.state.CountUnder("Endpoint", vpc))
			for _, segment := range s.rows[vpc] {
				t.tellAllAddresses(n, segment)
			}
		default:
			s.tellAddresses(t, n, vpc)
		}
	}
}

// tellAddresses tells a host the addresses that have changed, and all addresses of segments with a new VNI.
func (s *segmentSource) tellAddresses(t *Tracker, n *news, vpc string) {
	for subnet, addresses := range n.touched.vpcs[vpc] {
		if !s.renumbered(vpc, subnet) {
			t.tellAddresses(n, subnet, addresses)
		}
	}
	for subnet, c := range s.changed[vpc] {
		if c.now != nil && s.renumbered(vpc, subnet) {
			t.tellAllAddresses(n, *c.now)
		}
	}
}

// renumbered reports whether a segment is new, gone, or has another VNI.
func (s *segmentSource) renumbered(vpc, subnet string) bool {
	c, changed := s.changed[vpc][subnet]
	return changed && (c.was == nil || c.now == nil || c.was.VNI != c.now.VNI)
}
