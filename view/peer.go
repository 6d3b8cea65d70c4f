package view

import (
	"net/netip"
	"strings"
)

// Peer is another host that the host exchanges packets with.
type Peer struct {
	Host string     `json:"host"`
	VTEP netip.Addr `json:"vtep"`
	BFD  bool       `json:"watched,omitempty"` // one is a border host of the other, or both share an upstream network
}

// Key is the host's name.
func (p Peer) Key() string { return p.Host }

var peers = kind[string, Peer]{
	table:   func(v *View) *Table[string, Peer] { return &v.Peers },
	changes: func(d *Delta) (*[]Peer, *[]string) { return &d.Peers, &d.GonePeers },
	compare: strings.Compare,
	equal:   equals[Peer],
	track:   func(_ *Tracker, k *kind[string, Peer]) source { return peerSource{kind: k} },
}

func (t *Tracker) vtep(host string) (netip.Addr, bool) {
	spec := t.state.Host(host)
	if spec == nil {
		return netip.Addr{}, false
	}
	return spec.Address, true
}

// peerSource makes the peers of each host from the VPCs that it sees.
type peerSource struct {
	derived
	kind *kind[string, Peer]
}

func (s peerSource) tell(t *Tracker, n *news) {
	if !n.hosts && !n.meetsOthers(t) {
		return
	}
	now := Table[string, Peer]{}
	for vpc, sees := range n.visible {
		for member := range t.members[vpc] {
			t.addPeer(now, n.host, member, sees.border)
		}
		if g, _ := t.gateway(vpc); sees.member {
			for _, border := range g.BorderHosts {
				t.addPeer(now, n.host, border, true)
			}
		}
	}
	for border := range n.nextHops {
		t.addPeer(now, n.host, border, true)
	}
	n.delta.Peers, n.delta.GonePeers = n.peers.Delta(now, s.kind.equal)
	n.peers = now
}

// meetsOthers reports whether a commit may change a host's peers: a VPC that it sees has other members or another
// gateway, or the host sees another VPC.
func (n *news) meetsOthers(t *Tracker) bool {
	for vpc, seen := range n.vpcs {
		if seen.was != seen.now || n.members[vpc] || len(t.gateways.changed[vpc]) > 0 {
			return true
		}
	}
	return false
}

// addPeer adds another host to a host's peers, if it exists.
func (t *Tracker) addPeer(met Table[string, Peer], host, other string, watched bool) {
	p, known := met[other]
	if known && (p.BFD || !watched) || other == host {
		return
	}
	if vtep, ok := t.vtep(other); ok {
		met.Put(Peer{Host: other, VTEP: vtep, BFD: watched})
	}
}
