package view

import (
	"net/netip"
	"slices"

	"github.com/overlane/overlane/model"
)

// New gives the whole view of one host.
func New(state *model.State, host string) View {
	v := View{Host: host}
	v.Apply(NewTracker(state).Subscribe(host))
	return v
}

// Tracker follows the state, commit by commit, and says what each change means to each subscribed host. A commit costs
// the hosts that it concerns times the subnets, public addresses and port blocks that it touched, whatever the size of
// the network and however many have subscribed. It is not safe for concurrent use.
type Tracker struct {
	state          *model.State
	members        map[string]map[string]int // subnet, or VPC -> host -> how many endpoints of it are there
	locations      map[string]location       // endpoint -> where it was when last looked at
	otherAddresses map[string][]netip.Addr   // by host: what it has found besides its VTEP
	newAddresses   map[string]bool           // of which hosts that is news since the last commit
	sources        []source                  // of all kinds of rows
	gateways       *gatewaySource            // one of them
	subscriptions  map[string]*subscription  // by host
	audience       audience                  // of the subscribed
}

// place is where an endpoint is plugged in.
type location struct {
	host string
	key  AddressKey
}

// subscription is what a host has been told, as far as that does not follow from the sources.
type subscription struct {
	host       string
	vtep       netip.Addr
	visible    map[string]visibility // of the VPCs that it sees
	peers      Table[string, Peer]
	nextHops   Table[string, NextHop]
	knowsHosts bool // packets of some VPC leave from it, so it knows all hosts
}

// NewTracker starts from a state.
func NewTracker(state *model.State) *Tracker {
	t := &Tracker{state: state, members: map[string]map[string]int{}, locations: map[string]location{}, otherAddresses: map[string][]netip.Addr{},
		newAddresses: map[string]bool{}, subscriptions: map[string]*subscription{}, audience: newAudience()}
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

// Subscribe gives the host's whole view and follows it from here on.
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

// Unsubscribe ends that.
func (t *Tracker) Unsubscribe(host string) {
	t.unfollow(host)
	delete(t.subscriptions, host)
}

// Apply moves on to the state after a commit and gives the deltas that this means to the subscribed hosts; those that
// it does not concern are not in the map. Of the changes only the keys matter.
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

// Found takes down by which addresses besides its VTEP a host may be reached, sorted, which no intent says. It reports
// whether they were others; the next Apply tells of them.
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

// touched is what a commit may have changed for anybody.
type touched struct {
	hosts     bool                      // a host or a pool came, went or changed
	changed   hostSet                   // those hosts
	gateways  bool                      // a gateway came, went or changed
	addresses map[string]bool           // hosts that have found other addresses of theirs
	vpcs      map[string]addressesOfVPC // of which something has changed
	members   map[string]bool           // VPCs and subnets of which a host got its first endpoint, or lost its last
}

// addressesOfVPC are the addresses that came, went or changed, by subnet.
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

// touch finds what a commit has changed, and brings the sources up to date.
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

// move looks where an endpoint is now, and takes down where it was and where it is, and whether a host has come to its
// subnet or VPC, or gone from it.
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

// address takes down that something has changed where an endpoint was, or is; a place without a host is none.
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

// count reports whether the host has got its first endpoint there, or lost its last.
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

// tell adds to d what the host has to learn, and remembers that it was told. It reports whether there is anything.
func (t *Tracker) tell(host string, r *touched, d *Delta) bool {
	n := &news{touched: r, subscription: t.subscriptions[host], delta: d, vpcs: map[string]seen{}}
	if vtep, ok := t.vtep(host); ok && vtep != n.vtep {
		d.VTEP, n.vtep = vtep, vtep
	}
	for vpc := range r.vpcs {
		if seen := (seen{n.visible[vpc], t.visible(host, vpc)}); seen.was != (visibility{}) || seen.now != (visibility{}) {
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
