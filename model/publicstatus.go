package model

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

func summariseGateway(s *State, vpc string, _ Measured) any {
	status := &InternetGatewayStatus{PublicIPs: s.CountUnder("PublicIP", vpc)}
	for o := range s.BorderHosts(vpc) {
		status.Hosts = append(status.Hosts, o.Name)
	}
	addresses := map[netip.Addr]bool{}
	for o := range s.PortBlocksOf(vpc) {
		status.PortBlocks++
		addresses[o.Spec.(*PortBlockSpec).Address] = true
	}
	status.SNATAddresses = len(addresses)
	if spec := s.InternetGateway(vpc); spec != nil && len(status.Hosts) == 0 {
		status.Reason = noBorderHostReason(s, vpc, spec)
	} else if spec != nil {
		status.Reason = s.noPortsReason(vpc, spec)
	}
	return status
}

// noPortsReason names the hosts whose endpoints wait for a port block; empty if none do.
func (s *State) noPortsReason(vpc string, spec *InternetGatewaySpec) string {
	hosts := slices.Collect(s.hostsWaiting(vpc, spec))
	if len(hosts) == 0 {
		return ""
	}
	return fmt.Sprintf("no ports left in PublicPool %s for %s: %s", spec.Pool, count(len(hosts), "host"), firstFew(hosts, len(hosts)))
}

// noBorderHostReason says why a gateway has no border host: no host has the role, or none of the role has an outside.
func noBorderHostReason(s *State, vpc string, spec *InternetGatewaySpec) string {
	switch names, total := namesOf(s.GatewayHosts(vpc)); total {
	case 0:
		return "no host has the role " + spec.Role()
	case 1:
		return fmt.Sprintf("%s %s has no outside", spec.Role(), names)
	default:
		return fmt.Sprintf("%ss %s have no outside", spec.Role(), names)
	}
}

func summarisePool(s *State, name string, _ Measured) any {
	status := &PublicPoolStatus{Used: s.countPublicIn(name), SNAT: s.countLeased(name)}
	if spec := s.PublicPool(name); spec != nil {
		status.Size = spec.capacity()
	}
	status.Free = status.Size - status.Used
	return status
}

// summarisePublicIP follows the path of a packet from outside, and gives the first reason why it ends.
func summarisePublicIP(s *State, name string, m Measured) any {
	spec, gateway := s.PublicIP(name), s.InternetGateway(VPCOf(name))
	if spec == nil || gateway == nil {
		return &PublicIPStatus{State: PublicPending, Reason: "there is no InternetGateway " + VPCOf(name)}
	}
	if spec.Endpoint == "" {
		return &PublicIPStatus{State: PublicReserved, Reason: reservedReason(s, name)}
	}
	status := &PublicIPStatus{State: PublicPending}
	if endpoint := s.Endpoint(spec.Endpoint); endpoint != nil {
		status.Host = endpoint.Host
		status.Form = form(s, spec, gateway, endpoint.Host)
	}
	status.Reason = cmp.Or(noHostReason(s, spec.Endpoint), s.noNATReason(spec), noPathReason(s, VPCOf(name), gateway, status.Host, m), silentReason(spec.Endpoint, m))
	if status.Reason == "" {
		status.State = PublicReady
	}
	return status
}

// reservedReason says what a public address without an endpoint is used for.
func reservedReason(s *State, name string) string {
	if n := s.countForwardsAt(name); n > 0 {
		return "forwards " + count(n, "port")
	}
	return "no endpoint has it"
}

// form says how packets reach the host of an endpoint; empty if the endpoint is on no host, or cannot be reached.
func form(s *State, spec *PublicIPSpec, gateway *InternetGatewaySpec, host string) string {
	switch {
	case host == "" || s.noNATReason(spec) != "":
		return ""
	case gateway.Design == Central:
		return "central: by way of a gateway"
	case spec.NATIP.IsValid():
		return "distributed: natted via " + spec.NATIP.String()
	}
	return "distributed: unchanged"
}

// noHostReason says why the endpoint is on no host; empty if it is on one.
func noHostReason(s *State, name string) string {
	switch endpoint := s.Endpoint(name); {
	case endpoint == nil:
		return "Endpoint " + name + " does not exist"
	case endpoint.Host == "":
		return "Endpoint " + name + " is not plugged in"
	}
	return ""
}

// noNATReason says that the endpoint's host has no free NAT address for the public IP; empty if it has one, or needs
// none.
func (s *State) noNATReason(spec *PublicIPSpec) string {
	host, prefix, _ := s.natOf(spec)
	if spec.NATIP.IsValid() || !prefix.IsValid() {
		return ""
	}
	return fmt.Sprintf("Host %s has all of its %s in %s taken; give it a larger natPrefix, or release one", host, count(sizeOf(prefix), "NAT address"), prefix)
}

// noPathReason says why no border host passes public traffic to the endpoint's host; empty if one does, and each leg of
// the path was measured.
func noPathReason(s *State, vpc string, gateway *InternetGatewaySpec, host string, m Measured) string {
	why := noBorderHostReason(s, vpc, gateway)
	for o := range s.BorderHosts(vpc) {
		shut := closedReason(host, o.Name, m)
		if shut == "" {
			return ""
		}
		why = fmt.Sprintf("no %s leads to it; Host %s %s", gateway.Role(), o.Name, shut)
	}
	return why
}

// closedReason says why a border host passes no public traffic to another host; empty if it does: the upstream router
// answers the border host, and BFD finds the tunnel between the two hosts up.
func closedReason(host, border string, m Measured) string {
	status := m.Host(border)
	switch {
	case status == nil:
		return "has not reported yet"
	case !status.Ready:
		return "is not ready: " + status.Reason
	case status.Border == nil:
		return "has not reported on its upstream network yet"
	case !status.Border.Open:
		return "is shut: " + status.Border.Reason
	case host == border:
		return ""
	}
	if from := m.Host(host); from != nil {
		for _, t := range from.Tunnels {
			if t.Peer == border && t.BFD == TunnelUp {
				return ""
			}
		}
	}
	return "is not reached by Host " + host
}

// silentReason says why an endpoint is not Ready; empty if it is.
func silentReason(endpoint string, m Measured) string {
	status := m.Endpoint(Key{"Endpoint", endpoint})
	switch {
	case status == nil:
		return "its host has not reported Endpoint " + endpoint + " yet"
	case status.State == Ready:
		return ""
	}
	return "Endpoint " + endpoint + " is " + string(status.State) + ": " + status.Reason
}
