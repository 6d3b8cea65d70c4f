package view

import (
	"net/netip"
	"strings"
)

// Peer is another host.
type Peer struct {
	Host    string     `json:"host"`
	VTEP    netip.Addr `json:"vtep"`
	Watched bool       `json:"watched,omitempty"` // one of the two passes the other's traffic to the outside, or both share an upstream network
}

// Key is the host's name.
func (p Peer) Key() string { return p.Host }

var peers = kind[string, Peer]{
	table:   func(v *View) *Table[string, Peer] { return &v.Peers },
	changes: func(d *Delta) (*[]Peer, *[]string) { return &d.Peers, &d.GonePeers },
	compare: strings.Compare,
	equal:   equals[Peer],
}

func (t *Tracker) tellPeers(host string, d *Delta) {
	k := t.hosts[host]
	now := Table[string, Peer]{}
	for vpc := range k.segments {
		passes := t.sight(host, vpc) == all
		for member := range t.members[vpc] {
			t.meet(now, host, member, passes)
		}
		for _, passage := range t.gateways[vpc].Passages {
			t.meet(now, host, passage, true)
		}
	}
	for vpc, sight := range k.sights {
		if _, member := k.segments[vpc]; member || sight != all {
			continue
		}
		for member := range t.members[vpc] {
			t.meet(now, host, member, true)
		}
	}
	for passage := range k.nextHops {
		t.meet(now, host, passage, true)
	}
	d.Peers, d.GonePeers = k.peers.Delta(now, peers.equal)
	k.peers = now
}

// meet adds another host that there is to the peers of one.
func (t *Tracker) meet(met Table[string, Peer], host, other string, watched bool) {
	p, known := met[other]
	if known && (p.Watched || !watched) || other == host {
		return
	}
	if vtep, ok := t.vtep(other); ok {
		met.Put(Peer{Host: other, VTEP: vtep, Watched: watched})
	}
}

func (t *Tracker) vtep(host string) (netip.Addr, bool) {
	spec := t.state.Host(host)
	if spec == nil {
		return netip.Addr{}, false
	}
	return spec.Address, true
}
