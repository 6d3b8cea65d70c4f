package model

import (
	"fmt"
	"iter"
	"net/netip"
	"strings"
	"unicode"
)

// EndpointSpec is one network interface of a container, VM or namespace. Its name is VPC/SUBNET/ENDPOINT.
//
// Agents write Host and Attachment, which say where the endpoint is plugged in; users write the other fields. So in a
// put that updates an endpoint:
//   - neither of the two: both stay as they are stored (a user's file that does not mention them unplugs nothing);
//   - an Attachment, be it an empty one: both become what the put says. No Host and an empty Attachment unplug;
//   - a Host alone: the same host changes nothing, another one moves the endpoint there, not attached to anything yet.
//
// Ephemeral is decided at creation. A later put without it makes the endpoint a lasting one; a later put with it does
// not make a lasting one ephemeral, so that no detach deletes what a user wrote down.
type EndpointSpec struct {
	Host       string      `json:"host,omitempty" doc:"Host where the endpoint is plugged in. Agents write it together with attachment. A user who names another host moves the endpoint there." default:"none: reserved, plugged in nowhere" kept:"true" example:"host1"`
	Address    netip.Addr  `json:"address,omitzero" doc:"IPv4 address inside the subnet." default:"the next free one" kept:"true" example:"172.17.42.2"`
	MAC        MAC         `json:"mac,omitzero" doc:"Unicast Ethernet address, unique in the subnet." default:"derived from the address" kept:"true" example:"02:4f:ac:11:2a:02"`
	Attachment *Attachment `json:"attachment,omitempty" doc:"What the endpoint is plugged into on its host." default:"none: not plugged in" kept:"true" by:"the agent"`
	Ephemeral  bool        `json:"ephemeral,omitempty" doc:"Made by attach, so detach deletes the endpoint instead of unplugging it. A put can only turn it off." default:"false" by:"the agent"`
}

// Attachment says what an endpoint is plugged into on its host.
type Attachment struct {
	Container string `json:"container,omitempty" doc:"ID of a Docker container." default:"none" by:"the agent"`
	Netns     string `json:"netns,omitempty" doc:"Path of a network namespace." default:"none" by:"the agent"`
	Interface string `json:"interface,omitempty" doc:"Interface inside the namespace, such as eth0." default:"none" by:"the agent"`
	Via       string `json:"via,omitempty" doc:"Endpoint of the same subnet and host, VPC/SUBNET/ENDPOINT, whose port leads to this one. Nothing else is set then." default:"none: a port of its own" by:"the agent"`
}

// The longest texts of an attachment, in bytes: Linux's IFNAMSIZ and PATH_MAX less the final NUL, and a name that is
// plenty for Docker's IDs of 64.
const (
	maxInterface = 15
	maxNetns     = 4095
	maxContainer = 255
)

var endpointKind = Kind{
	Name: "Endpoint", Plural: "endpoints", Short: "ep", Path: []string{"VPC", "SUBNET", "ENDPOINT"},
	Doc:       "A network interface of a container, VM or namespace, with its addresses.",
	New:       func() Spec { return new(EndpointSpec) },
	NewStatus: func() any { return new(EndpointStatus) },
	Columns: []Column{
		{"NAME", func(o Object) string { return o.Name }},
		{"ADDRESS", column(func(s *EndpointSpec) any { return s.Address })},
		{"MAC", column(func(s *EndpointSpec) any { return s.MAC })},
		{"HOST", column(func(s *EndpointSpec) any { return s.Host })},
		{"STATE", statusColumn(func(s *EndpointStatus) any { return s.State })},
		{"REASON", statusColumn(func(s *EndpointStatus) any { return s.Reason })},
	},
	admit: admitEndpoints,
}

// Check requires an IPv4 address and a unicast MAC, where given, and a host if there is an attachment.
func (s *EndpointSpec) Check(name string) Problems {
	f := findingsOf(Key{"Endpoint", name})
	if s.Address.IsValid() && !s.Address.Is4() {
		f.add("spec.address", s.Address, "is IPv6, which subnets do not have yet", "give an IPv4 address, or leave it out")
	}
	switch {
	case s.MAC.Multicast():
		f.add("spec.mac", s.MAC, "is a multicast address", "choose one whose first byte is even, or leave it out")
	case s.MAC == GatewayMAC:
		f.add("spec.mac", s.MAC, "is the MAC of every gateway", "choose another one, or leave it out")
	}
	if s.Host != "" {
		f.part("spec.host", s.Host)
	}
	if s.Attachment != nil {
		s.Attachment.check(f, name, s.Host)
	}
	return f.problems
}

func (t *Attachment) check(f *findings, name, host string) {
	if host == "" && *t != (Attachment{}) {
		f.add("spec.attachment", nil, "is on no host", "give spec.host too")
	}
	f.text("spec.attachment.container", t.Container, maxContainer)
	f.text("spec.attachment.netns", t.Netns, maxNetns)
	if t.Netns != "" && !strings.HasPrefix(t.Netns, "/") {
		f.add("spec.attachment.netns", t.Netns, "is not a path from the root", "give it as /run/netns/"+legalName(t.Netns)+", for example")
	}
	f.device("spec.attachment.interface", t.Interface)
	switch {
	case t.Via == "":
	case *t != (Attachment{Via: t.Via}):
		f.add("spec.attachment.via", t.Via, "is set together with another attachment", "leave out one or the other")
	case t.Via == name:
		f.add("spec.attachment.via", t.Via, "is the endpoint itself", "name the one behind whose port it is")
	case Parent(t.Via) != Parent(name):
		f.add("spec.attachment.via", t.Via, "is of another subnet", "name an endpoint of "+Parent(name))
	}
}

// Via names the endpoint whose port leads to this one; empty if it has a port of its own, or none.
func (s *EndpointSpec) Via() string {
	if s.Attachment == nil {
		return ""
	}
	return s.Attachment.Via
}

// device judges the name of a network interface.
func (f *findings) device(field, name string) {
	f.text(field, name, maxInterface)
	if strings.ContainsAny(name, "/ ") {
		f.add(field, name, "is not a name that Linux allows", "call it eth0, for example")
	}
}

// text judges a text that Overlane only passes on. It reaches an administrator's terminal, so it may have no character
// that moves the cursor or reverses text.
func (f *findings) text(field, value string, most int) {
	hidden := func(r rune) bool { return !unicode.IsPrint(r) }
	if len(value) > most {
		f.add(field, value, fmt.Sprintf("has %d characters, and %d at most are allowed", len(value), most), "shorten it")
	}
	if strings.ContainsFunc(value, hidden) {
		f.add(field, value, "has characters that do not show themselves", "leave them out")
	}
}

func (s *EndpointSpec) copy() Spec { c := *s; return &c }

// setDefaults follows the rules in the comment of the type.
func (s *EndpointSpec) setDefaults(stored Spec) {
	if was, _ := stored.(*EndpointSpec); was != nil {
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
	if s.Attachment != nil && *s.Attachment == (Attachment{}) {
		s.Attachment = nil
	}
}

func (s *EndpointSpec) index(d *draft, o, before *Object) {
	subnet := Parent(o.Name)
	d.endpointAt.put(d.edit, addressKey{subnet, s.Address}, o.Name)
	d.endpointWithMAC.put(d.edit, macKey{subnet, s.MAC}, o.Name)
	if s.Host != "" {
		d.onHost.put(d.edit, hostEndpoint{s.Host, o.Name}, o)
		d.updateRequestOn(o.Name, s.Host)
	}
	if before == nil || before.Spec.(*EndpointSpec).Address != s.Address {
		d.advance(subnet, s.Address, o.Revision)
	}
}

func (s *EndpointSpec) unindex(d *draft, o, _ *Object) {
	subnet := Parent(o.Name)
	release(d, &d.endpointAt, addressKey{subnet, s.Address}, o.Name)
	release(d, &d.endpointWithMAC, macKey{subnet, s.MAC}, o.Name)
	if s.Host != "" {
		d.onHost.remove(d.edit, hostEndpoint{s.Host, o.Name})
		d.updateRequestOn(o.Name, s.Host)
	}
}

// admitEndpoints requires that every endpoint has an address of its subnet for itself, and a host that exists and can
// carry it. Addresses that the request fixes are claimed before any is allocated.
func admitEndpoints(a *admission, puts []*put) {
	puts = a.withParents(puts, "Subnet")
	for _, p := range puts {
		if p.before != nil {
			p.before.Spec.unindex(a.draft, p.before, p.after)
		}
	}
	for _, p := range puts {
		spec := p.after.Spec.(*EndpointSpec)
		a.claimAddress(p, spec)
		a.claimMAC(p, spec)
		a.plugIn(p, spec)
		a.admitVia(p, spec)
	}
	puts = a.accepted(puts)
	for _, p := range puts {
		a.allocateAddress(p, p.after.Spec.(*EndpointSpec))
	}
	for _, p := range a.accepted(puts) {
		spec := p.after.Spec.(*EndpointSpec)
		if spec.MAC == (MAC{}) {
			spec.MAC = a.draft.freeMAC(Parent(p.after.Name), spec.Address)
		}
		a.draft.put(p.after)
	}
}

// claimAddress judges the address that an endpoint names, and takes it.
func (a *admission) claimAddress(p *put, spec *EndpointSpec) {
	if !spec.Address.IsValid() {
		return
	}
	name := Parent(p.after.Name)
	subnet := a.draft.Subnet(name)
	why := subnet.unusable(spec.Address)
	if why == "" && spec.Address == subnet.Gateway {
		why = "is the gateway of Subnet " + name
	}
	other, taken := a.draft.endpointAt.get(addressKey{name, spec.Address})
	if why == "" && taken {
		why = "is the address of Endpoint " + other
	}
	if why != "" {
		a.refuse(p, "spec.address", spec.Address, why, "choose a free address of "+subnet.CIDR.String()+", or leave it out")
		return
	}
	a.draft.endpointAt.put(a.draft.edit, addressKey{name, spec.Address}, p.after.Name)
	if was := p.plugged(); was != nil && spec.Host != "" && was.Address != spec.Address {
		a.refuse(p, "spec.address", spec.Address,
			fmt.Sprintf("cannot change from %s while the endpoint is plugged in on Host %s", was.Address, was.Host), "detach it first")
	}
}

// claimMAC judges the MAC that an endpoint names, and takes it.
func (a *admission) claimMAC(p *put, spec *EndpointSpec) {
	if spec.MAC == (MAC{}) {
		return
	}
	at := macKey{Parent(p.after.Name), spec.MAC}
	if other, taken := a.draft.endpointWithMAC.get(at); taken {
		a.refuse(p, "spec.mac", spec.MAC, "is the MAC of Endpoint "+other, "choose another one, or leave it out")
		return
	}
	a.draft.endpointWithMAC.put(a.draft.edit, at, p.after.Name)
	if was := p.plugged(); was != nil && spec.Host != "" && was.MAC != spec.MAC {
		a.refuse(p, "spec.mac", spec.MAC,
			fmt.Sprintf("cannot change from %s while the endpoint is plugged in on Host %s", was.MAC, was.Host), "detach it first")
	}
}

// plugged is the stored spec of an endpoint that has a host, else nil.
func (p *put) plugged() *EndpointSpec {
	if p.before == nil || p.before.Spec.(*EndpointSpec).Host == "" {
		return nil
	}
	return p.before.Spec.(*EndpointSpec)
}

// keepsPlugged refuses the change of a value that is set on the interface of every endpoint below p once, when the
// endpoint is plugged in: plugged-in endpoints would keep the old value.
func (a *admission) keepsPlugged(p *put, field string, was, value any) {
	if was == value {
		return
	}
	a.afterPuts(func() {
		if names, total := namesOf(a.stayPlugged(p.after.Name)); total > 0 {
			a.refuse(p, field, value, fmt.Sprintf("cannot change from %v while it has %s plugged in: %s", was, count(total, "endpoint"), names),
				"detach "+itOrThem(total)+" first")
		}
	})
}

// stayPlugged goes over the endpoints below a VPC or a subnet that are plugged in before and after the request.
func (a *admission) stayPlugged(parent string) iter.Seq[*Object] {
	return func(yield func(*Object) bool) {
		for o := range a.draft.EndpointsOf(parent) {
			was, host := a.stored.Endpoint(o.Name), o.Spec.(*EndpointSpec).Host
			if host != "" && was != nil && was.Host == host && !a.refused[o.Key()] && !yield(o) {
				return
			}
		}
	}
}

// plugIn judges the host that an endpoint is plugged in on. The host of an endpoint that stays was judged before.
func (a *admission) plugIn(p *put, spec *EndpointSpec) {
	if was := p.plugged(); spec.Host == "" || was != nil && was.Host == spec.Host {
		return
	}
	key := Key{"Host", spec.Host}
	if a.refused[key] {
		a.refused[p.key()] = true
		return
	}
	host := a.draft.Host(spec.Host)
	if host == nil {
		reason, remedy := a.absent(key)
		a.refuse(p, "spec.host", spec.Host, reason, remedy)
		return
	}
	vpc := VPCOf(p.after.Name)
	if v := a.draft.VPC(vpc); v != nil && v.MTU+Overhead > host.MTU {
		a.refuse(p, "spec.host", spec.Host,
			fmt.Sprintf("has an underlay MTU of %d, and VPC %s with MTU %d takes %d", host.MTU, vpc, v.MTU, v.MTU+Overhead),
			fmt.Sprintf("lower the VPC's MTU to %d, raise the host's, or choose another host", host.MTU-Overhead))
	}
}

// admitVia judges the endpoint that another one is reached through, if that has no port of its own. It does not change
// while the endpoint is plugged in, and was judged before.
func (a *admission) admitVia(p *put, spec *EndpointSpec) {
	via := spec.Via()
	if was := p.plugged(); was != nil && was.Host == spec.Host {
		if was.Via() != via {
			a.refuse(p, "spec.attachment.via", via, "cannot change while the endpoint is plugged in on Host "+was.Host, "detach it first")
		}
		return
	}
	if via == "" {
		return
	}
	a.afterPuts(func() {
		if a.refused[p.key()] {
			return
		}
		key, subnet := Key{"Endpoint", via}, a.draft.Subnet(Parent(p.after.Name))
		front := a.draft.Endpoint(via)
		switch limit := subnet.DHCP.DynamicPerPort(); {
		case a.refused[key]:
			a.refused[p.key()] = true
		case front == nil:
			reason, remedy := a.absent(key)
			a.refuse(p, "spec.attachment.via", via, reason, remedy)
		case front.Host != spec.Host || front.Attachment == nil || front.Via() != "":
			a.refuse(p, "spec.attachment.via", via, "has no port of its own on Host "+spec.Host, "name an endpoint that is attached there")
		case limit == 0:
			a.refuse(p, "spec.attachment.via", via, "is set, and Subnet "+Parent(via)+" has no dynamic endpoints", "set spec.dhcp.dynamic of the subnet")
		case a.draft.countBehind(via, front.Host) > limit:
			a.refuse(p, "spec.attachment.via", via, "may have no more than "+count(limit, "endpoint")+" behind it",
				"delete some, or raise spec.dhcp.dynamicPerPort of the subnet")
		}
	})
}

// countBehind is the number of endpoints that are reached through an endpoint of a host.
func (s *State) countBehind(via, host string) (n int) {
	for o := range s.EndpointsOnOf(host, Parent(via)) {
		if o.Spec.(*EndpointSpec).Via() == via {
			n++
		}
	}
	return n
}

// allocateAddress gives an address to an endpoint that has none.
func (a *admission) allocateAddress(p *put, spec *EndpointSpec) {
	if spec.Address.IsValid() {
		return
	}
	name := Parent(p.after.Name)
	subnet := a.draft.Subnet(name)
	address, ok := a.draft.freeAddress(name, subnet)
	if !ok {
		a.refuse(p, "spec.address", nil, fmt.Sprintf("cannot be allocated: Subnet %s (%s) has all of its %s taken", name, subnet.CIDR, count(subnet.capacity(), "address")),
			"delete endpoints that are no longer needed, or make another subnet")
		return
	}
	spec.Address = address
	a.draft.endpointAt.put(a.draft.edit, addressKey{name, address}, p.after.Name)
}

// Endpoint is the spec of an endpoint; nil if there is none of that name.
func (s *State) Endpoint(name string) *EndpointSpec {
	return specOf[*EndpointSpec](s, "Endpoint", name)
}

// EndpointsOf goes over the endpoints of a subnet or of a whole VPC, by name.
func (s *State) EndpointsOf(subnet string) iter.Seq[*Object] { return s.Under("Endpoint", subnet) }

// EndpointAt finds the endpoint that has an address of a subnet; nil if there is none.
func (s *State) EndpointAt(subnet string, address netip.Addr) *Object {
	name, _ := s.endpointAt.get(addressKey{subnet, address})
	return s.Get(Key{"Endpoint", name})
}

// EndpointWithMAC finds the endpoint that has a MAC of a subnet; nil if there is none.
func (s *State) EndpointWithMAC(subnet string, mac MAC) *Object {
	name, _ := s.endpointWithMAC.get(macKey{subnet, mac})
	return s.Get(Key{"Endpoint", name})
}
