package view

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/overlane/overlane/model"
)

// Apply turns the view into the one after a delta.
func (v *View) Apply(d Delta) {
	if d.Complete {
		*v = View{Host: v.Host}
	}
	v.init()
	if d.VTEP != (netip.Addr{}) {
		v.VTEP = d.VTEP
	}
	for _, vni := range d.GoneSegments {
		delete(v.Segments, vni)
		maps.DeleteFunc(v.Addresses, func(key AddressKey, _ Address) bool { return key.VNI == vni })
	}
	deleteAll(v.Peers, d.GonePeers)
	deleteAll(v.Addresses, d.GoneAddresses)
	deleteAll(v.Gateways, d.GoneGateways)
	deleteAll(v.Publics, d.GonePublics)
	deleteAll(v.Forwards, d.GoneForwards)
	deleteAll(v.Blocks, d.GoneBlocks)
	deleteAll(v.NextHops, d.GoneNextHops)
	deleteAll(v.Hosts, d.GoneHosts)
	for _, s := range d.Segments {
		if s.VPC == 0 { // of an older server, or on disk since: it is not routed, for 0 would be every VPC's
			s.VPC = s.VNI
		}
		v.Segments[s.VNI] = s
	}
	putAll(v.Peers, d.Peers, func(p Peer) string { return p.Host })
	putAll(v.Addresses, d.Addresses, func(a Address) AddressKey { return a.AddressKey })
	putAll(v.Gateways, d.Gateways, func(g Gateway) model.VNI { return g.VPC })
	putAll(v.Publics, d.Publics, Public.key)
	putAll(v.Forwards, d.Forwards, Forward.key)
	putAll(v.Blocks, d.Blocks, Block.key)
	putAll(v.NextHops, d.NextHops, func(n NextHop) string { return n.Host })
	putAll(v.Hosts, d.Hosts, func(m Machine) string { return m.Host })
}

func deleteAll[K comparable, V any](m map[K]V, keys []K) {
	for _, key := range keys {
		delete(m, key)
	}
}

func putAll[K comparable, V any](m map[K]V, values []V, key func(V) K) {
	for _, v := range values {
		m[key(v)] = v
	}
}

func (v *View) init() {
	if v.Segments == nil {
		v.Segments = map[model.VNI]Segment{}
		v.Peers = map[string]Peer{}
		v.Addresses = map[AddressKey]Address{}
		v.Gateways = map[model.VNI]Gateway{}
		v.Publics = map[netip.Addr]Public{}
		v.Forwards = map[ForwardKey]Forward{}
		v.Blocks = map[BlockKey]Block{}
		v.NextHops = map[string]NextHop{}
		v.Hosts = map[string]Machine{}
	}
}

// Delta is the view as a complete delta, for the wire and for the disk.
func (v *View) Delta(revision int64) Delta {
	d := Delta{Revision: revision, Complete: true, VTEP: v.VTEP}
	d.Segments = slices.Collect(maps.Values(v.Segments))
	d.Peers = slices.Collect(maps.Values(v.Peers))
	d.Addresses = slices.Collect(maps.Values(v.Addresses))
	d.Gateways = slices.Collect(maps.Values(v.Gateways))
	d.Publics = slices.Collect(maps.Values(v.Publics))
	d.Forwards = slices.Collect(maps.Values(v.Forwards))
	d.Blocks = slices.Collect(maps.Values(v.Blocks))
	d.NextHops = slices.Collect(maps.Values(v.NextHops))
	d.Hosts = slices.Collect(maps.Values(v.Hosts))
	d.sort()
	return d
}
