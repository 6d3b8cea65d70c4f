package model

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// A public IP has a NAT address while it needs one (see [State.natOf]). The host through which its endpoint is reached
// changes with the endpoint, the gateway and the host, so a request also changes the public IPs that it affects. While
// a prefix has no free address, endpoints are plugged in without one and get the next one that is released.

// natOf is the host from whose NAT prefix a public IP gets its NAT address, with the prefix, which may be the zero one.
// ok is false if the public IP needs no NAT address.
func (s *State) natOf(spec *PublicIPSpec) (host string, prefix netip.Prefix, ok bool) {
	endpoint, gateway := s.Endpoint(spec.Endpoint), s.InternetGateway(VPCOf(spec.Endpoint))
	if endpoint == nil || endpoint.Host == "" || gateway == nil || gateway.Design != Distributed || s.Host(endpoint.Host) == nil {
		return "", netip.Prefix{}, false
	}
	return endpoint.Host, s.Host(endpoint.Host).NATPrefix, true
}

// assignNATAddresses gives NAT addresses to the public IPs that need one, and takes them from the public IPs that no
// longer do. It is called when every put is in the draft, and adds the public IPs that change to the puts.
func (a *admission) assignNATAddresses() {
	if a.draft.Len("PublicIP") == 0 {
		return
	}
	concerned := map[string]bool{}
	for _, p := range slices.Concat(a.puts...) {
		if p.action() != None {
			a.affected(concerned, p.before, p.after)
		}
	}
	for _, o := range a.deletes {
		a.affected(concerned, o, nil)
	}
	for _, name := range slices.Sorted(maps.Keys(concerned)) {
		a.releaseNAT(name)
	}
	a.affectedWaiting(concerned)
	for _, name := range slices.Sorted(maps.Keys(concerned)) {
		a.allocateNAT(name)
	}
	a.addDerived(concerned)
}

// affected records the public IPs whose NAT address a change may change.
func (a *admission) affected(concerned map[string]bool, before, after *Object) {
	d, o := a.draft, after
	if o == nil {
		o = before
	}
	switch spec := o.Spec.(type) {
	case *PublicIPSpec:
		concerned[o.Name] = true
	case *EndpointSpec:
		if before == nil || after == nil || before.Spec.(*EndpointSpec).Host != spec.Host {
			affectedOne(concerned, d, o.Name)
		}
	case *InternetGatewaySpec:
		if before != nil && after != nil && before.Spec.(*InternetGatewaySpec).Design != spec.Design {
			for pip := range d.PublicIPsOf(o.Name) {
				concerned[pip.Name] = true
			}
		}
	case *HostSpec:
		if before != nil && after != nil && before.Spec.(*HostSpec).NATPrefix != spec.NATPrefix {
			a.affectedOn(concerned, o.Name)
		}
	}
}

func affectedOne(concerned map[string]bool, d *draft, endpoint string) {
	if name, ok := d.publicIPOf.get(endpoint); ok {
		concerned[name] = true
	}
}

func (a *admission) affectedOn(concerned map[string]bool, host string) {
	for o := range a.draft.EndpointsOn(host) {
		affectedOne(concerned, a.draft, o.Name)
	}
}

// affectedWaiting adds the public IPs that wait for a NAT address on a host that had none left, if one was released
// there.
func (a *admission) affectedWaiting(concerned map[string]bool) {
	released := map[string]bool{}
	for name := range concerned {
		was := a.stored.PublicIP(name)
		if was == nil || !was.NATIP.IsValid() {
			continue
		}
		host, _ := a.stored.holderOf(was.NATIP)
		if _, taken := a.draft.publicIPByNAT.get(was.NATIP); !taken && a.stored.natFull(host.Name) {
			released[host.Name] = true
		}
	}
	for host := range released {
		a.affectedOn(concerned, host)
	}
}

// natFull reports whether all NAT addresses of a host are taken.
func (s *State) natFull(host string) bool {
	spec := s.Host(host)
	if spec == nil || !spec.NATPrefix.IsValid() {
		return false
	}
	return s.publicIPByNAT.rank(Broadcast(spec.NATPrefix).Next())-s.publicIPByNAT.rank(spec.NATPrefix.Addr()) == sizeOf(spec.NATPrefix)
}

// releaseNAT takes a NAT address that does not lead to the endpoint's host. An address of a prefix that the host loses
// in this request stays: the host may not lose it.
func (a *admission) releaseNAT(name string) {
	spec := a.draft.PublicIP(name)
	if spec == nil || !spec.NATIP.IsValid() {
		return
	}
	host, prefix, ok := a.draft.natOf(spec)
	was := a.stored.Host(host)
	if ok && (prefix.Contains(spec.NATIP) || was != nil && was.NATPrefix.Contains(spec.NATIP)) {
		return
	}
	a.setNAT(name, netip.Addr{})
}

// allocateNAT gives a NAT address to a public IP that needs one, if there is one.
func (a *admission) allocateNAT(name string) {
	d := a.draft
	spec := d.PublicIP(name)
	if spec == nil || spec.NATIP.IsValid() {
		return
	}
	host, prefix, _ := d.natOf(spec)
	if !prefix.IsValid() {
		return
	}
	free, ok := d.nextFree(Key{"Host", host}, []netip.Prefix{prefix}, func(from, to uint32) uint32 {
		return firstFree(d.publicIPByNAT, func(a netip.Addr) netip.Addr { return a }, from, to)
	})
	if ok {
		a.setNAT(name, free)
	}
}

func (a *admission) setNAT(name string, nat netip.Addr) {
	o := *a.draft.Get(Key{"PublicIP", name})
	spec := *o.Spec.(*PublicIPSpec)
	spec.NATIP, o.Spec = nat, &spec
	a.draft.put(&o)
}

// addDerived brings the puts of public IPs up to date with the draft, and adds the public IPs that change as a
// consequence.
func (a *admission) addDerived(concerned map[string]bool) {
	k := kindIndex("PublicIP")
	for _, p := range a.puts[k] {
		if o := a.draft.Get(p.key()); concerned[p.after.Name] && !a.refused[p.key()] {
			p.after = o
		}
		delete(concerned, p.after.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(concerned)) {
		key := Key{"PublicIP", name}
		if before, after := a.stored.Get(key), a.draft.Get(key); before != nil && after != nil && after != before {
			a.puts[k] = append(a.puts[k], &put{before: before, after: after, derived: true})
		}
	}
}

// keepsNAT refuses a NAT prefix that loses addresses which public IPs have.
func (a *admission) keepsNAT(p *put, was, now netip.Prefix) {
	if !was.IsValid() || was == now {
		return
	}
	lost := func(yield func(*Object) bool) {
		for address, name := range a.draft.publicIPByNAT.from(was.Addr()) {
			if !was.Contains(address) || !now.Contains(address) && !yield(a.draft.Get(Key{"PublicIP", name})) {
				return
			}
		}
	}
	if names, total := namesOf(lost); total > 0 {
		a.refuse(p, "spec.natPrefix", now, fmt.Sprintf("cannot change from %s, of which it has addresses in use by %s: %s", was, count(total, "public IP"), names),
			"keep those addresses in the prefix, or detach the endpoints first")
	}
}
