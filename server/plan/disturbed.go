package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/overlane/overlane/model"
)

// Disturbed lists the connections with the outside that changes may break: a line for each public address and forwarded
// port, and a line for each VPC whose endpoints have connections by SNAT. It does not repeat the changes of endpoints.
func Disturbed(before, after *model.State, changes []model.Change) (lines []string) {
	for _, c := range changes {
		if c.Action != model.Update && c.Action != model.Delete {
			continue
		}
		switch was := c.Before.Spec.(type) {
		case *model.PublicIPSpec:
			if why := takenAway(was, after.PublicIP(c.Before.Name)); why != "" && plugged(before, was.Endpoint) {
				lines = append(lines, publicLine(c.Before, why))
			}
		case *model.InternetGatewaySpec:
			lines = append(lines, ledElsewhere(before, after, c.Before.Name)...)
		}
	}
	return append(lines, forwardsDisturbed(before, after, changes)...)
}

// takenAway returns how an endpoint loses a public address; empty if it keeps it. now is nil if the address is deleted.
func takenAway(was, now *model.PublicIPSpec) string {
	switch {
	case now == nil:
		return "is given up"
	case was.Address != now.Address:
		return "is given up for " + now.Address.String()
	case was.Endpoint == now.Endpoint:
		return ""
	case now.Endpoint == "":
		return "is taken from it"
	}
	return "goes to Endpoint " + now.Endpoint
}

func plugged(s *model.State, name string) bool {
	endpoint := s.Endpoint(name)
	return endpoint != nil && endpoint.Host != ""
}

func publicLine(o *model.Object, why string) string {
	spec := o.Spec.(*model.PublicIPSpec)
	return fmt.Sprintf("public address %s (PublicIP %s) of Endpoint %s: %s", spec.Address, o.Name, spec.Endpoint, why)
}

// ledElsewhere lists the connections of a gateway that is gone or has other border hosts.
func ledElsewhere(before, after *model.State, vpc string) (lines []string) {
	was, now := before.InternetGateway(vpc), after.InternetGateway(vpc)
	why := elsewhere(hostsOver(before, vpc), hostsOver(after, vpc))
	switch {
	case now == nil:
		why = "has no internet gateway any more"
	case was.Design != now.Design:
		why = fmt.Sprintf("is reached in another design: %s, not %s", now.Design, was.Design)
	}
	for o := range before.PublicIPsOf(vpc) {
		p := o.Spec.(*model.PublicIPSpec)
		if why != "" && plugged(before, p.Endpoint) && takenAway(p, after.PublicIP(o.Name)) == "" {
			lines = append(lines, publicLine(o, why))
		}
	}
	switch {
	case now == nil:
	case was.SNAT && !now.SNAT:
		why = "is turned off"
	case why == "" && reLeased(before, after, vpc):
		why = fmt.Sprintf("has other ports: blocks of %d of PublicPool %s, not %d of %s", now.PortsPerHost, now.Pool,
			was.PortsPerHost, was.Pool)
	}
	if n := snatted(before, vpc); was.SNAT && why != "" && n > 0 {
		endpoints := "endpoints"
		if n == 1 {
			endpoints = "endpoint"
		}
		lines = append(lines, fmt.Sprintf("connections of %d %s of VPC %s by SNAT: it %s", n, endpoints, vpc, why))
	}
	return lines
}

// reLeased reports whether a host with endpoints has lost a port block.
func reLeased(before, after *model.State, vpc string) bool {
	for o := range before.PortBlocksOf(vpc) {
		now := after.PortBlock(o.Name)
		host := model.HostOf(o.Name)
		if (now == nil || *now != *o.Spec.(*model.PortBlockSpec)) && after.CountOnOf(host, vpc) > 0 {
			return true
		}
	}
	return false
}

func hostsOver(s *model.State, vpc string) (names []string) {
	for o := range s.BorderHosts(vpc) {
		names = append(names, o.Name)
	}
	slices.Sort(names)
	return names
}

// elsewhere returns how the border hosts differ; empty if they do not.
func elsewhere(was, now []string) string {
	if slices.Equal(was, now) {
		return ""
	}
	return fmt.Sprintf("passes other hosts: %s, not %s", listed(now), listed(was))
}

func listed(hosts []string) string {
	if len(hosts) == 0 {
		return "none"
	}
	return strings.Join(hosts, ", ")
}

// snatted counts the endpoints that reach the outside without a public address.
func snatted(s *model.State, vpc string) (n int) {
	for o := range s.EndpointsOf(vpc) {
		if o.Spec.(*model.EndpointSpec).Host != "" && s.PublicIPOf(o.Name) == nil {
			n++
		}
	}
	return n
}
