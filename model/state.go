package model

import (
	"bytes"
	"cmp"
	"iter"
	"net/netip"
	"strings"
)

// State is all objects as stored at one revision, with indexes, so that admission and views cost what changes and not
// what exists. It is immutable: any number of goroutines may read it, and [State.With] makes the next one in time
// proportional to the changes. The objects that it gives are shared: to change one, make a copy.
type State struct {
	revision int64
	kinds    []tree[string, *Object] // by name, in the order of Kinds

	hostAt          tree[netip.Addr, string]     // VTEP address -> host
	vniHolder       tree[VNI, string]            // -> subnet, or VPC whose transit VNI it is
	cidrs           tree[addressKey, subnetCIDR] // VPC, first address of the CIDR -> CIDR and subnet
	onHost          tree[hostEndpoint, *Object]  // host, endpoint -> endpoint
	endpointAt      tree[addressKey, string]     // subnet, address -> endpoint
	endpointWithMAC tree[macKey, string]         // subnet, MAC -> endpoint
	cursors         tree[string, cursor]         // subnet, "PublicPool NAME", "Host NAME" or "PortBlock POOL" -> where allocation goes on

	ownedPrefixes  tree[ownedPrefix, netip.Prefix] // first address, owner -> CIDR of a PublicPool, or NAT prefix of a host
	nextHops       tree[netip.Addr, string]        // address of the outside -> host
	hostsByRole    tree[namePair, *Object]         // role, host -> host
	gatewaysByHost tree[namePair, *Object]         // host, VPC -> InternetGateway that names the host
	gatewaysByPool tree[namePair, *Object]         // PublicPool, VPC -> InternetGateway that names the pool
	publicIPAt     tree[addressKey, string]        // PublicPool, address -> PublicIP; empty: it has port blocks
	publicIPOf     tree[string, string]            // endpoint, which need not exist -> PublicIP
	publicIPByNAT  tree[netip.Addr, string]        // NAT address -> PublicIP

	blockAt       tree[blockKey, string]       // PublicPool, address, first port -> PortBlock
	usedPorts     tree[addressKey, *ports]     // PublicPool, address with port blocks -> which ports they have
	freeRoom      tree[roomKey, struct{}]      // PublicPool, length of the longest block that is free, address with port blocks
	blockRequests tree[blockRequest, struct{}] // VPCs on hosts that wait for a port block

	forwardAt  tree[forwardKey, string] // PublicIP, protocol, port -> Forward
	forwardsTo tree[namePair, *Object]  // endpoint, Forward -> Forward
}

// addressKey is an address of a VPC, a subnet or a PublicPool.
type addressKey struct {
	in      string
	address netip.Addr
}

type macKey struct {
	in  string
	mac MAC
}

type subnetCIDR struct {
	cidr   netip.Prefix
	subnet string
}

// hostEndpoint is an endpoint on a host.
type hostEndpoint struct{ host, endpoint string }

// namePair is two names: the second is one of several that belong to the first.
type namePair struct{ first, second string }

// ownedPrefix is the first address of a CIDR of a pool or of a host's NAT prefix, with its owner.
type ownedPrefix struct {
	first netip.Addr
	of    Key
}

// cursor is the address that was allocated last, and at which revision; for port blocks also the last port. It outlives
// its object, so that a released address is used again only after all others. A server that starts begins at the
// youngest object that still exists.
type cursor struct {
	address  netip.Addr
	port     uint16
	revision int64
}

// NewState is the state at revision 0, without any object.
func NewState() *State {
	s := &State{
		hostAt:          tree[netip.Addr, string]{compare: netip.Addr.Compare},
		vniHolder:       tree[VNI, string]{compare: cmp.Compare[VNI]},
		kinds:           make([]tree[string, *Object], len(Kinds)),
		cidrs:           tree[addressKey, subnetCIDR]{compare: addressKey.compare},
		onHost:          tree[hostEndpoint, *Object]{compare: hostEndpoint.compare},
		endpointAt:      tree[addressKey, string]{compare: addressKey.compare},
		endpointWithMAC: tree[macKey, string]{compare: macKey.compare},
		cursors:         tree[string, cursor]{compare: strings.Compare},

		ownedPrefixes:  tree[ownedPrefix, netip.Prefix]{compare: ownedPrefix.compare},
		nextHops:       tree[netip.Addr, string]{compare: netip.Addr.Compare},
		hostsByRole:    tree[namePair, *Object]{compare: namePair.compare},
		gatewaysByHost: tree[namePair, *Object]{compare: namePair.compare},
		gatewaysByPool: tree[namePair, *Object]{compare: namePair.compare},
		publicIPAt:     tree[addressKey, string]{compare: addressKey.compare},
		publicIPOf:     tree[string, string]{compare: strings.Compare},
		publicIPByNAT:  tree[netip.Addr, string]{compare: netip.Addr.Compare},

		blockAt:       tree[blockKey, string]{compare: blockKey.compare},
		usedPorts:     tree[addressKey, *ports]{compare: addressKey.compare},
		freeRoom:      tree[roomKey, struct{}]{compare: roomKey.compare},
		blockRequests: tree[blockRequest, struct{}]{compare: blockRequest.compare},

		forwardAt:  tree[forwardKey, string]{compare: forwardKey.compare},
		forwardsTo: tree[namePair, *Object]{compare: namePair.compare},
	}
	for i := range s.kinds {
		s.kinds[i].compare = strings.Compare
	}
	return s
}

func (p addressKey) compare(q addressKey) int {
	return cmp.Or(strings.Compare(p.in, q.in), p.address.Compare(q.address))
}

func (p macKey) compare(q macKey) int {
	return cmp.Or(strings.Compare(p.in, q.in), bytes.Compare(p.mac[:], q.mac[:]))
}

func (s hostEndpoint) compare(t hostEndpoint) int {
	return cmp.Or(strings.Compare(s.host, t.host), strings.Compare(s.endpoint, t.endpoint))
}

func (p namePair) compare(q namePair) int {
	return cmp.Or(strings.Compare(p.first, q.first), strings.Compare(p.second, q.second))
}

func (s ownedPrefix) compare(t ownedPrefix) int {
	return cmp.Or(s.first.Compare(t.first), strings.Compare(s.of.Kind, t.of.Kind), strings.Compare(s.of.Name, t.of.Name))
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

// CountUnder is the number of objects that [State.Under] goes over, in logarithmic time.
func (s *State) CountUnder(kind, parent string) int {
	i := kindIndex(kind)
	if i < 0 {
		return 0
	}
	// '0' follows '/' in ASCII: the first name that is not below parent any more
	return s.kinds[i].rank(parent+"0") - s.kinds[i].rank(parent+"/")
}

func secondsOf(index tree[namePair, *Object], first string) iter.Seq[*Object] {
	return func(yield func(*Object) bool) {
		for at, o := range index.from(namePair{first: first}) {
			if at.first != first || !yield(o) {
				return
			}
		}
	}
}

// With is the state at a later revision, after the changes. Deleting an object that does not exist changes nothing, so
// a change may come twice.
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
