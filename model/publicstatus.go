package model

func summariseGateway(s *State, vpc string) *InternetGatewayStatus {
	status := &InternetGatewayStatus{PublicIPs: s.CountUnder("PublicIP", vpc)}
	for o := range s.GatewayHosts(vpc) {
		status.Hosts = append(status.Hosts, o.Name)
	}
	if spec := s.InternetGateway(vpc); spec != nil && len(status.Hosts) == 0 {
		status.Reason = noWay(spec)
	}
	return status
}

// noWay says why a gateway leads nowhere.
func noWay(spec *InternetGatewaySpec) string { return "no host has the role " + spec.Role() }

func summarisePool(s *State, name string) *PublicPoolStatus {
	status := &PublicPoolStatus{Used: s.countPublicIn(name)}
	if spec := s.PublicPool(name); spec != nil {
		status.Size = spec.capacity()
	}
	status.Free = status.Size - status.Used
	return status
}
