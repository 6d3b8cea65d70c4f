package model

import (
	"fmt"
	"iter"
	"net/netip"
)

// PublicIPSpec is a public address of a VPC that has an InternetGateway. Its name is VPC/PUBLICIP.
//
// Endpoint is only a name: the endpoint need not exist, and may come back by the same name. An update without Endpoint
// takes the address from its endpoint; an update without Pool and Address keeps both. A put's NATIP is ignored.
type PublicIPSpec struct {
	Pool     string     `json:"pool,omitempty" doc:"PublicPool that the address is of." default:"the pool that has the address, else the only pool there is" kept:"true" example:"world"`
	Address  netip.Addr `json:"address,omitzero" doc:"Address inside the pool. Unique." default:"the next free one" kept:"true" example:"198.51.100.2"`
	Endpoint string     `json:"endpoint,omitempty" doc:"Endpoint of the same VPC that has the address, VPC/SUBNET/ENDPOINT. It need not exist yet. An endpoint has at most one public IP." default:"none: reserved for later" example:"blue/web/web1"`
	NATIP    netip.Addr `json:"natIP,omitzero" doc:"Address out of the natPrefix of the endpoint's host, by which edges reach the endpoint. For the distributed design. It changes when the endpoint moves." default:"allocated" kept:"true" by:"Overlane"`
}

var publicIPKind = Kind{
	Name: "PublicIP", Plural: "publicips", Short: "pip", Path: []string{"VPC", "PUBLICIP"},
	Doc:       "A public address of the VPC, for one endpoint or for forwards.",
	New:       func() Spec { return new(PublicIPSpec) },
	NewStatus: func() any { return new(PublicIPStatus) },
	Columns: []Column{
		{"NAME", func(o Object) string { return o.Name }},
		{"ADDRESS", column(func(s *PublicIPSpec) any { return s.Address })},
		{"ENDPOINT", column(func(s *PublicIPSpec) any { return s.Endpoint })},
		{"NAT-IP", column(func(s *PublicIPSpec) any { return s.NATIP })},
		{"HOST", statusColumn(func(s *PublicIPStatus) any { return s.Host })},
		{"STATE", statusColumn(func(s *PublicIPStatus) any { return s.State })},
		{"REASON", statusColumn(func(s *PublicIPStatus) any { return s.Reason })},
	},
	admit:     admitPublicIPs,
	derive:    (*admission).assignNATAddresses,
	summarise: summarisePublicIP,
	users:     []users{{"forward", (*State).ForwardsAt}},
}

// Check requires an IPv4 address, if one is given, and well-formed names of a pool and of an endpoint of the VPC.
func (s *PublicIPSpec) Check(name string) Problems {
	f := findingsOf(Key{"PublicIP", name})
	if s.Pool != "" {
		f.part("spec.pool", s.Pool)
	}
	if s.Address.IsValid() && !s.Address.Is4() {
		f.add("spec.address", s.Address, "is IPv6, which public pools do not have yet", "give an IPv4 address, or leave it out")
	}
	if s.Endpoint != "" {
		f.ofVPC("spec.endpoint", s.Endpoint, "VPC/SUBNET/ENDPOINT", "an endpoint", "the public IP", VPCOf(name))
	}
	return f.problems
}

func (s *PublicIPSpec) copy() Spec { c := *s; return &c }

func (s *PublicIPSpec) setDefaults(stored Spec) {
	was, _ := stored.(*PublicIPSpec)
	if was == nil {
		s.NATIP = netip.Addr{}
		return
	}
	s.NATIP = was.NATIP
	if !s.Address.IsValid() && (s.Pool == "" || s.Pool == was.Pool) {
		s.Address = was.Address
	}
	if s.Pool == "" && s.Address == was.Address {
		s.Pool = was.Pool
	}
}

func (s *PublicIPSpec) index(d *draft, o, before *Object) {
	var was PublicIPSpec
	if before != nil {
		was = *before.Spec.(*PublicIPSpec)
	}
	d.publicIPAt.put(d.edit, addressKey{s.Pool, s.Address}, o.Name)
	if was.Address != s.Address {
		d.advance(Key{"PublicPool", s.Pool}.String(), s.Address, o.Revision)
	}
	if s.Endpoint != "" {
		d.publicIPOf.put(d.edit, s.Endpoint, o.Name)
	}
	if s.NATIP.IsValid() {
		d.publicIPByNAT.put(d.edit, s.NATIP, o.Name)
		if host, ok := d.holderOf(s.NATIP); ok && was.NATIP != s.NATIP {
			d.advance(host.String(), s.NATIP, o.Revision)
		}
	}
}

func (s *PublicIPSpec) unindex(d *draft, o, _ *Object) {
	release(d, &d.publicIPAt, addressKey{s.Pool, s.Address}, o.Name)
	release(d, &d.publicIPOf, s.Endpoint, o.Name)
	release(d, &d.publicIPByNAT, s.NATIP, o.Name)
}

// admitPublicIPs requires that every public IP has an address of its pool for itself, and that no endpoint has two.
// Addresses that the request fixes are claimed before any is allocated.
func admitPublicIPs(a *admission, puts []*put) {
	puts = a.withAbove(puts, "InternetGateway", VPCOf)
	for _, p := range puts {
		if p.before != nil {
			p.before.Spec.unindex(a.draft, p.before, p.after)
		}
	}
	for _, p := range puts {
		spec := p.after.Spec.(*PublicIPSpec)
		a.claimEndpoint(p, spec)
		if a.choosePool(p, &spec.Pool, spec.Address) {
			a.claimPublic(p, spec)
		}
	}
	puts = a.accepted(puts)
	for _, p := range puts {
		a.allocatePublic(p, p.after.Spec.(*PublicIPSpec))
	}
	for _, p := range a.accepted(puts) {
		a.draft.put(p.after)
		a.afterPuts(func() { a.keepsPorts(p, p.after.Spec.(*PublicIPSpec)) })
	}
}

// claimEndpoint judges the endpoint that a public IP names, and takes it.
func (a *admission) claimEndpoint(p *put, spec *PublicIPSpec) {
	if spec.Endpoint == "" {
		return
	}
	if other, taken := a.draft.publicIPOf.get(spec.Endpoint); taken {
		a.refuse(p, "spec.endpoint", spec.Endpoint, "has PublicIP "+other+" already", "name another endpoint, or take that one from it first")
		return
	}
	a.draft.publicIPOf.put(a.draft.edit, spec.Endpoint, p.after.Name)
}

// choosePool judges the pool that an object names, or chooses one if it names none: the pool of the object's address,
// if it has one. It reports false if there is none.
func (a *admission) choosePool(p *put, pool *string, address netip.Addr) bool {
	if *pool == "" {
		*pool = a.defaultPool(p, address)
	}
	key := Key{"PublicPool", *pool}
	switch {
	case a.refused[p.key()]:
		return false
	case a.refused[key]:
		a.refused[p.key()] = true
		return false
	case a.draft.PublicPool(*pool) == nil:
		reason, remedy := a.absent(key)
		a.refuse(p, "spec.pool", *pool, reason, remedy)
		return false
	}
	return true
}

// defaultPool is the pool that the address is in, or the only one.
func (a *admission) defaultPool(p *put, address netip.Addr) string {
	if pool, ok := a.draft.holderOf(address); ok && pool.Kind == "PublicPool" {
		return pool.Name
	}
	for key := range a.refused {
		if key.Kind == "PublicPool" {
			a.refused[p.key()] = true
			return ""
		}
	}
	names, total := namesOf(a.draft.List("PublicPool"))
	switch {
	case total == 0:
		a.refuse(p, "spec.pool", nil, "is missing, and there is no PublicPool", "create one first, or in the same request")
	case total == 1:
		return names
	case address.IsValid():
		a.refuse(p, "spec.address", address, "is in none of the public pools: "+names, "choose an address of one of them, or leave it out and name a pool")
	default:
		a.refuse(p, "spec.pool", nil, "is missing, and there are "+count(total, "public pool")+": "+names, "name one of them")
	}
	return ""
}

// claimPublic judges the address that a public IP names, and takes it.
func (a *admission) claimPublic(p *put, spec *PublicIPSpec) {
	if !spec.Address.IsValid() {
		return
	}
	pool := a.draft.PublicPool(spec.Pool)
	at := addressKey{spec.Pool, spec.Address}
	other, taken := a.draft.publicIPAt.get(at)
	network, end := a.draft.upstreamEnd(spec.Address)
	switch {
	case !pool.contains(spec.Address):
		a.refuse(p, "spec.address", spec.Address, fmt.Sprintf("is not in PublicPool %s (%s)", spec.Pool, prefixes(pool.CIDRs)),
			"choose a free address of the pool, or leave it out")
	case taken && other == "":
		a.refuse(p, "spec.address", spec.Address, "has ports that are leased to PortBlock "+a.draft.lesseeOf(at), "choose a free address of the pool, or leave it out")
	case taken:
		a.refuse(p, "spec.address", spec.Address, "is the address of PublicIP "+other, "choose a free address of the pool, or leave it out")
	case end && p.before == nil:
		a.refuse(p, "spec.address", spec.Address, "is the network or broadcast address of the upstream network "+network.String(), "choose a free address of the pool, or leave it out")
	default:
		a.draft.publicIPAt.put(a.draft.edit, at, p.after.Name)
	}
}

// allocatePublic gives an address to a public IP that has none.
func (a *admission) allocatePublic(p *put, spec *PublicIPSpec) {
	if spec.Address.IsValid() {
		return
	}
	pool, d := a.draft.PublicPool(spec.Pool), a.draft
	address, ok := d.nextPublic(spec.Pool, pool)
	if !ok {
		a.refuse(p, "spec.address", nil, fmt.Sprintf("cannot be allocated: PublicPool %s has all of its %s taken", spec.Pool, count(pool.capacity(), "address")),
			"delete public IPs that are no longer needed, or add a CIDR to the pool")
		return
	}
	spec.Address = address
	d.publicIPAt.put(d.edit, addressKey{spec.Pool, address}, p.after.Name)
}

// nextPublic is the address of a pool to allocate next. ok is false if there is none.
func (d *draft) nextPublic(name string, pool *PublicPoolSpec) (netip.Addr, bool) {
	return d.nextFree(Key{"PublicPool", name}, pool.CIDRs, func(from, to uint32) uint32 {
		for {
			free := firstFree(d.publicIPAt, func(a netip.Addr) addressKey { return addressKey{name, a} }, from, to)
			if _, end := d.upstreamEnd(addressOf(free)); !end || free > to {
				return free
			}
			from = free + 1
		}
	})
}

// upstreamEnd is the upstream network whose network or broadcast address a public address is: no host of that network
// could reach it. ok is false if there is none.
func (d *draft) upstreamEnd(address netip.Addr) (network netip.Prefix, ok bool) {
	i := d.nextHops.rank(address)
	for _, near := range []int{i - 1, i} {
		if _, host, ok := d.nextHops.at(near); ok {
			network = d.Host(host).Outside.Address.Masked()
			if address == network.Addr() || address == Broadcast(network) {
				return network, true
			}
		}
	}
	return network, false
}

// PublicIP is the spec of a public address; nil if there is none of that name.
func (s *State) PublicIP(name string) *PublicIPSpec {
	return specOf[*PublicIPSpec](s, "PublicIP", name)
}

// PublicIPsOf goes over the public addresses of a VPC, by name.
func (s *State) PublicIPsOf(vpc string) iter.Seq[*Object] { return s.Under("PublicIP", vpc) }

// PublicIPOf finds the public address that names an endpoint; nil if there is none. The endpoint need not exist.
func (s *State) PublicIPOf(endpoint string) *Object {
	name, _ := s.publicIPOf.get(endpoint)
	return s.Get(Key{"PublicIP", name})
}

// PublicIPAt finds the PublicIP with a public address; nil if there is none.
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
