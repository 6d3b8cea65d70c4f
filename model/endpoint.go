package model

import "net/netip"

// EndpointSpec is one network interface of a container, VM or namespace. Its name is VPC/SUBNET/ENDPOINT.
//
// Where it is plugged in, Host and Attachment together, is written by agents, while the rest is written by users. So in a
// put that updates an endpoint:
//   - neither of the two: both stay as they are stored (a user's file that does not mention them unplugs nothing);
//   - an Attachment, be it an empty one: both become what the put says. No Host and an empty Attachment unplug;
//   - a Host alone: the same host changes nothing, another one moves the endpoint there, not attached to anything yet.
//
// Ephemeral is decided at creation. A later put without it makes the endpoint a lasting one; a later put with it does
// not make a lasting one ephemeral, so that no detach deletes what a user wrote down.
type EndpointSpec struct {
	Host       string      `json:"host,omitempty" doc:"Host where it is plugged in; absent: reserved, not plugged in anywhere."`
	Address    netip.Addr  `json:"address,omitzero" doc:"IPv4 address inside the subnet; default: the next free one."`
	MAC        MAC         `json:"mac,omitzero" doc:"Ethernet address, unicast, unique in the subnet; default: derived from the address."`
	Attachment *Attachment `json:"attachment,omitempty" doc:"What it is plugged into on its host; written by the agent."`
	Ephemeral  bool        `json:"ephemeral,omitempty" doc:"Made by attach: deleted on detach, instead of unplugged; default false."`
}

// Attachment says what an endpoint is plugged into on its host.
type Attachment struct {
	Container string `json:"container,omitempty" doc:"Docker container ID."`
	Netns     string `json:"netns,omitempty" doc:"Path of a network namespace."`
	Interface string `json:"interface,omitempty" doc:"Name of the interface inside the namespace, such as eth0."`
}

var endpointKind = Kind{
	Name: "Endpoint", Plural: "endpoints", Short: "ep", Path: []string{"VPC", "SUBNET", "ENDPOINT"},
	Doc:       "A network interface of a container, VM or namespace, with its addresses.",
	New:       func() Spec { return new(EndpointSpec) },
	NewStatus: func() any { return new(EndpointStatus) },
}

func (s *EndpointSpec) Check(name string) Problems { return nil }

func (s *EndpointSpec) copy() Spec { c := *s; return &c }

func (s *EndpointSpec) inherit(stored Spec) {
	was := stored.(*EndpointSpec)
	if !s.Address.IsValid() {
		s.Address = was.Address
	}
	if s.MAC == (MAC{}) {
		s.MAC = was.MAC
	}
	if s.Attachment == nil && (s.Host == "" || s.Host == was.Host) {
		s.Host, s.Attachment = was.Host, was.Attachment
	}
	s.Ephemeral = s.Ephemeral && was.Ephemeral
}

func (s *EndpointSpec) enter(d *draft, o, before *Object) {
	subnet := Parent(o.Name)
	d.at.put(d.edit, place{subnet, s.Address}, o.Name)
	d.withMAC.put(d.edit, macPlace{subnet, s.MAC}, o.Name)
	if s.Host != "" {
		d.on.put(d.edit, seat{s.Host, o.Name}, o)
	}
	if before == nil || before.Spec.(*EndpointSpec).Address != s.Address {
		d.advance(subnet, s.Address, o.Revision)
	}
}

func (s *EndpointSpec) leave(d *draft, o, _ *Object) {
	subnet := Parent(o.Name)
	release(d, &d.at, place{subnet, s.Address}, o.Name)
	release(d, &d.withMAC, macPlace{subnet, s.MAC}, o.Name)
	if s.Host != "" {
		d.on.remove(d.edit, seat{s.Host, o.Name})
	}
}

// advance moves the cursor of a subnet to an address that an endpoint got at a revision, if none got one later. Of several
// at one revision the highest counts, so that the order in which a state is read does not matter.
func (d *draft) advance(subnet string, to netip.Addr, revision int64) {
	now, ok := d.cursors.get(subnet)
	if ok && (revision < now.revision || revision == now.revision && to.Less(now.address)) {
		return
	}
	if revision > 0 { // else it is not stored yet
		d.cursors.put(d.edit, subnet, cursor{to, revision})
	}
}
