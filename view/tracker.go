package view

import (
	"net/netip"
	"slices"

	"github.com/overlane/overlane/model"
)

// New returns the whole view of one host.
func New(state *model.State, host string) View {
	v := View{Host: host}
	v.Apply(NewTracker(state).Subscribe(host))
	return v
}

// Tracker follows the state, commit by commit, and makes the deltas of all subscribed hosts. The cost of a commit is
// the number of hosts that it concerns times the number of subnets, public addresses and port blocks that it touches.
// It does not depend on the size of the network or the number of subscriptions. A Tracker is not safe for concurrent
// use.
type Tracker struct {
	state          *model.State
	members        map[string]map[string]int // subnet or VPC -> host -> number of its endpoints on the host
	locations      map[string]location       // of endpoints that are plugged in
	otherAddresses map[string][]netip.Addr   // by host: found by its agent, besides the VTEP
	newAddresses   map[string]bool           // hosts with other addresses since the last commit
	sources        []source                  // of all kinds of rows
	gateways       *gatewaySource            // one of them
	subscriptions  map[string]*subscription  // by host
	audience       audience                  // of the subscribed
}

// location is the host that an endpoint is plugged in on, and its address.
type location struct {
	host string
	key  AddressKey
}

// subscription is the part of a host's view that the sources do not have.
type subscription struct {
	host       string
	vtep       netip.Addr
	visible    map[string]visibility // by VPC that it sees
	peers      Table[string, Peer]
	nextHops   Table[string, NextHop]
	knowsHosts bool // packets leave a VPC from it, so it has the addresses of all hosts
}

// NewTracker returns a tracker at a state, without subscriptions.
func NewTracker(state *model.State) *Tracker {
	t := &Tracker{state: state, members: map[string]map[string]int{}, locations: map[string]location{},
		otherAddresses: map[string][]netip.Addr{},
		newAddresses:   map[string]bool{}, subscriptions: map[string]*subscription{}, audience: newAudience()}
	for _, e := range elements {
		if s := e.follow(t); s != nil {
			t.sources = append(t.sources, s)
		}
	}
	r := newTouched()
	for o := range state.List("Endpoint") {
		t.move(o.Name, r)
	}
	for _, s := range t.sources {
		s.load(t)
	}
	t.update(r)
	t.settle()
	return t
}

// Subscribe returns the host's whole view, and includes the host in the deltas from here on.
func (t *Tracker) Subscribe(host string) Delta {
	t.unfollow(host)
	t.subscriptions[host] = &subscription{host: host, visible: map[string]visibility{}}
	d := Delta{Revision: t.state.Revision(), Complete: true}
	r := newTouched()
	r.hosts, r.addresses = true, t.newAddresses
	t.update(r)
	for o := range t.state.EndpointsOn(host) {
		r.vpc(model.VPCOf(o.Name))
	}
	for vpc, g := range t.gateways.rows {
		if slices.Contains(g[vpc].BorderHosts, host) {
			r.vpc(vpc)
		}
	}
	t.tell(host, r, &d)
	d.sort()
	return d
}

// Unsubscribe ends the subscription of a host.
func (t *Tracker) Unsubscribe(host string) {
	t.unfollow(host)
	delete(t.subscriptions, host)
}

// Apply moves on to the state after a commit and returns the deltas of the subscribed hosts that the commit concerns.
// Of the changes it reads only the keys.
func (t *Tracker) Apply(next *model.State, changes []model.Change) map[string]Delta {
	t.state = next
	r := t.touch(changes)
	deltas := map[string]Delta{}
	for host := range t.concerned(r) {
		d := Delta{Revision: next.Revision()}
		if t.tell(host, r, &d) {
			d.sort()
			deltas[host] = d
		}
	}
	t.settle()
	return deltas
}

// RecordAddresses records the addresses of a host besides its VTEP, sorted, which its agent has found. It reports
// whether they have changed; the next Apply tells the hosts.
func (t *Tracker) RecordAddresses(host string, others []netip.Addr) bool {
	if slices.Equal(t.otherAddresses[host], others) {
		return false
	}
	t.newAddresses[host] = true
	if t.otherAddresses[host] = others; len(others) == 0 {
		delete(t.otherAddresses, host)
	}
	return true
}

// touched are the parts of all views that a commit may have changed.
type touched struct {
	hosts     bool                      // a host or a pool is new, gone or different
	changed   hostSet                   // the hosts among the changes
	gateways  bool                      // a gateway is new, gone or different
	addresses map[string]bool           // hosts that have other addresses besides their VTEPs
	vpcs      map[string]addressesOfVPC // VPCs with changes
	members   map[string]bool           // VPCs and subnets with a new host, or one less
}

// addressesOfVPC are the addresses that are new, gone or different, by subnet.
type addressesOfVPC map[string]map[AddressKey]bool

func newTouched() *touched {
	return &touched{vpcs: map[string]addressesOfVPC{}, members: map[string]bool{}}
}

func (r *touched) vpc(name string) addressesOfVPC {
	if r.vpcs[name] == nil {
		r.vpcs[name] = addressesOfVPC{}
	}
	return r.vpcs[name]
}

// touch finds the parts that a commit has changed, and updates the sources.
func (t *Tracker) touch(changes []model.Change) *touched {
	r := newTouched()
	r.changed = changedHosts(changes)
	r.addresses, t.newAddresses = t.newAddresses, map[string]bool{}
	for _, c := range changes {
		key := c.Key()
		switch key.Kind {
		case "Host", "PublicPool":
			r.hosts = true
		case "Endpoint":
			t.move(key.Name, r)
		}
		for _, s := range t.sources {
			s.touch(t, key, r)
		}
	}
	t.update(r)
	return r
}

func (t *Tracker) update(r *touched) {
	for _, s := range t.sources {
		s.update(t, r)
	}
}

func (t *Tracker) settle() {
	for _, s := range t.sources {
		s.settle()
	}
}

// move updates the location of an endpoint. It records the address before and now as changed, and subnet and VPC if a
// host has got its first endpoint there or lost its last one.
func (t *Tracker) move(endpoint string, r *touched) {
	was := t.locations[endpoint]
	var now location
	subnet := model.Parent(endpoint)
	if spec, in := t.state.Endpoint(endpoint), t.state.Subnet(subnet); spec != nil && in != nil {
		now = location{spec.Host, AddressKey{in.VNI, spec.Address}}
	}
	if was.host != now.host {
		for _, in := range []string{subnet, model.Parent(subnet)} {
			gone, come := t.count(in, was.host, -1), t.count(in, now.host, 1)
			r.members[in] = r.members[in] || gone || come
		}
	}
	if now.host == "" {
		delete(t.locations, endpoint)
	} else {
		t.locations[endpoint] = now
	}
	r.address(subnet, was)
	r.address(subnet, now)
}

// address records the address of a location as changed. A location without a host is none.
func (r *touched) address(subnet string, at location) {
	if at.host == "" {
		return
	}
	addresses := r.vpc(model.Parent(subnet))
	if addresses[subnet] == nil {
		addresses[subnet] = map[AddressKey]bool{}
	}
	addresses[subnet][at.key] = true
}

// count counts the endpoints of a subnet or VPC on a host. It reports whether the host has got its first one or lost
// its last one.
func (t *Tracker) count(in, host string, n int) bool {
	if host == "" {
		return false
	}
	if t.members[in] == nil {
		t.members[in] = map[string]int{}
	}
	was := t.members[in][host]
	t.members[in][host] = was + n
	if was+n == 0 {
		delete(t.members[in], host)
	}
	return was == 0 || was+n == 0
}

// tell adds the news of a host to d, and records them as told. It reports whether there are any.
func (t *Tracker) tell(host string, r *touched, d *Delta) bool {
	n := &news{touched: r, subscription: t.subscriptions[host], delta: d, vpcs: map[string]seen{}}
	if vtep, ok := t.vtep(host); ok && vtep != n.vtep {
		d.VTEP, n.vtep = vtep, vtep
	}
	for vpc := range r.vpcs {
		if seen := (seen{n.visible[vpc], t.visible(host, vpc)}); seen.was != (visibility{}) ||
			seen.now != (visibility{}) {
			n.vpcs[vpc] = seen
			n.see(vpc, seen.now)
		}
	}
	for _, s := range t.sources {
		s.tell(t, n)
	}
	t.follow(n)
	return !d.empty()
}

func (s *subscription) see(vpc string, now visibility) {
	if now == (visibility{}) {
		delete(s.visible, vpc)
	} else {
		s.visible[vpc] = now
	}
}
