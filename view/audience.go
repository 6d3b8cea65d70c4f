package view

import "github.com/overlane/overlane/model"

// audience is the index of the subscribed hosts by what they have been told, so that a commit costs the hosts that it
// concerns, however many have subscribed.
type audience struct {
	vpcs     map[string]hostSet // by VPC: those that know its segments, its gateway or its public addresses
	nextHops hostSet            // those that know next hops
	hosts    hostSet            // those that know all hosts
}

type hostSet map[string]bool

func newAudience() audience {
	return audience{vpcs: map[string]hostSet{}, nextHops: hostSet{}, hosts: hostSet{}}
}

// concerned are the subscribed hosts that a commit may have news for: those that know what it touched, and those that
// are to know it now.
func (t *Tracker) concerned(touched *touched) hostSet {
	hosts := hostSet{}
	for vpc := range touched.vpcs {
		hosts.add(t.audience.vpcs[vpc])
		if !touched.members[vpc] && len(t.gateways.changed[vpc]) == 0 {
			continue // nobody sees the VPC who did not before
		}
		for host := range t.members[vpc] {
			t.addSubscribed(hosts, host)
		}
		g, _ := t.gateway(vpc)
		for _, host := range g.BorderHosts {
			t.addSubscribed(hosts, host)
		}
	}
	for host := range touched.changed {
		t.addNeighbours(hosts, host)
	}
	if touched.hosts || touched.gateways {
		hosts.add(t.audience.nextHops)
	}
	if touched.hosts || len(touched.addresses) > 0 {
		hosts.add(t.audience.hosts)
	}
	return hosts
}

func (h hostSet) add(others hostSet) {
	for host := range others {
		h[host] = true
	}
}

func (t *Tracker) addSubscribed(hosts hostSet, host string) {
	if t.subscriptions[host] != nil {
		hosts[host] = true
	}
}

// addNeighbours adds a host that changed, and those that it shares a VPC with. Those that it shares a passage's VPC
// with know all hosts, or next hops.
func (t *Tracker) addNeighbours(hosts hostSet, host string) {
	t.addSubscribed(hosts, host)
	seen := map[string]bool{}
	for o := range t.state.EndpointsOn(host) {
		if vpc := model.VPCOf(o.Name); !seen[vpc] {
			seen[vpc] = true
			hosts.add(t.audience.vpcs[vpc])
		}
	}
}

// follow enters what a host has been told of into the audience.
func (t *Tracker) follow(n *news) {
	for vpc, seen := range n.vpcs {
		t.audience.set(n.host, vpc, seen.now != (visibility{}))
	}
	t.audience.nextHops.set(n.host, len(n.nextHops) > 0)
	t.audience.hosts.set(n.host, n.knowsHosts)
}

// unfollow takes a host out.
func (t *Tracker) unfollow(host string) {
	s := t.subscriptions[host]
	if s == nil {
		return
	}
	for vpc := range s.visible {
		t.audience.set(host, vpc, false)
	}
	t.audience.nextHops.set(host, false)
	t.audience.hosts.set(host, false)
}

func (a *audience) set(host, vpc string, knows bool) {
	hosts := a.vpcs[vpc]
	if hosts == nil {
		hosts = hostSet{}
		a.vpcs[vpc] = hosts
	}
	if hosts.set(host, knows); len(hosts) == 0 {
		delete(a.vpcs, vpc)
	}
}

func (h hostSet) set(host string, in bool) {
	if in {
		h[host] = true
	} else {
		delete(h, host)
	}
}

// changedHosts are the hosts among the changes.
func changedHosts(changes []model.Change) hostSet {
	hosts := hostSet{}
	for _, c := range changes {
		if c.Key().Kind == "Host" {
			hosts[c.Key().Name] = true
		}
	}
	return hosts
}
