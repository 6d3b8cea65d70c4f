package view

import "github.com/overlane/overlane/model"

// audience is an index of the subscribed hosts by the rows that they have, so that the cost of a commit depends on the
// hosts that it concerns, not on all subscriptions.
type audience struct {
	vpcs     map[string]hostSet // by VPC: hosts with its segments, its gateway or its public addresses
	nextHops hostSet            // hosts with next hops
	hosts    hostSet            // hosts with the addresses of all hosts
}

type hostSet map[string]bool

func newAudience() audience {
	return audience{vpcs: map[string]hostSet{}, nextHops: hostSet{}, hosts: hostSet{}}
}

// concerned are the subscribed hosts whose views a commit may change: the hosts that have the touched rows, and the
// hosts that are to have them now.
func (t *Tracker) concerned(touched *touched) hostSet {
	hosts := hostSet{}
	for vpc := range touched.vpcs {
		hosts.add(t.audience.vpcs[vpc])
		if !touched.members[vpc] && len(t.gateways.changed[vpc]) == 0 {
			continue // the same hosts see the VPC as before
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

// addNeighbours adds a host that changed, and the hosts with endpoints of the same VPCs. The other hosts that need to
// know have the addresses of all hosts, or next hops.
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

// follow updates the audience after a host has been told its news.
func (t *Tracker) follow(n *news) {
	for vpc, seen := range n.vpcs {
		t.audience.set(n.host, vpc, seen.now != (visibility{}))
	}
	t.audience.nextHops.set(n.host, len(n.nextHops) > 0)
	t.audience.hosts.set(n.host, n.knowsHosts)
}

// unfollow removes a host from the audience.
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
