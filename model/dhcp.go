package model

import (
	"fmt"
	"net/netip"
	"strings"
)

// DHCP configures the DHCP options of a subnet's endpoints besides address, gateway and MTU (RFC 2132, RFC 3442).
type DHCP struct {
	Lease  int           `json:"lease,omitempty" doc:"Length of a lease. An agent that is down renews none, so long leases are better." unit:"seconds" default:"86400" allowed:"60 to 31536000" example:"86400"`
	DNS    []netip.Addr  `json:"dns,omitempty" doc:"DNS servers." default:"none" allowed:"at most 8" example:"[10.0.0.53]"`
	Domain string        `json:"domain,omitempty" doc:"DNS domain of the endpoints." default:"none" allowed:"at most 200 characters" example:"blue.example.com"`
	Routes []StaticRoute `json:"routes,omitempty" doc:"Routes beside the default one. The next hop is an address of the subnet." default:"none" allowed:"at most 16" example:"[10.9.0.0/16 via 172.17.42.7]"`

	Dynamic bool `json:"dynamic,omitempty" doc:"Give an endpoint of its own to a machine behind the port of an endpoint that asks with a MAC of its own. Turning it off keeps dynamic endpoints that exist." default:"false" example:"true"`
	PerPort int  `json:"dynamicPerPort,omitempty" doc:"How many dynamic endpoints may be behind one port." default:"16" allowed:"1 to 1024" example:"16"`
}

// The length of a lease, in seconds.
const (
	minLease     = 60
	maxLease     = 365 * 24 * 3600
	DefaultLease = 24 * 3600
)

// How many dynamic endpoints may share a port.
const (
	maxPerPort     = 1024
	DefaultPerPort = 16
)

// What fits into one packet, with room to spare.
const (
	maxDNS    = 8
	maxRoutes = 16
	maxDomain = 200
)

// StaticRoute is a route of an endpoint's own: text in JSON, "10.9.0.0/16 via 10.0.0.7".
type StaticRoute struct {
	To  netip.Prefix
	Via netip.Addr
}

const routeForm = "write it like 10.9.0.0/16 via 10.0.0.7"

func (r StaticRoute) String() string { return fmt.Sprintf("%s via %s", r.To, r.Via) }

// MarshalText is [StaticRoute.String].
func (r StaticRoute) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads "CIDR via ADDRESS".
func (r *StaticRoute) UnmarshalText(text []byte) error {
	words := strings.Fields(string(text))
	if len(words) != 3 || words[1] != "via" {
		return fmt.Errorf("parse route %q: %s", text, routeForm)
	}
	to, err := netip.ParsePrefix(words[0])
	if err != nil {
		return fmt.Errorf("parse route %q: %w", text, err)
	}
	via, err := netip.ParseAddr(words[2])
	if err != nil {
		return fmt.Errorf("parse route %q: %w", text, err)
	}
	*r = StaticRoute{to, via}
	return nil
}

// LeaseTime is the length of a lease, in seconds; d may be nil.
func (d *DHCP) LeaseTime() uint32 {
	if d == nil || d.Lease == 0 {
		return DefaultLease
	}
	return uint32(d.Lease)
}

// DynamicPerPort is how many dynamic endpoints a port may have; d may be nil.
func (d *DHCP) DynamicPerPort() int {
	switch {
	case d == nil || !d.Dynamic:
		return 0
	case d.PerPort == 0:
		return DefaultPerPort
	}
	return d.PerPort
}

// dhcp checks for options that every client understands, and for next hops that endpoints reach.
func (f *findings) dhcp(d *DHCP, cidr netip.Prefix) {
	if d == nil {
		return
	}
	if d.Lease != 0 && (d.Lease < minLease || d.Lease > maxLease) {
		f.add("spec.dhcp.lease", d.Lease, fmt.Sprintf("is not from %d to %d", minLease, maxLease), "leave it out, and it is a day")
	}
	if d.PerPort < 0 || d.PerPort > maxPerPort {
		f.add("spec.dhcp.dynamicPerPort", d.PerPort, fmt.Sprintf("is not from 1 to %d", maxPerPort), fmt.Sprintf("leave it out, and it is %d", DefaultPerPort))
	}
	if len(d.DNS) > maxDNS {
		f.add("spec.dhcp.dns", nil, fmt.Sprintf("has %d servers, and %d at most are allowed", len(d.DNS), maxDNS), "leave some out")
	}
	for _, a := range d.DNS {
		if !a.Is4() || !unicast(a) {
			f.add("spec.dhcp.dns", a, "is not the IPv4 address of a server", "write it like 10.0.0.53")
		}
	}
	f.text("spec.dhcp.domain", d.Domain, maxDomain)
	if len(d.Routes) > maxRoutes {
		f.add("spec.dhcp.routes", nil, fmt.Sprintf("has %d routes, and %d at most are allowed", len(d.Routes), maxRoutes), "leave some out")
	}
	for _, r := range d.Routes {
		switch {
		case !r.To.Addr().Is4() || r.To != r.To.Masked():
			f.add("spec.dhcp.routes", r, "does not lead to an IPv4 network without host bits", routeForm)
		case cidr.IsValid() && !cidr.Contains(r.Via):
			f.add("spec.dhcp.routes", r, "has a next hop outside "+cidr.String(), "choose an address of the subnet")
		}
	}
}
