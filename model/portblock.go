package model

import (
	"fmt"
	"iter"
	"net/netip"
	"strings"
)

// PortBlockSpec is a range of ports of a public address, from which SNAT takes the ports of one VPC's endpoints on one
// host, in the central design. Its name is VPC/HOST. Users neither put nor delete one: see [admission.leaseBlocks].
type PortBlockSpec struct {
	Pool    string     `json:"pool" doc:"PublicPool that the address is of." by:"Overlane"`
	Address netip.Addr `json:"address" doc:"Public address. Port blocks share it with each other, and never with a public IP." by:"Overlane"`
	First   uint16     `json:"first" doc:"First port, for TCP and UDP alike. A multiple of the length of the block." by:"Overlane"`
	Last    uint16     `json:"last" doc:"Last port." by:"Overlane"`
}

var portBlockKind = Kind{
	Name: "PortBlock", Plural: "portblocks", Short: "pb", Path: []string{"VPC", "HOST"},
	Doc:       "Ports of a public address that Overlane leases to the endpoints of a VPC on one host, for SNAT in the central design.",
	New:       func() Spec { return new(PortBlockSpec) },
	NewStatus: func() any { return new(PortBlockStatus) },
	Columns: []Column{
		{"NAME", func(o Object) string { return o.Name }},
		{"ADDRESS", column(func(s *PortBlockSpec) any { return s.Address })},
		{"PORTS", column(func(s *PortBlockSpec) any { return fmt.Sprintf("%d-%d", s.First, s.Last) })},
	},
	Derived:   true,
	admit:     reclaimBlocks,
	derive:    (*admission).leaseBlocks,
	summarise: summarisePortBlock,
	derived:   advice{leasedByOverlane, "detach the VPC's endpoints on the host, or turn snat off in its InternetGateway"},
}

const leasedByOverlane = "is leased by Overlane: nobody puts or deletes port blocks"

// Check refuses every port block that a user puts.
func (s *PortBlockSpec) Check(name string) Problems {
	f := findingsOf(Key{"PortBlock", name})
	f.add("", nil, leasedByOverlane, "leave it out: it comes with the first endpoint of the VPC that is plugged in on the host")
	return f.problems
}

func (s *PortBlockSpec) size() int { return int(s.Last) - int(s.First) + 1 }

func (s *PortBlockSpec) copy() Spec { c := *s; return &c }

func (s *PortBlockSpec) setDefaults(Spec) {}

// HostOf is the host of a port block, by its name.
func HostOf(block string) string {
	_, host, _ := strings.Cut(block, "/")
	return host
}

func (s *PortBlockSpec) index(d *draft, o, before *Object) {
	at := addressKey{s.Pool, s.Address}
	if _, carries := d.usedPorts.get(at); !carries {
		d.publicIPAt.put(d.edit, at, "")
		d.advance(Key{"PublicPool", s.Pool}.String(), s.Address, o.Revision)
	}
	d.blockAt.put(d.edit, blockKey{at, s.First}, o.Name)
	d.occupy(at, s, 1)
	if before == nil || *before.Spec.(*PortBlockSpec) != *s {
		d.advanceTo(Key{"PortBlock", s.Pool}.String(), cursor{s.Address, s.Last, o.Revision})
	}
	d.updateRequest(VPCOf(o.Name), HostOf(o.Name), true)
}

func (s *PortBlockSpec) unindex(d *draft, o, after *Object) {
	at := addressKey{s.Pool, s.Address}
	release(d, &d.blockAt, blockKey{at, s.First}, o.Name)
	d.occupy(at, s, -1)
	if _, carries := d.usedPorts.get(at); !carries {
		release(d, &d.publicIPAt, at, "")
	}
	if after == nil {
		d.updateRequest(VPCOf(o.Name), HostOf(o.Name), false)
	}
}

// blocksFrom goes over the port blocks of a pool on an address and above it, by address and port.
func (s *State) blocksFrom(at addressKey) iter.Seq[*Object] {
	return func(yield func(*Object) bool) {
		for key, name := range s.blockAt.from(blockKey{addressKey: at}) {
			if key.in != at.in || !yield(s.Get(Key{"PortBlock", name})) {
				return
			}
		}
	}
}

// lesseeOf is the first port block on an address that has some.
func (s *State) lesseeOf(at addressKey) string {
	_, name, _ := s.blockAt.at(s.blockAt.rank(blockKey{addressKey: at}))
	return name
}

// countLeased is the number of addresses of a pool with port blocks, in logarithmic time.
func (s *State) countLeased(pool string) int {
	return s.usedPorts.rank(addressKey{in: pool + "\x00"}) - s.usedPorts.rank(addressKey{in: pool})
}

// hasEndpoints reports whether a host has an endpoint of a VPC.
func (s *State) hasEndpoints(host, vpc string) bool {
	for range s.EndpointsOnOf(host, vpc) {
		return true
	}
	return false
}

// hostsWith goes over the hosts with endpoints of a VPC, by name.
func (s *State) hostsWith(vpc string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for rank := 0; ; {
			at, _, ok := s.onHost.at(rank)
			if !ok || s.hasEndpoints(at.host, vpc) && !yield(at.host) {
				return
			}
			rank = s.onHost.rank(hostEndpoint{host: at.host + "\x00"})
		}
	}
}

func summarisePortBlock(s *State, name string, _ Measured) any {
	return &PortBlockStatus{Endpoints: s.CountOnOf(HostOf(name), VPCOf(name))}
}

// PortBlock is the spec of a port block, VPC/HOST; nil if there is none of that name.
func (s *State) PortBlock(name string) *PortBlockSpec {
	return specOf[*PortBlockSpec](s, "PortBlock", name)
}

// PortBlocksOf goes over the port blocks of a VPC, by host.
func (s *State) PortBlocksOf(vpc string) iter.Seq[*Object] { return s.Under("PortBlock", vpc) }
