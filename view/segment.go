package view

import (
	"cmp"
	"maps"
	"net/netip"
	"reflect"
	"slices"

	"github.com/overlane/overlane/model"
)

// Segment is a subnet as its switches see it.
type Segment struct {
	VNI     model.VNI    `json:"vni"`
	VPC     model.VNI    `json:"vpc"`    // its VPC's transit VNI, which tells routing domains apart
	Subnet  string       `json:"subnet"` // VPC/SUBNET
	CIDR    netip.Prefix `json:"cidr"`
	Gateway netip.Addr   `json:"gateway"`
	MTU     int          `json:"mtu"`
	DHCP    *model.DHCP  `json:"dhcp,omitempty"`
	Members []string     `json:"members"` // names of the hosts with endpoints on it, sorted, this host included
}

// Key is the VNI.
func (s Segment) Key() model.VNI { return s.VNI }

var segments = kind[model.VNI, Segment]{
	table:   func(v *View) *Table[model.VNI, Segment] { return &v.Segments },
	changes: func(d *Delta) (*[]Segment, *[]model.VNI) { return &d.Segments, &d.GoneSegments },
	compare: cmp.Compare[model.VNI],
	equal:   func(a, b Segment) bool { return reflect.DeepEqual(a, b) },
	receive: func(v *View, s *Segment) {
		if s.VPC == 0 { // of an older server, or on disk since: it is not routed, for 0 would be every VPC's
			s.VPC = s.VNI
		}
		s.Members = slices.Clone(s.Members)
		for i, host := range s.Members {
			s.Members[i] = v.hostName(host)
		}
	},
}

// tellSegments reports whether hosts have come to the VPC or gone from it for this host. One that has just come is told of all subnets.
func (t *Tracker) tellSegments(host, vpc string, touched map[string]map[AddressKey]bool, d *Delta) bool {
	k := t.hosts[host]
	known, had := k.segments[vpc]
	if t.members[vpc][host] == 0 {
		for _, s := range known {
			d.GoneSegments = append(d.GoneSegments, s.VNI)
		}
		delete(k.segments, vpc)
		return had
	}
	if !had {
		k.segments[vpc] = map[string]Segment{}
		touched = map[string]map[AddressKey]bool{}
		for o := range t.state.SubnetsOf(vpc) {
			touched[o.Name] = nil
		}
	}
	changed := !had
	for subnet, addresses := range touched {
		changed = t.tellSegment(host, subnet, addresses, d) || changed
	}
	return changed
}

// tellSegment reports whether the segment's members have changed for this host.
func (t *Tracker) tellSegment(host, subnet string, addresses map[AddressKey]bool, d *Delta) bool {
	known := t.hosts[host].segments[model.Parent(subnet)]
	old, had := known[subnet]
	now, exists := t.segment(subnet)
	if had && old.VNI != now.VNI {
		delete(known, subnet)
		d.GoneSegments = append(d.GoneSegments, old.VNI)
	}
	if !exists {
		return had
	}
	known[subnet] = now
	changed := !had || !segments.equal(old, now)
	if changed {
		d.Segments = append(d.Segments, now)
	}
	if !had || old.VNI != now.VNI {
		t.tellAllAddresses(host, subnet, now.VNI, d)
	} else {
		t.tellAddresses(host, subnet, addresses, d)
	}
	return changed
}

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
