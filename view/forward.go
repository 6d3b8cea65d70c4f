package view

import (
	"cmp"
	"strings"

	"github.com/overlane/overlane/model"
)

// tellForwards is about the VPC's forwarded ports, like tellPublics.
func (t *Tracker) tellForwards(host, vpc string, touched *touchedVPC, d *Delta) {
	k := t.hosts[host]
	was, now := k.sights[vpc], t.sight(host, vpc)
	if was == blind && now == blind {
		return
	}
	names := touched.forwards
	if was != now || touched.whole {
		names = t.seenForwards(host, vpc, now)
	}
	if k.forwards[vpc] == nil {
		k.forwards[vpc] = map[string]Forward{}
	}
	for name := range names {
		t.tellForward(host, name, now, k.forwards[vpc], d)
	}
	if now == blind {
		delete(k.forwards, vpc)
	}
}

// seenForwards names the forwarded ports of a VPC that a host sees, and those that it has been told of.
func (t *Tracker) seenForwards(host, vpc string, sight sight) map[string]bool {
	names := map[string]bool{}
	for name := range t.hosts[host].forwards[vpc] {
		names[name] = true
	}
	switch sight {
	case own:
		for endpoint := range t.state.EndpointsOnOf(host, vpc) {
			for o := range t.state.ForwardsTo(endpoint.Name) {
				names[o.Name] = true
			}
		}
	case all:
		for o := range t.state.ForwardsOf(vpc) {
			names[o.Name] = true
		}
	}
	return names
}

func (t *Tracker) tellForward(host, name string, sight sight, known map[string]Forward, d *Delta) {
	old, had := known[name]
	now, has := t.forward(name)
	has = has && (sight == all || sight == own && now.Host == host)
	if had && (!has || old.ForwardKey != now.ForwardKey) {
		delete(known, name)
		d.GoneForwards = append(d.GoneForwards, old.ForwardKey)
	}
	if has && (!had || old != now) {
		known[name] = now
		d.Forwards = append(d.Forwards, now)
	}
}

// forward is a forwarded port, if its address is there and its endpoint is plugged in.
func (t *Tracker) forward(name string) (Forward, bool) {
	spec := t.state.Forward(name)
	if spec == nil {
		return Forward{}, false
	}
	public, at := t.state.PublicIP(spec.PublicIP), t.places[spec.Endpoint]
	if public == nil || at.host == "" {
		return Forward{}, false
	}
	return Forward{ForwardKey: ForwardKey{public.Address, spec.Protocol, uint16(spec.Port)}, Name: name, VPC: t.gateways[model.Parent(name)].VPC,
		Endpoint: at.key, TargetPort: uint16(spec.TargetPort), Host: at.host}, true
}

func compareForwardKeys(a, b ForwardKey) int {
	return cmp.Or(a.Address.Compare(b.Address), strings.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port))
}
