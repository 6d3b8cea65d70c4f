package model

import (
	"cmp"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
)

// InternetGatewaySpec connects a VPC to the outside. It has the name of its VPC, which has at most one.
//
// An update that leaves out Design keeps it, and likewise Pool and PortsPerHost while they are needed; every other
// field becomes what the put says.
type InternetGatewaySpec struct {
	Design string         `json:"design,omitempty" doc:"How public addresses reach endpoints: distributed (edges send straight to the endpoint's host) or central (gateways hold the public addresses and tunnel to the host)." default:"distributed" allowed:"distributed, central" kept:"true" example:"central"`
	SNAT   bool           `json:"snat,omitempty" doc:"Let endpoints without a public address open connections to the outside." default:"false" example:"true"`
	Hosts  []string       `json:"hosts,omitempty" doc:"Border hosts: hosts of the role edge (distributed) or gateway (central) that public traffic of the VPC passes." default:"all hosts of that role" example:"[host1]"`
	Pool   string         `json:"pool,omitempty" doc:"PublicPool that SNAT takes ports of, in the central design." default:"the only pool there is" kept:"true" example:"world"`
	Allow  []netip.Prefix `json:"allow,omitempty" doc:"Addresses of Overlane's own hosts and servers that endpoints may reach all the same, by SNAT and by gateways, but not by edges." default:"none" example:"[192.168.5.2/32]"`

	PortsPerHost int `json:"portsPerHost,omitempty" doc:"Ports of a public address that SNAT has for the VPC's endpoints on one host, in the central design: a power of two. A change breaks all connections by SNAT." default:"1024" allowed:"64 to 32768" kept:"true" example:"1024"`
}

// The designs of an InternetGateway.
const (
	Distributed = "distributed"
	Central     = "central"
)

var designs = []string{Distributed, Central}

var internetGatewayKind = Kind{
	Name: "InternetGateway", Plural: "internetgateways", Short: "igw", Path: []string{"VPC"},
	Doc:       "Connects the VPC of the same name to the outside.",
	New:       func() Spec { return new(InternetGatewaySpec) },
	NewStatus: func() any { return new(InternetGatewayStatus) },
	Columns: []Column{
		{"NAME", func(o Object) string { return o.Name }},
		{"DESIGN", column(func(s *InternetGatewaySpec) any { return s.Design })},
		{"SNAT", column(func(s *InternetGatewaySpec) any { return yesNo(s.SNAT) })},
		{"HOSTS", statusColumn(func(s *InternetGatewayStatus) any { return strings.Join(s.Hosts, ",") })},
		{"PUBLIC-IPS", statusColumn(func(s *InternetGatewayStatus) any { return s.PublicIPs })},
		{"SNAT-IPS", statusColumn(func(s *InternetGatewayStatus) any { return s.SNATAddresses })},
		{"BLOCKS", statusColumn(func(s *InternetGatewayStatus) any { return s.PortBlocks })},
		{"REASON", statusColumn(func(s *InternetGatewayStatus) any { return s.Reason })},
	},
	admit:     admitInternetGateways,
	summarise: summariseGateway,
	users:     []users{{"public IP", (*State).PublicIPsOf}},
}

// Check requires a design that exists, hosts that differ, and IPv4 networks.
func (s *InternetGatewaySpec) Check(name string) Problems {
	f := findingsOf(Key{"InternetGateway", name})
	if s.Design != "" && !slices.Contains(designs, s.Design) {
		f.add("spec.design", s.Design, "is not a design", suggest(s.Design, designs, "use "+strings.Join(designs, ", ")))
	}
	for i, host := range s.Hosts {
		f.part("spec.hosts", host)
		if slices.Contains(s.Hosts[:i], host) {
			f.add("spec.hosts", host, "is given twice", "leave one out")
		}
	}
	for i, c := range s.Allow {
		f.cidr("spec.allow", c, 32, "internet gateways")
		if slices.Contains(s.Allow[:i], c) {
			f.add("spec.allow", c, "is given twice", "leave one out")
		}
	}
	if s.Pool != "" {
		f.part("spec.pool", s.Pool)
	}
	if s.PortsPerHost != 0 && !validBlockSize(s.PortsPerHost) {
		f.add("spec.portsPerHost", s.PortsPerHost, fmt.Sprintf("is not a power of two from %d to %d", MinPortsPerHost, MaxPortsPerHost), "leave it out, or double 1024 or halve it")
	}
	return f.problems
}

// Role is the role of the hosts that public traffic passes.
func (s *InternetGatewaySpec) Role() string {
	if s.Design == Central {
		return RoleGateway
	}
	return RoleEdge
}

func (s *InternetGatewaySpec) copy() Spec { c := *s; return &c }

func (s *InternetGatewaySpec) setDefaults(stored Spec) {
	was, _ := stored.(*InternetGatewaySpec)
	if was == nil {
		was = &InternetGatewaySpec{Design: Distributed}
	}
	if s.Design == "" {
		s.Design = was.Design
	}
	if s.Design == Central && s.SNAT {
		s.Pool = cmp.Or(s.Pool, was.Pool)
		s.PortsPerHost = cmp.Or(s.PortsPerHost, was.PortsPerHost, DefaultPortsPerHost)
	}
	if len(s.Hosts) == 0 {
		s.Hosts = nil
	}
	if len(s.Allow) == 0 {
		s.Allow = nil
	}
}

func (s *InternetGatewaySpec) index(d *draft, o, _ *Object) {
	for _, host := range s.Hosts {
		d.gatewaysByHost.put(d.edit, namePair{host, o.Name}, o)
	}
	if s.Pool != "" {
		d.gatewaysByPool.put(d.edit, namePair{s.Pool, o.Name}, o)
	}
	if !s.leases() {
		return
	}
	for host := range d.hostsWith(o.Name) {
		d.updateRequest(o.Name, host, d.PortBlock(o.Name+"/"+host) != nil)
	}
}

func (s *InternetGatewaySpec) unindex(d *draft, o, _ *Object) {
	for _, host := range s.Hosts {
		d.gatewaysByHost.remove(d.edit, namePair{host, o.Name})
	}
	d.gatewaysByPool.remove(d.edit, namePair{s.Pool, o.Name})
	for _, host := range slices.Collect(d.hostsWaiting(o.Name, s)) {
		d.blockRequests.remove(d.edit, blockRequest{s.Pool, s.PortsPerHost, o.Name + "/" + host})
	}
}

// admitInternetGateways requires that a gateway's VPC exists, that its hosts exist and have the role, and that its pool
// exists.
func admitInternetGateways(a *admission, puts []*put) {
	for _, p := range a.withAbove(puts, "VPC", VPCOf) {
		spec := p.after.Spec.(*InternetGatewaySpec)
		for _, host := range spec.Hosts {
			a.admitBorderHost(p, host, spec.Role())
		}
		if spec.Pool != "" || spec.Design == Central && spec.SNAT {
			a.choosePool(p, &spec.Pool, netip.Addr{})
		}
		if !a.refused[p.key()] {
			a.draft.put(p.after)
			a.afterPuts(func() { a.keepsCentral(p, spec) })
		}
	}
}

// admitBorderHost judges a host that a gateway names.
func (a *admission) admitBorderHost(p *put, host, role string) {
	key := Key{"Host", host}
	if a.refused[key] {
		a.refused[p.key()] = true
		return
	}
	spec := a.draft.Host(host)
	if spec == nil {
		reason, remedy := a.absent(key)
		a.refuse(p, "spec.hosts", host, reason, remedy)
	} else if !slices.Contains(spec.Roles, role) {
		a.refuse(p, "spec.hosts", host, fmt.Sprintf("has the roles %s, and a %s gateway leads over hosts of the role %s",
			strings.Join(spec.Roles, ", "), p.after.Spec.(*InternetGatewaySpec).Design, role), "give the host that role, or name another one")
	}
}

// InternetGateway is the spec of a VPC's gateway; nil if it has none.
func (s *State) InternetGateway(vpc string) *InternetGatewaySpec {
	return specOf[*InternetGatewaySpec](s, "InternetGateway", vpc)
}

// gatewaysOver goes over the InternetGateways that name a host, by VPC.
func (s *State) gatewaysOver(host string) iter.Seq[*Object] { return secondsOf(s.gatewaysByHost, host) }

// gatewaysFrom goes over the InternetGateways that name a pool, by VPC.
func (s *State) gatewaysFrom(pool string) iter.Seq[*Object] { return secondsOf(s.gatewaysByPool, pool) }

// gatewayOf is the InternetGateway of a VPC, if it has one.
func (s *State) gatewayOf(vpc string) iter.Seq[*Object] {
	return func(yield func(*Object) bool) {
		if o := s.Get(Key{"InternetGateway", vpc}); o != nil {
			yield(o)
		}
	}
}

// GatewayHosts goes over the hosts that the public traffic of a VPC may pass, by name or in the order of the gateway's
// spec; none if the VPC has no gateway.
func (s *State) GatewayHosts(vpc string) iter.Seq[*Object] {
	spec := s.InternetGateway(vpc)
	if spec == nil {
		return func(func(*Object) bool) {}
	}
	if len(spec.Hosts) == 0 {
		return s.HostsWithRole(spec.Role())
	}
	return func(yield func(*Object) bool) {
		for _, name := range spec.Hosts {
			if o := s.Get(Key{"Host", name}); o != nil && !yield(o) {
				return
			}
		}
	}
}

// BorderHosts goes over the border hosts of a VPC: hosts of [State.GatewayHosts] that have an outside.
func (s *State) BorderHosts(vpc string) iter.Seq[*Object] {
	return func(yield func(*Object) bool) {
		for o := range s.GatewayHosts(vpc) {
			if o.Spec.(*HostSpec).Outside != nil && !yield(o) {
				return
			}
		}
	}
}
