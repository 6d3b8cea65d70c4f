package model

import (
	"bytes"
	"cmp"
	"iter"
	"net/netip"
	"strings"
)

// State is all objects as stored at one revision, with the indexes that make admission and views cost what changes, not
// what there is. It is immutable: any number of goroutines may read one, and [State.With] makes the next one in time
// proportional to the changes. The objects it hands out are shared: whoever wants another one makes a copy.
type State struct {
	revision int64
	kinds    []tree[string, *Object] // by name, in the order of Kinds

	hostAt  tree[netip.Addr, string] // VTEP address -> host
	ofVNI   tree[VNI, string]        // -> subnet, or VPC whose transit VNI it is
	ranges  tree[place, cidrOf]      // VPC, first address of the CIDR -> CIDR and subnet
	on      tree[seat, *Object]      // host, endpoint -> endpoint
	at      tree[place, string]      // subnet, address -> endpoint
	withMAC tree[macPlace, string]   // subnet, MAC -> endpoint
	cursors tree[string, cursor]     // subnet -> where allocation of addresses goes on
}

// place is an address inside a VPC or a subnet.
type place struct {
	in      string
	address netip.Addr
}

type macPlace struct {
	in  string
	mac MAC
}

type cidrOf struct {
	cidr   netip.Prefix
	subnet string
}

// seat is an endpoint on a host.
type seat struct{ host, endpoint string }

// cursor is the address of the endpoint made last in a subnet, and at which revision. It outlives the endpoint, so that
// a released address rests until all others have had their turn. A server that starts anew begins at the youngest endpoint
// still there.
type cursor struct {
	address  netip.Addr
	revision int64
}

// NewState is the state at revision 0, without any object.
func NewState() *State {
	s := &State{
		hostAt:  tree[netip.Addr, string]{compare: netip.Addr.Compare},
		ofVNI:   tree[VNI, string]{compare: cmp.Compare[VNI]},
		kinds:   make([]tree[string, *Object], len(Kinds)),
		ranges:  tree[place, cidrOf]{compare: place.compare},
		on:      tree[seat, *Object]{compare: seat.compare},
		at:      tree[place, string]{compare: place.compare},
		withMAC: tree[macPlace, string]{compare: macPlace.compare},
		cursors: tree[string, cursor]{compare: strings.Compare},
	}
	for i := range s.kinds {
		s.kinds[i].compare = strings.Compare
	}
	return s
}

func (p place) compare(q place) int {
	return cmp.Or(strings.Compare(p.in, q.in), p.address.Compare(q.address))
}

func (p macPlace) compare(q macPlace) int {
	return cmp.Or(strings.Compare(p.in, q.in), bytes.Compare(p.mac[:], q.mac[:]))
}

func (s seat) compare(t seat) int {
	return cmp.Or(strings.Compare(s.host, t.host), strings.Compare(s.endpoint, t.endpoint))
}

// Revision is the store revision that the state is at.
func (s *State) Revision() int64 { return s.revision }

// Get finds an object; nil if there is none.
func (s *State) Get(key Key) *Object {
	i := kindIndex(key.Kind)
	if i < 0 {
		return nil
	}
	o, _ := s.kinds[i].get(key.Name)
	return o
}

// Host is the spec of a host; nil if there is none of that name.
func (s *State) Host(name string) *HostSpec { return specOf[*HostSpec](s, "Host", name) }

// VPC is the spec of a VPC; nil if there is none of that name.
func (s *State) VPC(name string) *VPCSpec { return specOf[*VPCSpec](s, "VPC", name) }

// Subnet is the spec of a subnet; nil if there is none of that name.
func (s *State) Subnet(name string) *SubnetSpec { return specOf[*SubnetSpec](s, "Subnet", name) }

// Endpoint is the spec of an endpoint; nil if there is none of that name.
func (s *State) Endpoint(name string) *EndpointSpec {
	return specOf[*EndpointSpec](s, "Endpoint", name)
}

func specOf[S Spec](s *State, kind, name string) (spec S) {
	if o := s.Get(Key{kind, name}); o != nil {
		return o.Spec.(S)
	}
	return spec
}

// Len is the number of objects of a kind.
func (s *State) Len(kind string) int {
	if i := kindIndex(kind); i >= 0 {
		return s.kinds[i].len()
	}
	return 0
}

// List goes over the objects of a kind, by name.
func (s *State) List(kind string) iter.Seq[*Object] { return s.Under(kind, "") }

// SubnetsOf goes over the subnets of a VPC, by name.
func (s *State) SubnetsOf(vpc string) iter.Seq[*Object] { return s.Under("Subnet", vpc) }

// EndpointsOf goes over the endpoints of a subnet or of a whole VPC, by name.
func (s *State) EndpointsOf(subnet string) iter.Seq[*Object] { return s.Under("Endpoint", subnet) }

// Under goes over the objects of a kind whose name is below parent, by name; all of them if parent is empty.
func (s *State) Under(kind, parent string) iter.Seq[*Object] {
	prefix := ""
	if parent != "" {
		prefix = parent + "/"
	}
	return func(yield func(*Object) bool) {
		i := kindIndex(kind)
		if i < 0 {
			return
		}
		for name, o := range s.kinds[i].from(prefix) {
			if !strings.HasPrefix(name, prefix) || !yield(o) {
				return
			}
		}
	}
}

// EndpointsOn goes over the endpoints of a host, by name.
func (s *State) EndpointsOn(host string) iter.Seq[*Object] {
	return func(yield func(*Object) bool) {
		for at, o := range s.on.from(seat{host: host}) {
			if at.host != host || !yield(o) {
				return
			}
		}
	}
}

// CountUnder is the number of objects that [State.Under] goes over, in logarithmic time.
func (s *State) CountUnder(kind, parent string) int {
	i := kindIndex(kind)
	if i < 0 {
		return 0
	}
	// '0' follows '/' in ASCII: the first name that is not below parent any more
	return s.kinds[i].rank(parent+"0") - s.kinds[i].rank(parent+"/")
}

// CountOn is the number of endpoints on a host, in logarithmic time.
func (s *State) CountOn(host string) int {
	return s.on.rank(seat{host: host + "\x00"}) - s.on.rank(seat{host: host})
}

// HostAt finds the host with that VTEP address; nil if there is none.
func (s *State) HostAt(address netip.Addr) *Object {
	name, _ := s.hostAt.get(address)
	return s.Get(Key{"Host", name})
}

// SubnetOf finds the subnet of a VNI; nil if there is none.
func (s *State) SubnetOf(vni VNI) *Object {
	name, _ := s.ofVNI.get(vni)
	return s.Get(Key{"Subnet", name})
}

// EndpointAt finds the endpoint that has an address of a subnet; nil if there is none.
func (s *State) EndpointAt(subnet string, address netip.Addr) *Object {
	name, _ := s.at.get(place{subnet, address})
	return s.Get(Key{"Endpoint", name})
}

// EndpointWithMAC finds the endpoint that has a MAC of a subnet; nil if there is none.
func (s *State) EndpointWithMAC(subnet string, mac MAC) *Object {
	name, _ := s.withMAC.get(macPlace{subnet, mac})
	return s.Get(Key{"Endpoint", name})
}

// With is the state at a later revision, after the changes. Objects that a change deletes and that are not there are
// ignored, so a change may come twice.
func (s *State) With(revision int64, changes []Change) *State {
	d := s.draft()
	d.revision = revision
	for _, c := range changes {
		if c.After == nil {
			d.remove(c.Key())
		} else {
			d.put(c.After)
		}
	}
	return &d.State
}
