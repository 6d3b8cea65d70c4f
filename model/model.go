// Package model is what a user may ask for: the kinds of object, their fields, and the rules that a set of
// objects must keep. It is pure: it reads no file, no clock and no network, and it never stores anything.
package model

import (
	"fmt"
	"net/netip"
	"strings"
)

// Object is one thing that a user asked for, or that Overlane made on his behalf.
//
// Name is hierarchical: "host1", "blue", "blue/web", "blue/web/db1" (see [Kind.Path]). Spec is what is wanted; its
// dynamic type is the pointer that the kind's table entry makes. Status is what was measured, never what was written.
type Object struct {
	Kind     string `json:"kind"`
	Name     string `json:"name"`
	Revision int64  `json:"revision,omitempty"` // store revision of the last change of Spec; 0 for one not stored yet
	Spec     Spec   `json:"spec"`
	Status   any    `json:"status,omitempty"`
}

// Key names an object among all objects.
type Key struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

func (k Key) String() string { return k.Kind + " " + k.Name }

// Key is the object's own.
func (o Object) Key() Key { return Key{o.Kind, o.Name} }

// Parent is the name above this one: "blue/web" for "blue/web/db1", "" for "blue".
func Parent(name string) string {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i]
	}
	return ""
}

// Spec is the wanted half of an object. Each kind has one struct that implements it, in the file of that kind.
type Spec interface {
	// Check judges the fields on their own, without looking at other objects.
	Check(name string) Problems
}

// Problem says what is wrong with one field of one object, and what would be right.
type Problem struct {
	Object string `json:"object"`          // "Subnet blue/web"
	Field  string `json:"field"`           // "spec.cidr"
	Value  string `json:"value,omitempty"` // the value as given
	Reason string `json:"reason"`          // "overlaps 10.0.0.0/16 of Subnet blue/db"
	Remedy string `json:"remedy"`          // "choose a CIDR outside 10.0.0.0/16"
}

func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.Object)
	if p.Field != "" {
		b.WriteString(": " + p.Field)
		if p.Value != "" {
			fmt.Fprintf(&b, " %q", p.Value)
		}
	}
	b.WriteString(": " + p.Reason)
	if p.Remedy != "" {
		b.WriteString("; " + p.Remedy)
	}
	return b.String()
}

// Problems are all that is wrong with a request. As an error they read one a line.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// MAC is an Ethernet address: comparable, and text in JSON ("02:4f:ac:11:2a:02").
type MAC [6]byte

func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// GatewayMAC answers for the gateway address of every subnet on every host (an anycast gateway).
var GatewayMAC = MAC{0x02, 0x4f, 0x56, 0x00, 0x00, 0x01}

// VNI is a VXLAN network identifier, 24 bits (RFC 7348 section 5).
type VNI uint32

// MaxVNI is the last VNI a subnet may have. The one above it, [ProbeVNI], carries Overlane's own probes between hosts.
const (
	MinVNI   VNI = 1
	MaxVNI   VNI = 0xfffffe
	ProbeVNI VNI = 0xffffff
)

// HostSpec is a machine that carries endpoints.
type HostSpec struct {
	Address netip.Addr `json:"address"`       // underlay address of its VTEP: source and destination of its tunnel packets
	MTU     int        `json:"mtu,omitempty"` // of the underlay, bytes of IP; 0 means 1500
	Roles   []string   `json:"roles,omitempty"`
}

// VPCSpec is a tenant's isolated address space. CIDRs of two VPCs may overlap.
type VPCSpec struct {
	MTU int `json:"mtu,omitempty"` // of every endpoint, bytes of IP; set at creation to the least over the hosts of (underlay MTU - 50)
}

// SubnetSpec is an L2 segment across hosts. Its name is VPC/SUBNET.
type SubnetSpec struct {
	CIDR    netip.Prefix `json:"cidr"`
	VNI     VNI          `json:"vni,omitempty"`    // on the wire; allocated when absent
	Gateway netip.Addr   `json:"gateway,omitzero"` // first host address of CIDR when absent
}

// EndpointSpec is one network interface of a container, VM or namespace. Its name is VPC/SUBNET/ENDPOINT.
type EndpointSpec struct {
	Host       string      `json:"host,omitempty"`       // where it is plugged in; empty: reserved, not plugged in anywhere
	Address    netip.Addr  `json:"address,omitzero"`     // allocated from the subnet when absent
	MAC        MAC         `json:"mac,omitzero"`         // derived from the address when absent
	Attachment *Attachment `json:"attachment,omitempty"` // written by the agent that plugged it in
	Ephemeral  bool        `json:"ephemeral,omitempty"`  // made by attach: deleted on detach, instead of unbound
}

// Attachment says what an endpoint is plugged into on its host.
type Attachment struct {
	Container string `json:"container,omitempty"` // Docker container ID
	Netns     string `json:"netns,omitempty"`     // path of a network namespace
	Interface string `json:"interface,omitempty"` // name inside the namespace, "eth0"
}
