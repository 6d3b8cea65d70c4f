// Package view is what one host must know: the segments of the VPCs that it has endpoints of, since it routes between them, the addresses of
// those segments, the hosts behind them, and what of the outside passes by this host. It is pure, runs in the server, and its values travel to the agents.
package view

import (
	"net/netip"

	"github.com/overlane/overlane/model"
)

// View is everything that one host must know. Its zero value, with Host set, is a host without endpoints.
type View struct {
	Host      string                 // whose view this is
	VTEP      netip.Addr             // its own tunnel address
	Segments  map[model.VNI]Segment  // those of the VPCs of which the host has an endpoint
	Peers     map[string]Peer        // the other hosts that share a VPC, by name
	Addresses map[AddressKey]Address // every endpoint of those segments, its own included
	Gateways  map[model.VNI]Gateway  // ways outside of those VPCs that have one, by the VPC's transit VNI
	Publics   map[netip.Addr]Public  // those whose endpoint is here, or whose traffic passes here
	Forwards  map[ForwardKey]Forward // those whose endpoint is here, or whose traffic passes here
	Blocks    map[BlockKey]Block     // those of this host, and those whose traffic passes here
	NextHops  map[string]NextHop     // of the passages on this host's upstream network, its own included, by host; none if it is no passage
	Hosts     map[string]Machine     // every host, if packets of one of those VPCs leave from here: what they must not get to
}

// AddressKey finds an address: unique within a segment, and only there.
type AddressKey struct {
	VNI model.VNI  `json:"vni"`
	IP  netip.Addr `json:"ip"`
}

// Segment is a subnet as its switches see it.
type Segment struct {
	VNI     model.VNI    `json:"vni"`
	VPC     model.VNI    `json:"vpc"`    // its VPC's transit VNI, which tells routing domains apart
	Subnet  string       `json:"subnet"` // VPC/SUBNET
	CIDR    netip.Prefix `json:"cidr"`
	Gateway netip.Addr   `json:"gateway"`
	MTU     int          `json:"mtu"`
	DHCP    *model.DHCP  `json:"dhcp,omitempty"`
	Members []string     `json:"members"` // names of the hosts with endpoints on it, sorted, this host included
}

// Peer is another host.
type Peer struct {
	Host    string     `json:"host"`
	VTEP    netip.Addr `json:"vtep"`
	Watched bool       `json:"watched,omitempty"` // one of the two passes the other's traffic to the outside, or both share an upstream network
}

// Machine is what the underlay may reach a host by.
type Machine struct {
	Host   string       `json:"host"`
	VTEP   netip.Addr   `json:"vtep"`
	Others []netip.Addr `json:"others,omitempty"` // that the host has found of its own, sorted
}

// Gateway is a VPC's way to what is outside of it.
type Gateway struct {
	VPC      model.VNI      `json:"vpc"`           // transit VNI
	Name     string         `json:"name"`          // of the VPC
	MTU      int            `json:"mtu,omitempty"` // of the VPC; 0 from an older server: not known
	Design   string         `json:"design,omitempty"`
	SNAT     bool           `json:"snat,omitempty"`
	Allow    []netip.Prefix `json:"allow,omitempty"`    // reached by SNAT although they are hosts' or servers'
	Passages []string       `json:"passages,omitempty"` // hosts that public traffic passes, sorted
}

// Public is a public address of an endpoint that is plugged in.
type Public struct {
	Address  netip.Addr `json:"address"`
	NATIP    netip.Addr `json:"natIP,omitzero"` // on the underlay, in the distributed design; none: the public address itself
	Name     string     `json:"name"`           // VPC/PUBLICIP
	VPC      model.VNI  `json:"vpc"`            // transit VNI
	Endpoint AddressKey `json:"endpoint"`
	Host     string     `json:"host"` // of the endpoint
}

// Forward is a port of a public address that leads to a port of an endpoint, in the central design.
type Forward struct {
	ForwardKey
	Name       string     `json:"name"` // VPC/FORWARD
	VPC        model.VNI  `json:"vpc"`  // transit VNI
	Endpoint   AddressKey `json:"endpoint"`
	TargetPort uint16     `json:"targetPort"`
	Host       string     `json:"host"` // of the endpoint
}

// ForwardKey finds a forwarded port.
type ForwardKey struct {
	Address  netip.Addr `json:"address"`
	Protocol string     `json:"protocol"` // tcp or udp
	Port     uint16     `json:"port"`
}

// Block is the ports of a public address by which the endpoints of one VPC on one host are known outside, in the central design.
type Block struct {
	BlockKey
	Last uint16    `json:"last"` // port; the block is as long as a power of two, and begins at a multiple of that
	Name string    `json:"name"` // VPC/HOST
	VPC  model.VNI `json:"vpc"`  // transit VNI
	Host string    `json:"host"`
}

// BlockKey finds a block: no two share a port.
type BlockKey struct {
	Address netip.Addr `json:"address"`
	First   uint16     `json:"first"` // port
}

// NextHop is where a passage is reached by the router of its upstream network.
type NextHop struct {
	Host    string       `json:"host"`
	Address netip.Prefix `json:"address"` // which another passage takes over if the host dies
	Router  netip.Addr   `json:"router"`
	Heirs   []string     `json:"heirs,omitempty"` // who holds it: its own host and, while those before are dead, others that lead to all VPCs that it leads to

	Interface string `json:"interface,omitempty"` // of the host on the upstream network; only for this host's own
	Drain     bool   `json:"drain,omitempty"`     // its passage is to be shut; only for this host's own
}

// Address is an endpoint's place: which host it is on.
type Address struct {
	AddressKey
	MAC        model.MAC         `json:"mac"`
	Endpoint   string            `json:"endpoint"` // VPC/SUBNET/ENDPOINT
	Host       string            `json:"host"`
	Ephemeral  bool              `json:"ephemeral,omitempty"`  // only for this host's own
	Attachment *model.Attachment `json:"attachment,omitempty"` // only for this host's own
}

// Delta turns the view at one revision into the view at a later one. A complete delta replaces whatever came before it
// (the first of a stream, always; a later one only when the server lost its place); until a host has seen one, it adds and
// never deletes. Applying a delta twice changes nothing.
type Delta struct {
	Revision int64 `json:"revision"`           // of the store, after this delta
	Complete bool  `json:"complete,omitempty"` // the rest is the whole view, not a change of it

	VTEP      netip.Addr `json:"vtep,omitzero"` // the host's own, when Complete or changed
	Segments  []Segment  `json:"segments,omitempty"`
	Peers     []Peer     `json:"peers,omitempty"`
	Addresses []Address  `json:"addresses,omitempty"`
	Gateways  []Gateway  `json:"gateways,omitempty"`
	Publics   []Public   `json:"publics,omitempty"`
	Forwards  []Forward  `json:"forwards,omitempty"`
	Blocks    []Block    `json:"blocks,omitempty"`
	NextHops  []NextHop  `json:"nextHops,omitempty"`
	Hosts     []Machine  `json:"hosts,omitempty"`

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

// Known is the address by which the endpoint's host is reached from outside.
func (p Public) Known() netip.Addr {
	if p.NATIP.IsValid() {
		return p.NATIP
	}
	return p.Address
}

// Via names the endpoint of this host by whose port the address is reached; empty if it has a port of its own, or is on another host.
func (a Address) Via() string {
	if a.Attachment == nil {
		return ""
	}
	return a.Attachment.Via
}

// MAC is the next hop's own, whichever passage holds it.
func (n NextHop) MAC() model.MAC { return model.NextHopMAC(n.Address.Addr()) }

// LeavingMAC is the sender of what leaves by the passage.
func (n NextHop) LeavingMAC() model.MAC { return model.LeavingMAC(n.Address.Addr()) }
