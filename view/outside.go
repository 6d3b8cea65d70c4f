package view

import (
	"net/netip"
	"reflect"
	"slices"

	"github.com/overlane/overlane/model"
)

// sight is which public addresses of a VPC a host is told of.
type sight int

const (
	blind sight = iota // none: it has nothing to do with the VPC, or that has no gateway
	own                // those of its own endpoints
	all                // those whose endpoint is plugged in anywhere: it is a passage
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
	g = Gateway{VPC: of.TransitVNI, Name: vpc, Design: spec.Design, SNAT: spec.SNAT, Allow: spec.Allow}
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

// tellPublics is about the VPC's public addresses and forwarded ports: those that were touched, or all that the host sees if it sees others than before.
func (t *Tracker) tellPublics(host, vpc string, touched *touchedVPC, d *Delta) {
	k := t.hosts[host]
	was, now := k.sights[vpc], t.sight(host, vpc)
	if was == blind && now == blind {
		return
	}
	publics, forwards := touched.publics, touched.forwards
	if was != now || touched.whole {
		publics, forwards = t.seen(host, vpc, now), t.seenForwards(host, vpc, now)
	}
	k.sights[vpc] = now
	if k.publics[vpc] == nil {
		k.publics[vpc], k.forwards[vpc] = map[string]Public{}, map[string]Forward{}
	}
	for name := range publics {
		t.tellPublic(host, name, now, k.publics[vpc], d)
	}
	for name := range forwards {
		t.tellForward(host, name, now, k.forwards[vpc], d)
	}
	if now == blind {
		delete(k.sights, vpc)
		delete(k.publics, vpc)
		delete(k.forwards, vpc)
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

// keepHandedOn takes the addresses that one public IP has lost and another one has now out of those that are gone.
func (d *Delta) keepHandedOn() {
	if len(d.GonePublics) == 0 || len(d.Publics) == 0 {
		return
	}
	told := map[netip.Addr]bool{}
	for _, p := range d.Publics {
		told[p.Address] = true
	}
	d.GonePublics = slices.DeleteFunc(d.GonePublics, func(address netip.Addr) bool { return told[address] })
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
				now[o.Name] = NextHop{Host: o.Name, Address: other.Address, Router: other.Router}
			}
		}
	}
	d.NextHops, d.GoneNextHops = differ(k.nextHops, now)
	k.nextHops = now
}
