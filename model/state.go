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

	hostAt          tree[netip.Addr, string]     // VTEP address -> host
	vniHolder       tree[VNI, string]            // -> subnet, or VPC whose transit VNI it is
	cidrs           tree[addressKey, subnetCIDR] // VPC, first address of the CIDR -> CIDR and subnet
	onHost          tree[hostEndpoint, *Object]  // host, endpoint -> endpoint
	endpointAt      tree[addressKey, string]     // subnet, address -> endpoint
	endpointWithMAC tree[macKey, string]         // subnet, MAC -> endpoint
	cursors         tree[string, cursor]         // subnet, "PublicPool NAME", "Host NAME" or "PortBlock POOL" -> where allocation goes on

	ownedPrefixes  tree[ownedPrefix, netip.Prefix] // first address, whose -> CIDR of a PublicPool, or NAT prefix of a host
	nextHops       tree[netip.Addr, string]        // address of the outside -> host
	hostsByRole    tree[namePair, *Object]         // role, host -> host
	gatewaysByHost tree[namePair, *Object]         // host, VPC -> InternetGateway that names the host
	gatewaysByPool tree[namePair, *Object]         // PublicPool, VPC -> InternetGateway that names the pool
	publicIPAt     tree[addressKey, string]        // PublicPool, address -> PublicIP; empty: it has port blocks
	publicIPOf     tree[string, string]            // endpoint, be it there or not -> PublicIP
	publicIPByNAT  tree[netip.Addr, string]        // NAT address -> PublicIP

	blockAt       tree[blockKey, string]       // PublicPool, address, first port -> PortBlock
	usedPorts     tree[addressKey, *ports]     // PublicPool, address with port blocks -> which ports they have
	freeRoom      tree[roomKey, struct{}]      // PublicPool, length of the longest block that is free, address with port blocks
	blockRequests tree[blockRequest, struct{}] // who is to have a port block and has none

	forwardAt  tree[forwardKey, string] // PublicIP, protocol, port -> Forward
	forwardsTo tree[namePair, *Object]  // endpoint, Forward -> Forward
}

// place is an address inside a VPC, a subnet or a PublicPool.
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

// seat is an endpoint on a host.
type hostEndpoint struct{ host, endpoint string }

// pair is two names, the second of several that belong to the first.
type namePair struct{ first, second string }

// span is where addresses of the world outside begin that somebody has.
type ownedPrefix struct {
	first netip.Addr
	of    Key
}

// cursor is the address of the endpoint made last in a subnet, and at which revision; of a port block with its last port. It outlives the endpoint, so that
// a released address rests until all others have had their turn. A server that starts anew begins at the youngest endpoint
// still there.
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

// InternetGateway is the spec of a VPC's gateway; nil if it has none.
func (s *State) InternetGateway(vpc string) *InternetGatewaySpec {
	return specOf[*InternetGatewaySpec](s, "InternetGateway", vpc)
}

// PublicPool is the spec of a pool; nil if there is none of that name.
func (s *State) PublicPool(name string) *PublicPoolSpec {
	return specOf[*PublicPoolSpec](s, "PublicPool", name)
}

// PublicIP is the spec of a public address; nil if there is none of that name.
func (s *State) PublicIP(name string) *PublicIPSpec {
	return specOf[*PublicIPSpec](s, "PublicIP", name)
}

// PortBlock is the spec of a port block, VPC/HOST; nil if there is none of that name.
func (s *State) PortBlock(name string) *PortBlockSpec {
	return specOf[*PortBlockSpec](s, "PortBlock", name)
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

// PortBlocksOf goes over the port blocks of a VPC, by host.
func (s *State) PortBlocksOf(vpc string) iter.Seq[*Object] { return s.Under("PortBlock", vpc) }

// PublicIPsOf goes over the public addresses of a VPC, by name.
func (s *State) PublicIPsOf(vpc string) iter.Seq[*Object] { return s.Under("PublicIP", vpc) }

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
func (s *State) EndpointsOn(host string) iter.Seq[*Object] { return s.endpointsOn(host, "") }

// EndpointsOnOf goes over the endpoints of a VPC or of a subnet on a host, by name.
func (s *State) EndpointsOnOf(host, parent string) iter.Seq[*Object] {
	return s.endpointsOn(host, parent+"/")
}

func (s *State) endpointsOn(host, prefix string) iter.Seq[*Object] {
	return func(yield func(*Object) bool) {
		for at, o := range s.onHost.from(hostEndpoint{host, prefix}) {
			if at.host != host || !strings.HasPrefix(at.endpoint, prefix) || !yield(o) {
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
	return s.onHost.rank(hostEndpoint{host: host + "\x00"}) - s.onHost.rank(hostEndpoint{host: host})
}

// CountOnOf is the number of endpoints of a VPC on a host, in logarithmic time.
func (s *State) CountOnOf(host, vpc string) int {
	return s.onHost.rank(hostEndpoint{host, vpc + "0"}) - s.onHost.rank(hostEndpoint{host, vpc + "/"}) // '0' follows '/' in ASCII
}

// HostAt finds the host with that VTEP address; nil if there is none.
func (s *State) HostAt(address netip.Addr) *Object {
	name, _ := s.hostAt.get(address)
	return s.Get(Key{"Host", name})
}

// SubnetOf finds the subnet of a VNI; nil if there is none.
func (s *State) SubnetOf(vni VNI) *Object {
	name, _ := s.vniHolder.get(vni)
	return s.Get(Key{"Subnet", name})
}

// EndpointAt finds the endpoint that has an address of a subnet; nil if there is none.
func (s *State) EndpointAt(subnet string, address netip.Addr) *Object {
	name, _ := s.endpointAt.get(addressKey{subnet, address})
	return s.Get(Key{"Endpoint", name})
}

// EndpointWithMAC finds the endpoint that has a MAC of a subnet; nil if there is none.
func (s *State) EndpointWithMAC(subnet string, mac MAC) *Object {
	name, _ := s.endpointWithMAC.get(macKey{subnet, mac})
	return s.Get(Key{"Endpoint", name})
}

// PublicIPOf finds the public address that names an endpoint, whether that is there or not; nil if there is none.
func (s *State) PublicIPOf(endpoint string) *Object {
	name, _ := s.publicIPOf.get(endpoint)
	return s.Get(Key{"PublicIP", name})
}

// PublicIPAt finds who has a public address; nil if nobody has.
func (s *State) PublicIPAt(address netip.Addr) *Object {
	pool, _ := s.holderOf(address)
	name, _ := s.publicIPAt.get(addressKey{pool.Name, address})
	return s.Get(Key{"PublicIP", name})
}

// PublicIPWithNAT finds the public address that has a NAT address; nil if there is none.
func (s *State) PublicIPWithNAT(address netip.Addr) *Object {
	name, _ := s.publicIPByNAT.get(address)
	return s.Get(Key{"PublicIP", name})
}

// holderOf is the PublicPool or the host, by its NAT prefix, that an address of the world outside belongs to.
func (s *State) holderOf(address netip.Addr) (Key, bool) {
	if !address.Is4() {
		return Key{}, false
	}
	at, cidr, _ := s.ownedPrefixes.at(s.ownedPrefixes.rank(ownedPrefix{first: address.Next()}) - 1)
	return at.of, cidr.IsValid() && cidr.Contains(address)
}

// Outer tells whether an address is one of the world outside that is given to endpoints, or of those that stand for them on the underlay: no host has it.
func (s *State) Outer(address netip.Addr) bool {
	_, held := s.holderOf(address)
	return held
}

// HostsWithRole goes over the hosts that have a role, by name.
func (s *State) HostsWithRole(role string) iter.Seq[*Object] { return secondsOf(s.hostsByRole, role) }

// gatewaysOver goes over the InternetGateways that name a host, by VPC.
func (s *State) gatewaysOver(host string) iter.Seq[*Object] { return secondsOf(s.gatewaysByHost, host) }

func secondsOf(index tree[namePair, *Object], first string) iter.Seq[*Object] {
	return func(yield func(*Object) bool) {
		for at, o := range index.from(namePair{first: first}) {
			if at.first != first || !yield(o) {
				return
			}
		}
	}
}

// gatewaysFrom goes over the InternetGateways that name a pool, by VPC.
func (s *State) gatewaysFrom(pool string) iter.Seq[*Object] { return secondsOf(s.gatewaysByPool, pool) }

// gatewayOf is the InternetGateway of a VPC, if it has one.
func (s *State) gatewayOf(vpc string) iter.Seq[*Object] {
	return func(yield func(*Object) bool) {
		if o := s.Get(Key{"InternetGateway", vpc}); o != nil {
			yield(o)
		}
	}
}

// GatewayHosts goes over the hosts that the public traffic of a VPC passes, by name or in the order of the gateway's spec; nobody if it has no gateway.
func (s *State) GatewayHosts(vpc string) iter.Seq[*Object] {
	spec := s.InternetGateway(vpc)
	if spec == nil {
		return func(func(*Object) bool) {}
	}
	if len(spec.Hosts) == 0 {
		return s.HostsWithRole(spec.Role())
	}
	return func(yield func(*Object) bool) {
		for _, name := range spec.Hosts {
			if o := s.Get(Key{"Host", name}); o != nil && !yield(o) {
				return
			}
		}
	}
}

// Passages goes over those of [State.GatewayHosts] that have an outside.
func (s *State) Passages(vpc string) iter.Seq[*Object] {
	return func(yield func(*Object) bool) {
		for o := range s.GatewayHosts(vpc) {
			if o.Spec.(*HostSpec).Outside != nil && !yield(o) {
				return
			}
		}
	}
}

// HostsUpstream goes over the hosts whose outside is of an upstream network, by their next hops.
func (s *State) HostsUpstream(network netip.Prefix) iter.Seq[*Object] {
	return func(yield func(*Object) bool) {
		for address, host := range s.nextHops.from(network.Masked().Addr()) {
			if !network.Contains(address) || !yield(s.Get(Key{"Host", host})) {
				return
			}
		}
	}
}

// publicIn goes over the public addresses that are of a pool, by address.
func (s *State) publicIn(pool string) iter.Seq[*Object] {
	return func(yield func(*Object) bool) {
		for at, name := range s.publicIPAt.from(addressKey{in: pool}) {
			if at.in != pool || name != "" && !yield(s.Get(Key{"PublicIP", name})) {
				return
			}
		}
	}
}

// countPublicIn is the number of addresses of a pool that have a public IP or port blocks, in logarithmic time.
func (s *State) countPublicIn(pool string) int {
	return s.publicIPAt.rank(addressKey{in: pool + "\x00"}) - s.publicIPAt.rank(addressKey{in: pool})
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
