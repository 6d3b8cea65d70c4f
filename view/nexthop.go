package view

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/overlane/overlane/model"
)

// NextHop is the address by which the upstream router reaches a border host. Another border host takes the address over
// if the host dies.
type NextHop struct {
	Host          string       `json:"host"`
	Address       netip.Prefix `json:"address"` // with the length of the upstream network
	Router        netip.Addr   `json:"router"`
	FailoverOrder []string     `json:"heirs,omitempty"` // its own host, then the border hosts that may take it over

	Interface string `json:"interface,omitempty"` // on the upstream network; set for the view's own host only
	Drain     bool   `json:"drain,omitempty"`     // the border host is to be shut; set for the view's own host only
}

// Key is the host's name.
func (n NextHop) Key() string { return n.Host }

// MAC is the MAC of the next hop, on whichever border host it is active.
func (n NextHop) MAC() model.MAC { return model.NextHopMAC(n.Address.Addr()) }

// LeavingMAC is the source MAC of packets that leave by the next hop's own border host.
func (n NextHop) LeavingMAC() model.MAC { return model.LeavingMAC(n.Address.Addr()) }

var nextHops = kind[string, NextHop]{
	table:   func(v *View) *Table[string, NextHop] { return &v.NextHops },
	changes: func(d *Delta) (*[]NextHop, *[]string) { return &d.NextHops, &d.GoneNextHops },
	compare: strings.Compare,
	equal:   func(a, b NextHop) bool { return reflect.DeepEqual(a, b) },
	track:   func(_ *Tracker, k *kind[string, NextHop]) source { return nextHopSource{kind: k} },
}

// nextHopSource makes the next hops of each border host's upstream network.
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

// setFailoverOrder sets the border hosts on which each next hop may be active. A packet to a next hop may be for any
// VPC of the next hop's own border host, so another one may take it over only if it has all of these VPCs.
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
