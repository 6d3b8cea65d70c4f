package view

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/overlane/overlane/model"
)

// NextHop is where a passage is reached by the router of its upstream network.
type NextHop struct {
	Host          string       `json:"host"`
	Address       netip.Prefix `json:"address"` // which another passage takes over if the host dies
	Router        netip.Addr   `json:"router"`
	FailoverOrder []string     `json:"heirs,omitempty"` // who holds it, in order: its own host, then others that lead to the same VPCs

	Interface string `json:"interface,omitempty"` // of the host on the upstream network; only for this host's own
	Drain     bool   `json:"drain,omitempty"`     // its passage is to be shut; only for this host's own
}

// Key is the host's name.
func (n NextHop) Key() string { return n.Host }

// MAC is the next hop's own, whichever passage holds it.
func (n NextHop) MAC() model.MAC { return model.NextHopMAC(n.Address.Addr()) }

// LeavingMAC is the sender of what leaves by the passage.
func (n NextHop) LeavingMAC() model.MAC { return model.LeavingMAC(n.Address.Addr()) }

var nextHops = kind[string, NextHop]{
	table:   func(v *View) *Table[string, NextHop] { return &v.NextHops },
	changes: func(d *Delta) (*[]NextHop, *[]string) { return &d.NextHops, &d.GoneNextHops },
	compare: strings.Compare,
	equal:   func(a, b NextHop) bool { return reflect.DeepEqual(a, b) },
	track:   func(_ *Tracker, k *kind[string, NextHop]) source { return nextHopSource{kind: k} },
}

// nextHopSource makes the next hops of each host's own upstream network.
type nextHopSource struct {
	derived
	kind *kind[string, NextHop]
}

func (s nextHopSource) tell(t *Tracker, n *news) {
	if !n.hosts && !n.gateways {
		return
	}
	now := t.nextHopsOf(n.host)
	t.setFailoverOrder(now)
	n.delta.NextHops, n.delta.GoneNextHops = n.nextHops.Delta(now, s.kind.equal)
	n.nextHops = now
}

func (t *Tracker) nextHopsOf(host string) Table[string, NextHop] {
	hops := Table[string, NextHop]{}
	spec := t.state.Host(host)
	if spec == nil || spec.Outside == nil {
		return hops
	}
	for o := range t.state.HostsUpstream(spec.Outside.Address) {
		other := o.Spec.(*model.HostSpec).Outside
		if other.Address.Masked() != spec.Outside.Address.Masked() {
			continue
		}
		n := NextHop{Host: o.Name, Address: other.Address, Router: other.Router}
		if o.Name == host {
			n.Interface, n.Drain = other.Interface, other.Drain
		}
		hops.Put(n)
	}
	return hops
}

// appointHeirs says who may hold each next hop: what upstream sends there may be for any VPC that its own passage leads
// to, so an heir leads to all of them.
func (t *Tracker) setFailoverOrder(hops Table[string, NextHop]) {
	leads := map[string]map[string]bool{} // host -> VPCs
	for vpc, g := range t.gateways.rows {
		for _, host := range g[vpc].BorderHosts {
			if leads[host] == nil {
				leads[host] = map[string]bool{}
			}
			leads[host][vpc] = true
		}
	}
	order := slices.Sorted(maps.Keys(hops))
	for i, host := range order {
		n := hops[host]
		n.FailoverOrder = []string{host}
		for _, other := range slices.Concat(order[i+1:], order[:i]) {
			if covers(leads[other], leads[host]) {
				n.FailoverOrder = append(n.FailoverOrder, other)
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
