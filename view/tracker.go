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

// Tracker follows the state, commit by commit, and says what each change means to each subscribed host. A commit costs the hosts that it concerns times
// the subnets, public addresses and port blocks that it touched, whatever the size of the network and however many have subscribed. It is not safe for concurrent use.
type Tracker struct {
	state    *model.State
	members  map[string]map[string]int // subnet, or VPC -> host -> how many endpoints of it are there
	places   map[string]place          // endpoint -> where it was when last looked at
	gateways map[string]Gateway        // by VPC
	others   map[string][]netip.Addr   // by host: what it has found besides its VTEP
	found    map[string]bool           // of which hosts that is news since the last commit
	hosts    map[string]*known         // the subscribed
	audience audience                  // of the subscribed
}

// place is where an endpoint is plugged in.
type place struct {
	host string
	key  AddressKey
}

// known is what a subscribed host has been told.
type known struct {
	vtep     netip.Addr
	segments map[string]map[string]Segment // by VPC and subnet
	gateways map[string]Gateway            // by VPC
	sights   map[string]sight              // by VPC; blind if absent
	publics  map[string]map[string]Public  // by VPC and PublicIP
	forwards map[string]map[string]Forward // by VPC and Forward
	blocks   map[string]map[string]Block   // by VPC and PortBlock
	peers    Table[string, Peer]
	nextHops Table[string, NextHop]
	hosts    Table[string, Machine]
	leads    bool // a gateway translates there, so it knows the hosts
}

// NewTracker starts from a state.
func NewTracker(state *model.State) *Tracker {
	t := &Tracker{state: state, members: map[string]map[string]int{}, places: map[string]place{}, gateways: map[string]Gateway{}, others: map[string][]netip.Addr{}, found: map[string]bool{}, hosts: map[string]*known{}, audience: newAudience()}
	for o := range state.List("Endpoint") {
		t.move(o.Name)
	}
	for o := range state.List("InternetGateway") {
		t.lead(o.Name)
	}
	return t
}

// Subscribe gives the host's whole view and follows it from here on.
func (t *Tracker) Subscribe(host string) Delta {
	t.unfollow(host)
	t.hosts[host] = &known{segments: map[string]map[string]Segment{}, gateways: map[string]Gateway{}, sights: map[string]sight{},
		publics: map[string]map[string]Public{}, forwards: map[string]map[string]Forward{}, blocks: map[string]map[string]Block{}}
	d := Delta{Revision: t.state.Revision(), Complete: true}
	touched := newTouched()
	touched.hosts = true
	for o := range t.state.EndpointsOn(host) {
		touched.subnet(model.Parent(o.Name))
	}
	for vpc := range t.gateways {
		if t.sight(host, vpc) == all {
			touched.vpc(vpc)
		}
	}
	t.tell(host, touched, &d)
	d.sort()
	return d
}

// Unsubscribe ends that.
func (t *Tracker) Unsubscribe(host string) {
	t.unfollow(host)
	delete(t.hosts, host)
}

// Apply moves on to the state after a commit and gives the deltas that this means to the subscribed hosts; those that it does not
// concern are not in the map. Of the changes only the keys matter.
func (t *Tracker) Apply(next *model.State, changes []model.Change) map[string]Delta {
	t.state = next
	touched := t.touch(changes)
	touched.found, t.found = t.found, map[string]bool{}
	deltas := map[string]Delta{}
	for host := range t.concerned(touched) {
		d := Delta{Revision: next.Revision()}
		if t.tell(host, touched, &d) {
			d.sort()
			deltas[host] = d
		}
	}
	return deltas
}

// Found takes down by which addresses besides its VTEP a host may be reached, sorted, which no intent says. It reports whether they were others; the
// next Apply tells of them.
func (t *Tracker) Found(host string, others []netip.Addr) bool {
	if slices.Equal(t.others[host], others) {
		return false
	}
	t.found[host] = true
	if t.others[host] = others; len(others) == 0 {
		delete(t.others, host)
	}
	return true
}

// touched is what a commit may have changed for anybody.
type touched struct {
	hosts   bool            // a host or a pool came, went or changed
	changed hostSet         // those hosts
	led     bool            // which hosts a VPC's public traffic passes has changed
	found   map[string]bool // hosts that have found other addresses of theirs
	vpcs    map[string]*touchedVPC
}

type touchedVPC struct {
	subnets  map[string]map[AddressKey]bool // -> addresses in it that came, went or changed
	publics  map[string]bool                // PublicIPs, by name
	forwards map[string]bool                // Forwards, by name
	blocks   map[string]bool                // PortBlocks, by name
	whole    bool                           // the VPC itself
	members  bool                           // a host got its first endpoint, or lost its last
}

func newTouched() touched { return touched{vpcs: map[string]*touchedVPC{}} }

func (t *Tracker) touch(changes []model.Change) touched {
	r := newTouched()
	r.changed = changedHosts(changes)
	for _, c := range changes {
		name := c.Key().Name
		switch c.Key().Kind {
		case "Host", "PublicPool":
			r.hosts = true
		case "VPC":
			r.vpc(name).whole = true
			for o := range t.state.SubnetsOf(name) {
				r.subnet(o.Name)
			}
			r.led = t.lead(name) || r.led
		case "InternetGateway":
			r.vpc(name)
			r.led = t.lead(name) || r.led
		case "Subnet":
			r.subnet(name)
		case "Endpoint":
			t.touchEndpoint(name, &r)
		case "PublicIP":
			r.public(name)
			for o := range t.state.ForwardsAt(name) {
				r.forward(o.Name)
			}
		case "Forward":
			r.forward(name)
		case "PortBlock":
			r.block(name)
		}
	}
	if r.hosts {
		t.touchPassages(&r)
	}
	return r
}

func (t *Tracker) touchEndpoint(endpoint string, r *touched) {
	addresses := r.subnet(model.Parent(endpoint))
	places, members := t.move(endpoint)
	for _, p := range places {
		if p.host != "" {
			addresses[p.key] = true
		}
	}
	if members {
		r.vpc(vpcOf(endpoint)).members = true
	}
	if o := t.state.PublicIPOf(endpoint); o != nil {
		r.public(o.Name)
	}
	for o := range t.state.ForwardsTo(endpoint) {
		r.forward(o.Name)
	}
}

// touchPassages finds the VPCs whose passages are others since a host has changed.
func (t *Tracker) touchPassages(r *touched) {
	for o := range t.state.List("InternetGateway") {
		if t.lead(o.Name) {
			r.led = true
			r.vpc(o.Name)
		}
	}
}

// lead looks what a VPC's way outside is now, and reports whether it was another.
func (t *Tracker) lead(vpc string) bool {
	was, had := t.gateways[vpc]
	now, has := t.gateway(vpc)
	if has {
		t.gateways[vpc] = now
	} else {
		delete(t.gateways, vpc)
	}
	return had != has || !gateways.equal(was, now)
}

// move looks where an endpoint is now, and returns where it was and where it is, and whether a host has come to its VPC or gone from it.
func (t *Tracker) move(endpoint string) (places [2]place, members bool) {
	was := t.places[endpoint]
	var now place
	subnet := model.Parent(endpoint)
	if spec, in := t.state.Endpoint(endpoint), t.state.Subnet(subnet); spec != nil && in != nil {
		now = place{spec.Host, AddressKey{in.VNI, spec.Address}}
	}
	if was.host != now.host {
		t.count(subnet, was.host, -1)
		t.count(subnet, now.host, 1)
		gone, come := t.count(model.Parent(subnet), was.host, -1), t.count(model.Parent(subnet), now.host, 1)
		members = gone || come
	}
	if now.host == "" {
		delete(t.places, endpoint)
	} else {
		t.places[endpoint] = now
	}
	return [2]place{was, now}, members
}

func (r *touched) vpc(name string) *touchedVPC {
	if r.vpcs[name] == nil {
		r.vpcs[name] = &touchedVPC{subnets: map[string]map[AddressKey]bool{}}
	}
	return r.vpcs[name]
}

func (r *touched) subnet(name string) map[AddressKey]bool {
	vpc := r.vpc(model.Parent(name))
	if vpc.subnets[name] == nil {
		vpc.subnets[name] = map[AddressKey]bool{}
	}
	return vpc.subnets[name]
}

func (r *touched) public(name string)  { mark(&r.vpc(model.Parent(name)).publics, name) }
func (r *touched) forward(name string) { mark(&r.vpc(model.Parent(name)).forwards, name) }
func (r *touched) block(name string)   { mark(&r.vpc(model.Parent(name)).blocks, name) }

func mark(names *map[string]bool, name string) {
	if *names == nil {
		*names = map[string]bool{}
	}
	(*names)[name] = true
}

// vpcOf is the VPC of an endpoint.
func vpcOf(endpoint string) string { return model.Parent(model.Parent(endpoint)) }

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
func (t *Tracker) tell(host string, touched touched, d *Delta) bool {
	k := t.hosts[host]
	if vtep, ok := t.vtep(host); ok && vtep != k.vtep {
		d.VTEP, k.vtep = vtep, vtep
	}
	membership := touched.hosts
	for vpc, touched := range touched.vpcs {
		membership = t.tellVPC(host, vpc, touched, d) || membership
	}
	if touched.hosts || touched.led {
		t.tellNextHops(host, d)
	}
	if membership {
		t.tellPeers(host, d)
		t.tellHosts(host, touched.hosts, d)
	}
	t.tellFound(host, touched.found, d)
	t.follow(host, touched.vpcs)
	d.keepHandedOn()
	return !d.empty()
}

// tellVPC reports whether the host may have other peers for this VPC.
func (t *Tracker) tellVPC(host, vpc string, touched *touchedVPC, d *Delta) bool {
	gateway := t.tellGateway(host, vpc, d)
	members := t.tellSegments(host, vpc, touched.subnets, d)
	t.tellPublics(host, vpc, touched, d)
	t.tellForwards(host, vpc, touched, d)
	t.tellBlocks(host, vpc, touched, d)
	t.look(host, vpc)
	return gateway || members || touched.members && t.sight(host, vpc) == all
}
