// Package view makes the part of intent that one host must know: its view. That is the segments and addresses of the
// VPCs with endpoints on the host, the peers, and the public addresses whose traffic the host forwards. It is pure,
// runs in the server, and its values travel to the agents.
package view

import (
	"net/netip"
	"slices"

	"github.com/overlane/overlane/model"
)

// View is the state of intent for one host, with a table for each kind of element. Its zero value, with Host set, is
// the view of a host without endpoints.
type View struct {
	Host      string                       // the name of the host
	VTEP      netip.Addr                   // the tunnel address of the host
	Segments  Table[model.VNI, Segment]    // of the VPCs with endpoints on the host
	Peers     Table[string, Peer]          // other hosts that it exchanges packets with, by name
	Addresses Table[AddressKey, Address]   // of all endpoints of those segments, including the host's own
	Gateways  Table[model.VNI, Gateway]    // internet gateways, by the VPC's transit VNI
	Publics   Table[netip.Addr, Public]    // of endpoints on the host; on a border host, of all endpoints of its VPCs
	Forwards  Table[ForwardKey, Forward]   // likewise
	Blocks    Table[BlockKey, Block]       // likewise
	NextHops  Table[string, NextHop]       // of the host's upstream network, including its own, by host
	Hosts     Table[string, HostAddresses] // all hosts, if packets leave a VPC from here, to guard them
}

// Delta turns the view at one revision into the view at a later one. A complete delta replaces the whole view. The
// first delta of a stream is always complete, a later one only if the server has lost the revision in between. Until a
// host has a complete delta, it adds flows and never deletes any. Applying a delta twice changes nothing. Servers and
// agents of different versions exchange its JSON.
type Delta struct {
	Revision int64 `json:"revision"`           // of the store, after this delta
	Complete bool  `json:"complete,omitempty"` // this is the whole view, not a change of it

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

// elements are the kinds of elements. Each has a file of its own. Whatever View and Delta do with all tables, they do
// by this list. Next hops come before peers, which follow from them. Peers come before the rows that share the memory
// of their names. Gateways come before the public addresses behind them.
var elements = []element{&nextHops, &peers, &segments, &addresses, &gateways, &publics, &forwards, &blocks, &hosts}

// Apply changes the view by a delta, and returns the delta that reverts the change. The returned delta lists only the
// rows that have changed: a row that d repeats is not in it.
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

// Clone returns an independent view with the same rows.
func (v *View) Clone() *View {
	c := &View{Host: v.Host, VTEP: v.VTEP}
	for _, e := range elements {
		e.clone(v, c)
	}
	return c
}

// Equal reports whether two views belong to the same host and have the same rows.
func (v *View) Equal(other *View) bool {
	return v.Host == other.Host && v.VTEP == other.VTEP &&
		!slices.ContainsFunc(elements, func(e element) bool { return !e.same(v, other) })
}

// Delta returns the view as a complete delta, for the wire and for the disk.
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

// hostName returns the name of a host from the view, if it is there, so that rows share its memory.
func (v *View) hostName(name string) string {
	if name == v.Host {
		return v.Host
	}
	if p, ok := v.Peers[name]; ok {
		return p.Host
	}
	return name
}
