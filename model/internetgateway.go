package model

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// InternetGatewaySpec joins a VPC to the world outside. Its name is the VPC's, which has one at most.
//
// Design is kept by an update that leaves it out, and so are Pool and PortsPerHost while they are needed; everything else becomes what the put says.
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
	settle: settleInternetGateways,
	users:  []users{{"public IP", (*State).PublicIPsOf}},
}

// Check wants a design that there is, hosts that differ, and IPv4 networks.
func (s *InternetGatewaySpec) Check(name string) Problems {
	f := about(Key{"InternetGateway", name})
	if s.Design != "" && !slices.Contains(designs, s.Design) {
		f.add("spec.design", s.Design, "is not a design", meant(s.Design, designs, "use "+strings.Join(designs, ", ")))
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
	if s.PortsPerHost != 0 && !sized(s.PortsPerHost) {
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

func (s *InternetGatewaySpec) complete(stored Spec) {
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

func (s *InternetGatewaySpec) enter(d *draft, o, _ *Object) {
	for _, host := range s.Hosts {
		d.passes.put(d.edit, pair{host, o.Name}, o)
	}
	if s.Pool != "" {
		d.pools.put(d.edit, pair{s.Pool, o.Name}, o)
	}
	if !s.leases() {
		return
	}
	for host := range d.hostsWith(o.Name) {
		d.await(o.Name, host, d.PortBlock(o.Name+"/"+host) != nil)
	}
}

func (s *InternetGatewaySpec) leave(d *draft, o, _ *Object) {
	for _, host := range s.Hosts {
		d.passes.remove(d.edit, pair{host, o.Name})
	}
	d.pools.remove(d.edit, pair{s.Pool, o.Name})
	for _, host := range slices.Collect(d.waitingOf(o.Name, s)) {
		d.waiting.remove(d.edit, wanting{s.Pool, s.PortsPerHost, o.Name + "/" + host})
	}
}

// settleInternetGateways sees to it that gateways are of VPCs that exist, lead over hosts that exist and have the role, and take ports of a pool that exists.
func settleInternetGateways(a *admission, puts []*put) {
	for _, p := range a.withAbove(puts, "VPC", vpcOf) {
		spec := p.after.Spec.(*InternetGatewaySpec)
		for _, host := range spec.Hosts {
			a.leadOver(p, host, spec.Role())
		}
		if spec.Pool != "" || spec.Design == Central && spec.SNAT {
			a.choosePool(p, &spec.Pool, netip.Addr{})
		}
		if !a.refused[p.key()] {
			a.draft.put(p.after)
			a.later(func() { a.keepsCentral(p, spec) })
		}
	}
}

// leadOver judges a host that a gateway names.
func (a *admission) leadOver(p *put, host, role string) {
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
