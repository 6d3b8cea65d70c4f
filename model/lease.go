package model

import (
	"iter"
	"maps"
	"slices"
)

// A port block is leased to the endpoints of a VPC on a host, from the first that is plugged in there to the last one,
// as long as the VPC's gateway translates in the central design. Admission makes and deletes it as a consequence of
// other changes. While a pool has no free block, endpoints are plugged in without one and get the next one that is
// released.

// leases reports whether the gateway's VPC is to have port blocks. A gateway that was put while no pool existed has
// none.
func (s *InternetGatewaySpec) leases() bool {
	return s.Design == Central && s.SNAT && s.Pool != "" && validBlockSize(s.PortsPerHost)
}

// leasesLike reports whether two gateways lease the same blocks; nil leases none.
func (s *InternetGatewaySpec) leasesLike(t *InternetGatewaySpec) bool {
	if s == nil || t == nil || !s.leases() || !t.leases() {
		return (s == nil || !s.leases()) == (t == nil || !t.leases())
	}
	return s.Pool == t.Pool && s.PortsPerHost == t.PortsPerHost
}

// updateRequest records whether a VPC on a host waits for a port block; has reports whether it has one.
func (d *draft) updateRequest(vpc, host string, has bool) {
	gateway := d.InternetGateway(vpc)
	if gateway == nil || !gateway.leases() {
		return
	}
	at := blockRequest{gateway.Pool, gateway.PortsPerHost, vpc + "/" + host}
	if !has && d.hasEndpoints(host, vpc) {
		d.blockRequests.put(d.edit, at, struct{}{})
	} else {
		d.blockRequests.remove(d.edit, at)
	}
}

// updateRequestOn is updateRequest for an endpoint that comes to a host or leaves it.
func (d *draft) updateRequestOn(endpoint, host string) {
	if d.gatewaysByPool.len() == 0 {
		return
	}
	if vpc := VPCOf(endpoint); d.InternetGateway(vpc) != nil {
		d.updateRequest(vpc, host, d.PortBlock(vpc+"/"+host) != nil)
	}
}

// hostsWaiting goes over the VPC's hosts that wait for a port block, by name.
func (s *State) hostsWaiting(vpc string, gateway *InternetGatewaySpec) iter.Seq[string] {
	return func(yield func(string) bool) {
		for at := range s.blockRequests.from(blockRequest{gateway.Pool, gateway.PortsPerHost, vpc + "/"}) {
			if at.pool != gateway.Pool || at.size != gateway.PortsPerHost || VPCOf(at.block) != vpc || !yield(HostOf(at.block)) {
				return
			}
		}
	}
}

// reclaimBlocks removes from the draft the port blocks whose lease ends or changes, before public IPs get addresses.
func reclaimBlocks(a *admission, _ []*put) {
	if a.draft.blockAt.len() == 0 && a.draft.blockRequests.len() == 0 {
		return
	}
	a.lessors, a.leased = map[string]bool{}, map[string]bool{}
	for _, p := range slices.Concat(a.puts...) {
		if p.action() != None {
			a.reclaim(p.before, p.after)
		}
	}
	for _, o := range a.deletes {
		a.reclaim(o, nil)
	}
}

// reclaim removes the blocks whose lease a change ends, and records the pools that may have a block to lease.
func (a *admission) reclaim(before, after *Object) {
	o := after
	if o == nil {
		o = before
	}
	switch o.Spec.(type) {
	case *EndpointSpec:
		a.reclaimOn(o.Name, hostIn(before), hostIn(after))
	case *InternetGatewaySpec:
		a.reclaimOf(o.Name, gatewayIn(before), gatewayIn(after))
	case *PublicPoolSpec:
		a.lessors[o.Name] = true
	case *PublicIPSpec:
		if before != nil {
			a.lessors[before.Spec.(*PublicIPSpec).Pool] = true
		}
	}
}

func hostIn(endpoint *Object) string {
	if endpoint == nil {
		return ""
	}
	return endpoint.Spec.(*EndpointSpec).Host
}

func gatewayIn(o *Object) *InternetGatewaySpec {
	if o == nil {
		return nil
	}
	return o.Spec.(*InternetGatewaySpec)
}

// reclaimOn removes the VPC's block on a host that its last endpoint has left.
func (a *admission) reclaimOn(endpoint, was, now string) {
	vpc := VPCOf(endpoint)
	gateway := a.draft.InternetGateway(vpc)
	if was == now || gateway == nil || !gateway.leases() {
		return
	}
	a.lessors[gateway.Pool] = true
	if was != "" && !a.draft.hasEndpoints(was, vpc) {
		a.reclaimBlock(vpc + "/" + was)
	}
}

// reclaimOf removes the blocks of a VPC whose gateway now leases other blocks, or none.
func (a *admission) reclaimOf(vpc string, was, now *InternetGatewaySpec) {
	if was.leasesLike(now) {
		return
	}
	if now != nil {
		a.lessors[now.Pool] = true
	}
	for _, o := range slices.Collect(a.draft.Under("PortBlock", vpc)) {
		a.reclaimBlock(o.Name)
	}
}

func (a *admission) reclaimBlock(name string) {
	if spec := a.draft.PortBlock(name); spec != nil {
		a.lessors[spec.Pool] = true
		a.leased[name] = true
		a.draft.remove(Key{"PortBlock", name})
	}
}

// leaseBlocks leases port blocks to the VPCs and hosts that wait, from the pools where a block may have become free or
// a new request may wait. It is called when every put is in the draft, and adds the blocks that come or change to the
// puts.
func (a *admission) leaseBlocks() {
	if len(a.lessors) == 0 {
		return
	}
	for _, pool := range slices.Sorted(maps.Keys(a.lessors)) {
		for size := MaxPortsPerHost; size >= MinPortsPerHost; size /= 2 {
			a.leaseBlocksOf(pool, size)
		}
	}
	k := kindIndex("PortBlock")
	for _, name := range slices.Sorted(maps.Keys(a.leased)) {
		before, after := a.stored.Get(Key{"PortBlock", name}), a.draft.Get(Key{"PortBlock", name})
		if after != nil {
			a.puts[k] = append(a.puts[k], &put{before: before, after: after, derived: true})
		} else {
			a.ended = append(a.ended, before)
		}
	}
}

// leaseBlocksOf leases blocks of one length until the pool has none, or no request waits.
func (a *admission) leaseBlocksOf(pool string, size int) {
	d := a.draft
	for {
		at, _, ok := d.blockRequests.at(d.blockRequests.rank(blockRequest{pool, size, ""}))
		if !ok || at.pool != pool || at.size != size {
			return
		}
		spec, ok := d.freeBlock(pool, size)
		if !ok {
			return
		}
		o := &Object{Kind: "PortBlock", Name: at.block, Spec: spec}
		if stored := a.stored.Get(o.Key()); stored != nil {
			o.Revision = stored.Revision
		}
		a.leased[at.block] = true
		d.put(o)
	}
}
