package model

import (
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
)

// PublicPoolSpec is public addresses for PublicIPs and PortBlocks. The first and the last address of a CIDR are used as
// well: each address is routed on its own.
type PublicPoolSpec struct {
	CIDRs []netip.Prefix `json:"cidrs" doc:"Addresses of the pool. Disjoint from each other, from other pools, and from hosts' addresses and NAT prefixes. A CIDR with addresses in use cannot be left out." allowed:"/8 to /32" example:"[198.51.100.0/28]"`
}

var publicPoolKind = Kind{
	Name: "PublicPool", Plural: "publicpools", Short: "pool", Path: []string{"POOL"},
	Doc:       "Public addresses, from which public IPs and port blocks are allocated.",
	New:       func() Spec { return new(PublicPoolSpec) },
	NewStatus: func() any { return new(PublicPoolStatus) },
	Columns: []Column{
		{"NAME", func(o Object) string { return o.Name }},
		{"CIDRS", column(func(s *PublicPoolSpec) any { return prefixes(s.CIDRs) })},
		{"SIZE", statusColumn(func(s *PublicPoolStatus) any { return s.Size })},
		{"USED", statusColumn(func(s *PublicPoolStatus) any { return s.Used })},
		{"SNAT", statusColumn(func(s *PublicPoolStatus) any { return s.SNAT })},
		{"FREE", statusColumn(func(s *PublicPoolStatus) any { return s.Free })},
	},
	admit:     admitPublicPools,
	summarise: summarisePool,
	users:     []users{{"public IP", (*State).publicIn}, {"internet gateway", (*State).gatewaysFrom}},
}

// prefixes are CIDRs as they are written in a list.
func prefixes(cidrs []netip.Prefix) string {
	texts := make([]string, len(cidrs))
	for i, c := range cidrs {
		texts[i] = c.String()
	}
	return strings.Join(texts, ",")
}

// Check requires disjoint IPv4 CIDRs of unicast addresses without host bits.
func (s *PublicPoolSpec) Check(name string) Problems {
	f := findingsOf(Key{"PublicPool", name})
	if len(s.CIDRs) == 0 {
		f.add("spec.cidrs", nil, "is missing", "write it like [203.0.113.0/24]")
	}
	for _, c := range s.CIDRs {
		f.cidr("spec.cidrs", c, 32, "public pools")
	}
	sorted := slices.SortedFunc(slices.Values(s.CIDRs), comparePrefixes)
	for i := 1; i < len(sorted) && len(f.problems) == 0; i++ {
		if sorted[i].Overlaps(sorted[i-1]) {
			f.add("spec.cidrs", sorted[i], "overlaps "+sorted[i-1].String()+" of the same pool", "leave one out")
		}
	}
	return f.problems
}

func comparePrefixes(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) }

func (s *PublicPoolSpec) contains(a netip.Addr) bool {
	return slices.ContainsFunc(s.CIDRs, func(c netip.Prefix) bool { return c.Contains(a) })
}

// capacity is how many addresses there are.
func (s *PublicPoolSpec) capacity() (n int) {
	for _, c := range s.CIDRs {
		n += sizeOf(c)
	}
	return n
}

// sizeOf is how many addresses an IPv4 CIDR has.
func sizeOf(cidr netip.Prefix) int { return 1 << (32 - cidr.Bits()) }

func (s *PublicPoolSpec) copy() Spec { c := *s; return &c }

func (s *PublicPoolSpec) setDefaults(Spec) {}

func (s *PublicPoolSpec) index(d *draft, o, _ *Object) {
	for _, c := range s.CIDRs {
		d.ownedPrefixes.put(d.edit, ownedPrefix{c.Addr(), o.Key()}, c)
	}
}

func (s *PublicPoolSpec) unindex(d *draft, o, after *Object) {
	for _, c := range s.CIDRs {
		d.ownedPrefixes.remove(d.edit, ownedPrefix{c.Addr(), o.Key()})
	}
	if after == nil {
		d.cursors.remove(d.edit, o.Key().String())
		d.cursors.remove(d.edit, Key{"PortBlock", o.Name}.String())
	}
}

// admitPublicPools requires that pools are disjoint from other pools, NAT prefixes and hosts' addresses, and keep the
// addresses that are in use.
func admitPublicPools(a *admission, puts []*put) {
	for _, p := range puts {
		a.draft.put(p.after)
		a.afterPuts(func() {
			for _, c := range p.after.Spec.(*PublicPoolSpec).CIDRs {
				a.disjoint(p, "spec.cidrs", c)
			}
			a.keepsPublic(p)
		})
	}
}

// keepsPublic refuses a pool that loses addresses which public IPs or port blocks have.
func (a *admission) keepsPublic(p *put) {
	spec := p.after.Spec.(*PublicPoolSpec)
	public := func(yield func(*Object) bool) {
		for o := range a.draft.publicIn(p.after.Name) {
			if !spec.contains(o.Spec.(*PublicIPSpec).Address) && !yield(o) {
				return
			}
		}
	}
	if names, total := namesOf(public); total > 0 {
		a.refuse(p, "spec.cidrs", prefixes(spec.CIDRs),
			fmt.Sprintf("leaves out addresses of %s: %s", count(total, "public IP"), names), "delete "+itOrThem(total)+" first, or keep their CIDR")
	}
	leased := func(yield func(*Object) bool) {
		for o := range a.draft.blocksFrom(addressKey{in: p.after.Name}) {
			if !spec.contains(o.Spec.(*PortBlockSpec).Address) && !yield(o) {
				return
			}
		}
	}
	if names, total := namesOf(leased); total > 0 {
		a.refuse(p, "spec.cidrs", prefixes(spec.CIDRs), fmt.Sprintf("leaves out addresses of %s: %s", count(total, "port block"), names),
			"have the VPCs' InternetGateways name another pool first, or keep their CIDR")
	}
}

// disjoint refuses a CIDR of a pool, or a NAT prefix, that overlaps another one or has a host's address in it. It is
// called when every put is in the draft. All other CIDRs are disjoint, so it compares with the neighbours in the index
// only.
func (a *admission) disjoint(p *put, field string, cidr netip.Prefix) {
	d := a.draft
	i := d.ownedPrefixes.rank(ownedPrefix{cidr.Addr(), p.key()})
	for _, near := range []int{i - 1, i + 1} {
		if at, other, ok := d.ownedPrefixes.at(near); ok && at.of != p.key() && other.Overlaps(cidr) {
			a.refuse(p, field, cidr, fmt.Sprintf("overlaps %s of %s", other, at.of), "choose a CIDR outside "+other.String())
			return
		}
	}
	if a.disjointFrom(p, field, cidr, d.hostAt, "the address of") && a.disjointFrom(p, field, cidr, d.nextHops, "the next hop that leads to") {
		a.disjointFromRouters(p, field, cidr)
	}
}

// disjointFromRouters refuses a CIDR that has an upstream router in it: border hosts would answer ARP for the router.
func (a *admission) disjointFromRouters(p *put, field string, cidr netip.Prefix) {
	for _, host := range a.draft.nextHops.from(netip.IPv4Unspecified()) {
		if router := a.draft.Host(host).Outside.Router; cidr.Contains(router) {
			a.refuse(p, field, cidr, fmt.Sprintf("has %s in it, the upstream router of Host %s", router, host), "choose a CIDR without it")
			return
		}
	}
}

// disjointFrom refuses a CIDR that has an address of a host in it; what names the kind of address. It reports whether
// the CIDR has none.
func (a *admission) disjointFrom(p *put, field string, cidr netip.Prefix, hosts tree[netip.Addr, string], what string) bool {
	for address, host := range hosts.from(cidr.Addr()) {
		if cidr.Contains(address) {
			a.refuse(p, field, cidr, fmt.Sprintf("has %s in it, %s Host %s", address, what, host), "choose a CIDR without it")
			return false
		}
		break
	}
	return true
}

// PublicPool is the spec of a pool; nil if there is none of that name.
func (s *State) PublicPool(name string) *PublicPoolSpec {
	return specOf[*PublicPoolSpec](s, "PublicPool", name)
}

// holderOf is the PublicPool that a public address belongs to, or the host whose NAT prefix an address belongs to.
func (s *State) holderOf(address netip.Addr) (Key, bool) {
	if !address.Is4() {
		return Key{}, false
	}
	at, cidr, _ := s.ownedPrefixes.at(s.ownedPrefixes.rank(ownedPrefix{first: address.Next()}) - 1)
	return at.of, cidr.IsValid() && cidr.Contains(address)
}

// Outer reports whether an address belongs to a public pool or to a NAT prefix; no host has such an address.
func (s *State) Outer(address netip.Addr) bool {
	_, held := s.holderOf(address)
	return held
}

// publicIn goes over the PublicIPs of a pool, by address.
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
