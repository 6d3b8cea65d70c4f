package view

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/overlane/overlane/model"
)

// sight is which public addresses and port blocks of a VPC a host is told of.
type sight int

const (
	blind sight = iota // none: it has nothing to do with the VPC, or that has no gateway
	own                // its own, and those of its own endpoints
	all                // those of all hosts: it is a passage
)

func (t *Tracker) sight(host, vpc string) sight {
	g, ok := t.gateways[vpc]
	if !ok {
		return blind
	}
	if _, passage := slices.BinarySearch(g.Passages, host); passage {
		return all
	}
	if t.members[vpc][host] > 0 {
		return own
	}
	return blind
}

func (t *Tracker) gateway(vpc string) (g Gateway, ok bool) {
	spec, of := t.state.InternetGateway(vpc), t.state.VPC(vpc)
	if spec == nil || of == nil {
		return g, false
	}
	g = Gateway{VPC: of.TransitVNI, Name: vpc, MTU: of.MTU, Design: spec.Design, SNAT: spec.SNAT, Allow: spec.Allow}
	for o := range t.state.Passages(vpc) {
		g.Passages = append(g.Passages, o.Name)
	}
	slices.Sort(g.Passages)
	return g, true
}

// tellGateway is about the VPC's way outside, of which its passages are told, and the hosts with endpoints of the VPC. It reports whether it was another.
func (t *Tracker) tellGateway(host, vpc string, d *Delta) bool {
	gateways := t.hosts[host].gateways
	old, had := gateways[vpc]
	now, has := t.gateways[vpc]
	has = has && t.sight(host, vpc) != blind
	if had && (!has || old.VPC != now.VPC) {
		delete(gateways, vpc)
		d.GoneGateways = append(d.GoneGateways, old.VPC)
	}
	if !has {
		return had
	}
	if had && reflect.DeepEqual(old, now) {
		return false
	}
	gateways[vpc] = now
	d.Gateways = append(d.Gateways, now)
	return true
}

// tellPublics is about the VPC's public addresses: those that were touched, or all that the host sees if it sees others than before.
func (t *Tracker) tellPublics(host, vpc string, touched *touchedVPC, d *Delta) {
	k := t.hosts[host]
	was, now := k.sights[vpc], t.sight(host, vpc)
	if was == blind && now == blind {
		return
	}
	names := touched.publics
	if was != now || touched.whole {
		names = t.seen(host, vpc, now)
	}
	if k.publics[vpc] == nil {
		k.publics[vpc] = map[string]Public{}
	}
	for name := range names {
		t.tellPublic(host, name, now, k.publics[vpc], d)
	}
	if now == blind {
		delete(k.publics, vpc)
	}
}

// tellBlocks is about the VPC's port blocks, like tellPublics.
func (t *Tracker) tellBlocks(host, vpc string, touched *touchedVPC, d *Delta) {
	k := t.hosts[host]
	was, now := k.sights[vpc], t.sight(host, vpc)
	if was == blind && now == blind {
		return
	}
	names := touched.blocks
	if was != now || touched.whole {
		names = t.seenBlocks(host, vpc, now)
	}
	if k.blocks[vpc] == nil {
		k.blocks[vpc] = map[string]Block{}
	}
	for name := range names {
		t.tellBlock(host, name, now, k.blocks[vpc], d)
	}
	if now == blind {
		delete(k.blocks, vpc)
	}
}

// seenBlocks names the port blocks of a VPC that a host sees, and those that it has been told of.
func (t *Tracker) seenBlocks(host, vpc string, sight sight) map[string]bool {
	names := map[string]bool{}
	for name := range t.hosts[host].blocks[vpc] {
		names[name] = true
	}
	switch sight {
	case own:
		names[vpc+"/"+host] = true
	case all:
		for o := range t.state.PortBlocksOf(vpc) {
			names[o.Name] = true
		}
	}
	return names
}

func (t *Tracker) tellBlock(host, name string, sight sight, known map[string]Block, d *Delta) {
	old, had := known[name]
	now, has := t.block(name)
	has = has && (sight == all || sight == own && now.Host == host)
	if had && (!has || old.BlockKey != now.BlockKey) {
		delete(known, name)
		d.GoneBlocks = append(d.GoneBlocks, old.BlockKey)
	}
	if has && (!had || old != now) {
		known[name] = now
		d.Blocks = append(d.Blocks, now)
	}
}

func (t *Tracker) block(name string) (Block, bool) {
	spec := t.state.PortBlock(name)
	if spec == nil {
		return Block{}, false
	}
	vpc := model.Parent(name)
	return Block{BlockKey: BlockKey{spec.Address, spec.First}, Last: spec.Last, Name: name, VPC: t.gateways[vpc].VPC, Host: strings.TrimPrefix(name, vpc+"/")}, true
}

// look remembers what a host sees of a VPC, once it has been told of it.
func (t *Tracker) look(host, vpc string) {
	if now := t.sight(host, vpc); now == blind {
		delete(t.hosts[host].sights, vpc)
	} else {
		t.hosts[host].sights[vpc] = now
	}
}

// seen names the public addresses of a VPC that a host sees, and those that it has been told of.
func (t *Tracker) seen(host, vpc string, sight sight) map[string]bool {
	names := map[string]bool{}
	for name := range t.hosts[host].publics[vpc] {
		names[name] = true
	}
	switch sight {
	case own:
		for o := range t.state.EndpointsOnOf(host, vpc) {
			if o := t.state.PublicIPOf(o.Name); o != nil {
				names[o.Name] = true
			}
		}
	case all:
		for o := range t.state.PublicIPsOf(vpc) {
			names[o.Name] = true
		}
	}
	return names
}

func (t *Tracker) tellPublic(host, name string, sight sight, known map[string]Public, d *Delta) {
	old, had := known[name]
	now, has := t.public(name)
	has = has && (sight == all || sight == own && now.Host == host)
	if had && (!has || old.Address != now.Address) {
		delete(known, name)
		d.GonePublics = append(d.GonePublics, old.Address)
	}
	if has && (!had || old != now) {
		known[name] = now
		d.Publics = append(d.Publics, now)
	}
}

// keepHandedOn takes what one public IP, forward or port block has lost and another one has now out of what is gone.
func (d *Delta) keepHandedOn() {
	d.GonePublics = without(d.GonePublics, d.Publics, func(p Public) netip.Addr { return p.Address })
	d.GoneForwards = without(d.GoneForwards, d.Forwards, func(f Forward) ForwardKey { return f.ForwardKey })
	d.GoneBlocks = without(d.GoneBlocks, d.Blocks, func(b Block) BlockKey { return b.BlockKey })
}

// without is the keys of what is gone but for those that are told.
func without[K comparable, V any](gone []K, told []V, keyOf func(V) K) []K {
	if len(gone) == 0 || len(told) == 0 {
		return gone
	}
	kept := map[K]bool{}
	for _, v := range told {
		kept[keyOf(v)] = true
	}
	return slices.DeleteFunc(gone, func(key K) bool { return kept[key] })
}

// public is a public address, if its endpoint is plugged in.
func (t *Tracker) public(name string) (Public, bool) {
	spec := t.state.PublicIP(name)
	if spec == nil {
		return Public{}, false
	}
	at, vpc := t.places[spec.Endpoint], model.Parent(name)
	return Public{Address: spec.Address, NATIP: spec.NATIP, Name: name, VPC: t.gateways[vpc].VPC, Endpoint: at.key, Host: at.host}, at.host != ""
}

// tellNextHops names the next hops of its upstream network to a host that has an outside.
func (t *Tracker) tellNextHops(host string, d *Delta) {
	k := t.hosts[host]
	now := map[string]NextHop{}
	if spec := t.state.Host(host); spec != nil && spec.Outside != nil {
		for o := range t.state.HostsUpstream(spec.Outside.Address) {
			if other := o.Spec.(*model.HostSpec).Outside; other.Address.Masked() == spec.Outside.Address.Masked() {
				n := NextHop{Host: o.Name, Address: other.Address, Router: other.Router}
				if o.Name == host {
					n.Interface, n.Drain = other.Interface, other.Drain
				}
				now[o.Name] = n
			}
		}
	}
	t.appointHeirs(now)
	for name, n := range now {
		if old, had := k.nextHops[name]; !had || !reflect.DeepEqual(old, n) {
			d.NextHops = append(d.NextHops, n)
		}
	}
	for name := range k.nextHops {
		if _, ok := now[name]; !ok {
			d.GoneNextHops = append(d.GoneNextHops, name)
		}
	}
	k.nextHops = now
}

// appointHeirs says who may hold each next hop: what upstream sends there may be for any VPC that its own passage leads to, so an heir leads to all of them.
func (t *Tracker) appointHeirs(hops map[string]NextHop) {
	leads := map[string]map[string]bool{} // host -> VPCs
	for vpc, g := range t.gateways {
		for _, host := range g.Passages {
			if leads[host] == nil {
				leads[host] = map[string]bool{}
			}
			leads[host][vpc] = true
		}
	}
	order := slices.Sorted(maps.Keys(hops))
	for i, host := range order {
		n := hops[host]
		n.Heirs = []string{host}
		for _, other := range slices.Concat(order[i+1:], order[:i]) {
			if covers(leads[other], leads[host]) {
				n.Heirs = append(n.Heirs, other)
			}
		}
		hops[host] = n
	}
}

func covers(wide, narrow map[string]bool) bool {
	for vpc := range narrow {
		if !wide[vpc] {
			return false
		}
	}
	return len(narrow) > 0
}
