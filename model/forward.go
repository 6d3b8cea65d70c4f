package model

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// ForwardSpec is a port of a public address that leads to a port of an endpoint, in the central design. Its name is
// VPC/FORWARD.
//
// Endpoint is named, not held, as in [PublicIPSpec]. What an update leaves out becomes the default.
type ForwardSpec struct {
	PublicIP   string `json:"publicIP" doc:"Public IP of the same VPC, VPC/PUBLICIP. It may not name an endpoint itself." example:"blue/www"`
	Protocol   string `json:"protocol,omitempty" doc:"Transport protocol." default:"tcp" allowed:"tcp, udp" example:"tcp"`
	Port       int    `json:"port" doc:"Port of the public address. Unique for each protocol." allowed:"1 to 65535" example:"443"`
	Endpoint   string `json:"endpoint" doc:"Endpoint of the same VPC that the port leads to, VPC/SUBNET/ENDPOINT. It need not exist yet." example:"blue/web/web1"`
	TargetPort int    `json:"targetPort,omitempty" doc:"Port of the endpoint." default:"the same as port" allowed:"1 to 65535" example:"8443"`
}

// Protocols that have ports.
const (
	TCP = "tcp"
	UDP = "udp"
)

var protocols = []string{TCP, UDP}

var forwardKind = Kind{
	Name: "Forward", Plural: "forwards", Short: "fwd", Path: []string{"VPC", "FORWARD"},
	Doc:       "Leads a port of a public IP to a port of an endpoint of the VPC.",
	New:       func() Spec { return new(ForwardSpec) },
	NewStatus: func() any { return new(ForwardStatus) },
	Columns: []Column{
		{"NAME", func(o Object) string { return o.Name }},
		{"PUBLIC", column(func(s *ForwardSpec) any { return s.PublicIP })},
		{"PROTOCOL", column(func(s *ForwardSpec) any { return s.Protocol })},
		{"PORT", column(func(s *ForwardSpec) any { return s.Port })},
		{"ENDPOINT", column(func(s *ForwardSpec) any { return s.Endpoint })},
		{"TARGET", column(func(s *ForwardSpec) any { return s.TargetPort })},
		{"STATE", statusColumn(func(s *ForwardStatus) any { return s.State })},
		{"REASON", statusColumn(func(s *ForwardStatus) any { return s.Reason })},
	},
	admit:     admitForwards,
	summarise: summariseForward,
}

// forwardKey is a port of a public IP.
type forwardKey struct {
	publicIP, protocol string
	port               int
}

func (s forwardKey) compare(t forwardKey) int {
	return cmp.Or(strings.Compare(s.publicIP, t.publicIP), strings.Compare(s.protocol, t.protocol), cmp.Compare(s.port, t.port))
}

func (s *ForwardSpec) key() forwardKey { return forwardKey{s.PublicIP, s.Protocol, s.Port} }

// Check requires well-formed names of a public IP and of an endpoint of the VPC, a protocol that has ports, and ports.
func (s *ForwardSpec) Check(name string) Problems {
	f := findingsOf(Key{"Forward", name})
	f.ofVPC("spec.publicIP", s.PublicIP, "VPC/PUBLICIP", "a public IP", "the forward", VPCOf(name))
	if s.Protocol != "" && !slices.Contains(protocols, s.Protocol) {
		f.add("spec.protocol", s.Protocol, "is not a protocol that has ports", suggest(s.Protocol, protocols, "use "+strings.Join(protocols, " or ")))
	}
	const aPort = "give a port from 1 to 65535"
	if s.Port == 0 {
		f.add("spec.port", nil, "is missing", aPort)
	} else if s.Port < 0 || s.Port > lastPort {
		f.add("spec.port", s.Port, "is not a port", aPort)
	}
	f.ofVPC("spec.endpoint", s.Endpoint, "VPC/SUBNET/ENDPOINT", "an endpoint", "the forward", VPCOf(name))
	if s.TargetPort < 0 || s.TargetPort > lastPort {
		f.add("spec.targetPort", s.TargetPort, "is not a port", aPort+", or leave it out")
	}
	return f.problems
}

// ofVPC requires the name of an object of a VPC, of the given form; "of" is the object that refers to it, for the
// message.
func (f *findings) ofVPC(field, name, form, what, of, vpc string) {
	if name == "" {
		f.add(field, nil, "is missing", "name it "+form)
		return
	}
	parts := strings.Split(name, "/")
	if want := strings.Count(form, "/") + 1; len(parts) != want {
		f.add(field, name, fmt.Sprintf("has %s, not %d", count(len(parts), "part"), want), "name it "+form)
		return
	}
	for _, part := range parts {
		f.part(field, part)
	}
	if parts[0] != vpc {
		f.add(field, name, "is in another VPC than "+of, "name "+what+" of VPC "+vpc)
	}
}

func (s *ForwardSpec) copy() Spec { c := *s; return &c }

func (s *ForwardSpec) setDefaults(Spec) {
	s.Protocol = cmp.Or(s.Protocol, TCP)
	s.TargetPort = cmp.Or(s.TargetPort, s.Port)
}

func (s *ForwardSpec) index(d *draft, o, _ *Object) {
	d.forwardAt.put(d.edit, s.key(), o.Name)
	d.forwardsTo.put(d.edit, namePair{s.Endpoint, o.Name}, o)
}

func (s *ForwardSpec) unindex(d *draft, o, _ *Object) {
	release(d, &d.forwardAt, s.key(), o.Name)
	d.forwardsTo.remove(d.edit, namePair{s.Endpoint, o.Name})
}

// Forward is the spec of a forwarded port; nil if there is none of that name.
func (s *State) Forward(name string) *ForwardSpec {
	return specOf[*ForwardSpec](s, "Forward", name)
}

// ForwardsOf goes over the forwarded ports of a VPC, by name.
func (s *State) ForwardsOf(vpc string) iter.Seq[*Object] { return s.Under("Forward", vpc) }

// ForwardsTo goes over the forwarded ports that lead to an endpoint, by name. The endpoint need not exist.
func (s *State) ForwardsTo(endpoint string) iter.Seq[*Object] {
	return secondsOf(s.forwardsTo, endpoint)
}

// ForwardsAt goes over the forwarded ports of a public IP, by protocol and port.
func (s *State) ForwardsAt(publicIP string) iter.Seq[*Object] {
	return func(yield func(*Object) bool) {
		for at, name := range s.forwardAt.from(forwardKey{publicIP: publicIP}) {
			if at.publicIP != publicIP || !yield(s.Get(Key{"Forward", name})) {
				return
			}
		}
	}
}

// countForwardsAt is the number of forwarded ports of a public IP, in logarithmic time.
func (s *State) countForwardsAt(publicIP string) int {
	return s.forwardAt.rank(forwardKey{publicIP: publicIP + "\x00"}) - s.forwardAt.rank(forwardKey{publicIP: publicIP})
}

// admitForwards requires that a port is forwarded once, in the central design, and of a public address that no endpoint
// has.
func admitForwards(a *admission, puts []*put) {
	puts = a.withAbove(puts, "InternetGateway", VPCOf)
	for _, p := range puts {
		if p.before != nil {
			p.before.Spec.unindex(a.draft, p.before, p.after)
		}
	}
	for _, p := range puts {
		spec := p.after.Spec.(*ForwardSpec)
		if a.forwardsAtAll(p, spec) && a.forwardable(p, spec) {
			a.claimPort(p, spec)
		}
	}
	for _, p := range a.accepted(puts) {
		a.draft.put(p.after)
	}
}

// forwardsAtAll judges the design of the gateway.
func (a *admission) forwardsAtAll(p *put, spec *ForwardSpec) bool {
	vpc := VPCOf(p.after.Name)
	design := a.draft.InternetGateway(vpc).Design
	if design != Central {
		a.refuse(p, "name", p.after.Name, fmt.Sprintf("is of InternetGateway %s, whose design is %s, and ports are forwarded in the design %s", vpc, design, Central),
			fmt.Sprintf("give the gateway the design %s, or Endpoint %s a public IP of its own", Central, spec.Endpoint))
	}
	return design == Central
}

// forwardable judges the public IP that a forward names.
func (a *admission) forwardable(p *put, spec *ForwardSpec) bool {
	key := Key{"PublicIP", spec.PublicIP}
	public := a.draft.PublicIP(spec.PublicIP)
	switch {
	case a.refused[key]:
		a.refused[p.key()] = true
	case public == nil:
		reason, remedy := a.absent(key)
		a.refuse(p, "spec.publicIP", spec.PublicIP, reason, remedy)
	case public.Endpoint != "":
		a.refuse(p, "spec.publicIP", spec.PublicIP, "is Endpoint "+public.Endpoint+"'s, with all of its ports", "name a public IP without an endpoint, or take it from that one first")
	default:
		return true
	}
	return false
}

// claimPort judges the port that a forward names, and takes it.
func (a *admission) claimPort(p *put, spec *ForwardSpec) {
	if other, taken := a.draft.forwardAt.get(spec.key()); taken {
		a.refuse(p, "spec.port", spec.Port, fmt.Sprintf("is forwarded already, for %s at PublicIP %s by Forward %s", spec.Protocol, spec.PublicIP, other),
			"choose another port or public IP, or change that one first")
		return
	}
	a.draft.forwardAt.put(a.draft.edit, spec.key(), p.after.Name)
}

// keepsPorts refuses an endpoint for a public IP of which ports are forwarded. It is called when every put is in the
// draft.
func (a *admission) keepsPorts(p *put, spec *PublicIPSpec) {
	if spec.Endpoint == "" {
		return
	}
	if names, total := namesOf(a.draft.ForwardsAt(p.after.Name)); total > 0 {
		a.refuse(p, "spec.endpoint", spec.Endpoint, fmt.Sprintf("cannot have a public IP of which %s forwarded: %s", portsAre(total), names),
			"delete "+itOrThem(total)+" first, or in the same request, or give it another public IP")
	}
}

// keepsCentral refuses another design for a gateway while ports are forwarded. It is called when every put is in the
// draft.
func (a *admission) keepsCentral(p *put, spec *InternetGatewaySpec) {
	if spec.Design == Central {
		return
	}
	if names, total := namesOf(a.draft.ForwardsOf(p.after.Name)); total > 0 {
		a.refuse(p, "spec.design", spec.Design, fmt.Sprintf("forwards no ports, and %s forwarded: %s", portsAre(total), names),
			"delete "+itOrThem(total)+" first, or in the same request, or keep the design "+Central)
	}
}

func portsAre(n int) string {
	if n == 1 {
		return "1 port is"
	}
	return count(n, "port") + " are"
}

// ForwardStatus is derived from the statuses of hosts and endpoints; see [Summarise].
type ForwardStatus struct {
	State  PublicIPState `json:"state" doc:"How far the forward has come." allowed:"Pending, Ready"`
	Reason string        `json:"reason,omitempty" doc:"Why the state is no better."`
	Host   string        `json:"host,omitempty" doc:"Host of the endpoint."`
}

// summariseForward follows the path of a packet from outside, and gives the first reason why it ends.
func summariseForward(s *State, name string, m Measured) any {
	spec, gateway := s.Forward(name), s.InternetGateway(VPCOf(name))
	status := &ForwardStatus{State: PublicPending}
	if spec == nil || gateway == nil {
		status.Reason = "there is no InternetGateway " + VPCOf(name)
		return status
	}
	if endpoint := s.Endpoint(spec.Endpoint); endpoint != nil {
		status.Host = endpoint.Host
	}
	status.Reason = cmp.Or(noHostReason(s, spec.Endpoint), noPathReason(s, VPCOf(name), gateway, status.Host, m), silentReason(spec.Endpoint, m))
	if status.Reason == "" {
		status.State = PublicReady
	}
	return status
}
