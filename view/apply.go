package view

import (
	"maps"
	"net/netip"

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
	for _, host := range d.GonePeers {
		delete(v.Peers, host)
	}
	for _, key := range d.GoneAddresses {
		delete(v.Addresses, key)
	}
	for _, vpc := range d.GoneGateways {
		delete(v.Gateways, vpc)
	}
	for _, address := range d.GonePublics {
		delete(v.Publics, address)
	}
	for _, key := range d.GoneForwards {
		delete(v.Forwards, key)
	}
	for _, key := range d.GoneBlocks {
		delete(v.Blocks, key)
	}
	for _, host := range d.GoneNextHops {
		delete(v.NextHops, host)
	}
	for _, host := range d.GoneHosts {
		delete(v.Hosts, host)
	}
	for _, s := range d.Segments {
		if s.VPC == 0 { // of an older server, or on disk since: it is not routed, for 0 would be every VPC's
			s.VPC = s.VNI
		}
		v.Segments[s.VNI] = s
	}
	for _, p := range d.Peers {
		v.Peers[p.Host] = p
	}
	for _, a := range d.Addresses {
		v.Addresses[a.AddressKey] = a
	}
	for _, g := range d.Gateways {
		v.Gateways[g.VPC] = g
	}
	for _, p := range d.Publics {
		v.Publics[p.Address] = p
	}
	for _, f := range d.Forwards {
		v.Forwards[f.ForwardKey] = f
	}
	for _, b := range d.Blocks {
		v.Blocks[b.BlockKey] = b
	}
	for _, n := range d.NextHops {
		v.NextHops[n.Host] = n
	}
	for _, h := range d.Hosts {
		v.Hosts[h.Host] = h.VTEP
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
		v.Hosts = map[string]netip.Addr{}
	}
}

// Delta is the view as a complete delta, for the wire and for the disk.
func (v *View) Delta(revision int64) Delta {
	d := Delta{Revision: revision, Complete: true, VTEP: v.VTEP}
	for _, s := range v.Segments {
		d.Segments = append(d.Segments, s)
	}
	for _, p := range v.Peers {
		d.Peers = append(d.Peers, p)
	}
	for _, a := range v.Addresses {
		d.Addresses = append(d.Addresses, a)
	}
	for _, g := range v.Gateways {
		d.Gateways = append(d.Gateways, g)
	}
	for _, p := range v.Publics {
		d.Publics = append(d.Publics, p)
	}
	for _, f := range v.Forwards {
		d.Forwards = append(d.Forwards, f)
	}
	for _, b := range v.Blocks {
		d.Blocks = append(d.Blocks, b)
	}
	for _, n := range v.NextHops {
		d.NextHops = append(d.NextHops, n)
	}
	for host, vtep := range v.Hosts {
		d.Hosts = append(d.Hosts, Peer{Host: host, VTEP: vtep})
	}
	d.sort()
	return d
}
