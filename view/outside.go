package view

import (
	"iter"
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

// told is one of what a VPC is reached by from outside: a Public, a Forward or a Block.
type told[K comparable] interface {
	comparable
	key() K
	onHost() string
}

func (p Public) key() netip.Addr  { return p.Address }
func (f Forward) key() ForwardKey { return f.ForwardKey }
func (b Block) key() BlockKey     { return b.BlockKey }
func (p Public) onHost() string   { return p.Host }
func (f Forward) onHost() string  { return f.Host }
func (b Block) onHost() string    { return b.Host }

// teller is how a host is told of one kind of them, of one VPC.
type teller[K comparable, V told[K]] struct {
	touched map[string]bool         // names
	known   map[string]map[string]V // what it has been told, by VPC and name
	now     func(name string) (V, bool)
	own     iter.Seq[string] // names of those of the host and of its endpoints
	all     iter.Seq[*model.Object]
	tell    *[]V
	gone    *[]K
}

func (t *Tracker) tellPublics(host, vpc string, touched *touchedVPC, d *Delta) {
	tellOutside(t, host, vpc, touched.whole, teller[netip.Addr, Public]{touched.publics, t.hosts[host].publics, t.public,
		func(yield func(string) bool) {
			for endpoint := range t.state.EndpointsOnOf(host, vpc) {
				if o := t.state.PublicIPOf(endpoint.Name); o != nil && !yield(o.Name) {
					return
				}
			}
		}, t.state.PublicIPsOf(vpc), &d.Publics, &d.GonePublics})
}

func (t *Tracker) tellForwards(host, vpc string, touched *touchedVPC, d *Delta) {
	tellOutside(t, host, vpc, touched.whole, teller[ForwardKey, Forward]{touched.forwards, t.hosts[host].forwards, t.forward,
		func(yield func(string) bool) {
			for endpoint := range t.state.EndpointsOnOf(host, vpc) {
				for o := range t.state.ForwardsTo(endpoint.Name) {
					if !yield(o.Name) {
						return
					}
				}
			}
		}, t.state.ForwardsOf(vpc), &d.Forwards, &d.GoneForwards})
}

func (t *Tracker) tellBlocks(host, vpc string, touched *touchedVPC, d *Delta) {
	tellOutside(t, host, vpc, touched.whole, teller[BlockKey, Block]{touched.blocks, t.hosts[host].blocks, t.block,
		func(yield func(string) bool) { yield(vpc + "/" + host) }, t.state.PortBlocksOf(vpc), &d.Blocks, &d.GoneBlocks})
}

// tellOutside is about those that were touched, or about all that the host sees or has been told of if it sees others than before.
func tellOutside[K comparable, V told[K]](t *Tracker, host, vpc string, whole bool, o teller[K, V]) {
	was, now := t.hosts[host].sights[vpc], t.sight(host, vpc)
	if was == blind && now == blind {
		return
	}
	known := o.known[vpc]
	if known == nil {
		known = map[string]V{}
		o.known[vpc] = known
	}
	names := o.touched
	if was != now || whole {
		names = o.seen(known, now)
	}
	for name := range names {
		old, had := known[name]
		v, has := o.now(name)
		has = has && (now == all || now == own && v.onHost() == host)
		if had && (!has || old.key() != v.key()) {
			delete(known, name)
			*o.gone = append(*o.gone, old.key())
		}
		if has && (!had || old != v) {
			known[name] = v
			*o.tell = append(*o.tell, v)
		}
	}
	if now == blind {
		delete(o.known, vpc)
	}
}

// seen names those that a host sees, and those that it has been told of.
func (o teller[K, V]) seen(known map[string]V, sight sight) map[string]bool {
	names := map[string]bool{}
	for name := range known {
		names[name] = true
	}
	switch sight {
	case own:
		for name := range o.own {
			names[name] = true
		}
	case all:
		for object := range o.all {
			names[object.Name] = true
		}
	}
	return names
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

// keepHandedOn takes what one public IP, forward or port block has lost and another one has now out of what is gone.
func (d *Delta) keepHandedOn() {
	d.GonePublics = without(d.GonePublics, d.Publics)
	d.GoneForwards = without(d.GoneForwards, d.Forwards)
	d.GoneBlocks = without(d.GoneBlocks, d.Blocks)
}

// without is the keys of what is gone but for those that are told.
func without[K comparable, V told[K]](gone []K, news []V) []K {
	if len(gone) == 0 || len(news) == 0 {
		return gone
	}
	kept := map[K]bool{}
	for _, v := range news {
		kept[v.key()] = true
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
