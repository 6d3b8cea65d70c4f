// Package view is what one host must know: the segments of the VPCs that it has endpoints of, since it routes between
// them, the addresses of those segments, the hosts behind them, and what of the outside passes by this host. It is
// pure, runs in the server, and its values travel to the agents.
package view

import (
	"net/netip"
	"slices"

	"github.com/overlane/overlane/model"
)

// View is everything that one host must know, a table for each kind of element. Its zero value, with Host set, is a
// host without endpoints.
type View struct {
	Host      string                       // whose view this is
	VTEP      netip.Addr                   // its own tunnel address
	Segments  Table[model.VNI, Segment]    // of the VPCs that the host has endpoints of
	Peers     Table[string, Peer]          // the other hosts of those VPCs, by name
	Addresses Table[AddressKey, Address]   // of every endpoint of those segments, its own included
	Gateways  Table[model.VNI, Gateway]    // ways outside, by the VPC's transit VNI
	Publics   Table[netip.Addr, Public]    // of endpoints of this host, and those whose traffic passes here
	Forwards  Table[ForwardKey, Forward]   // of endpoints of this host, and those whose traffic passes here
	Blocks    Table[BlockKey, Block]       // of this host, and those whose traffic passes here
	NextHops  Table[string, NextHop]       // of this border host's upstream network, its own included, by host
	Hosts     Table[string, HostAddresses] // every host, if packets of a VPC leave from here: they must not reach hosts
}

// Delta turns the view at one revision into the view at a later one. A complete delta replaces whatever came before it
// (the first of a stream, always; a later one only when the server lost its place); until a host has seen one, it adds
// and never deletes. Applying a delta twice changes nothing. Its JSON is what servers and agents of different versions
// agree on.
type Delta struct {
	Revision int64 `json:"revision"`           // of the store, after this delta
	Complete bool  `json:"complete,omitempty"` // the rest is the whole view, not a change of it

	VTEP      netip.Addr      `json:"vtep,omitzero"` // the host's own, when Complete or changed
	Segments  []Segment       `json:"segments,omitempty"`
	Peers     []Peer          `json:"peers,omitempty"`
	Addresses []Address       `json:"addresses,omitempty"`
	Gateways  []Gateway       `json:"gateways,omitempty"`
	Publics   []Public        `json:"publics,omitempty"`
	Forwards  []Forward       `json:"forwards,omitempty"`
	Blocks    []Block         `json:"blocks,omitempty"`
	NextHops  []NextHop       `json:"nextHops,omitempty"`
	Hosts     []HostAddresses `json:"hosts,omitempty"`

	GoneSegments  []model.VNI  `json:"goneSegments,omitempty"`
	GonePeers     []string     `json:"gonePeers,omitempty"`
	GoneAddresses []AddressKey `json:"goneAddresses,omitempty"`
	GoneGateways  []model.VNI  `json:"goneGateways,omitempty"`
	GonePublics   []netip.Addr `json:"gonePublics,omitempty"`
	GoneForwards  []ForwardKey `json:"goneForwards,omitempty"`
	GoneBlocks    []BlockKey   `json:"goneBlocks,omitempty"`
	GoneNextHops  []string     `json:"goneNextHops,omitempty"`
	GoneHosts     []string     `json:"goneHosts,omitempty"`
}

// elements are the kinds of elements; each is described in a file of its own. What View and Delta do with all of their
// tables, they do by this list. Peers follow from next hops, and come before other rows, which share the names of hosts
// with them. Gateways come before what they lead to.
var elements = []element{&nextHops, &peers, &segments, &addresses, &gateways, &publics, &forwards, &blocks, &hosts}

// Apply turns the view into the one after a delta. It returns the delta that turns it back, which lists nothing but
// what has changed: a row that d tells anew, but as it was, is not in it.
func (v *View) Apply(d Delta) (undo Delta) {
	if vtep := d.VTEP; d.Complete || vtep.IsValid() {
		if v.VTEP != vtep {
			undo.VTEP = v.VTEP
		}
		v.VTEP = vtep
	}
	d.GoneAddresses = append(slices.Clip(d.GoneAddresses), v.addressesOf(d.GoneSegments)...)
	for _, e := range elements {
		e.apply(v, &d, &undo)
	}
	undo.sort()
	return undo
}

// Clone is an independent view of the same rows.
func (v *View) Clone() *View {
	c := &View{Host: v.Host, VTEP: v.VTEP}
	for _, e := range elements {
		e.clone(v, c)
	}
	return c
}

// Equal reports whether two views are of one host and have the same rows.
func (v *View) Equal(other *View) bool {
	return v.Host == other.Host && v.VTEP == other.VTEP &&
		!slices.ContainsFunc(elements, func(e element) bool { return !e.same(v, other) })
}

// Delta is the view as a complete delta, for the wire and for the disk.
func (v *View) Delta(revision int64) Delta {
	d := Delta{Revision: revision, Complete: true, VTEP: v.VTEP}
	for _, e := range elements {
		e.collect(v, &d)
	}
	d.sort()
	return d
}

// Len counts the rows that a delta changes.
func (d *Delta) Len() (n int) {
	for _, e := range elements {
		n += e.count(d)
	}
	return n
}

func (d *Delta) empty() bool { return d.VTEP == (netip.Addr{}) && d.Len() == 0 }

func (d *Delta) sort() {
	for _, e := range elements {
		e.sort(d)
	}
}

// hostName is the name of a host as the view has it already, so that rows share its memory.
func (v *View) hostName(name string) string {
	if name == v.Host {
		return v.Host
	}
	if p, ok := v.Peers[name]; ok {
		return p.Host
	}
	return name
}
