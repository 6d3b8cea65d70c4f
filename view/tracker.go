package view

import (
	"cmp"
	"maps"
	"net/netip"
	"reflect"
	"slices"

	"github.com/overlane/overlane/model"
)

// New gives the whole view of one host.
func New(state *model.State, host string) View {
	v := View{Host: host}
	v.Apply(NewTracker(state).Subscribe(host))
	return v
}

// Tracker follows the state, commit by commit, and says what each change means to each subscribed host. A commit costs the subscribed hosts times
// the subnets that it touched, whatever the size of the network. It is not safe for concurrent use.
type Tracker struct {
	state   *model.State
	members map[string]map[string]int // subnet, or VPC -> host -> how many endpoints of it are there
	places  map[string]place          // endpoint -> where it was when last looked at
	hosts   map[string]*known         // the subscribed
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
	peers    map[string]Peer
	hosts    map[string]Peer
}

// NewTracker starts from a state.
func NewTracker(state *model.State) *Tracker {
	t := &Tracker{state: state, members: map[string]map[string]int{}, places: map[string]place{}, hosts: map[string]*known{}}
	for o := range state.List("Endpoint") {
		t.move(o.Name)
	}
	return t
}

// Subscribe gives the host's whole view and follows it from here on.
func (t *Tracker) Subscribe(host string) Delta {
	t.hosts[host] = &known{segments: map[string]map[string]Segment{}, gateways: map[string]Gateway{}}
	d := Delta{Revision: t.state.Revision(), Complete: true}
	touched := newTouched()
	touched.hosts = true
	for o := range t.state.EndpointsOn(host) {
		touched.subnet(model.Parent(o.Name))
	}
	t.tell(host, touched, &d)
	d.sort()
	return d
}

// Unsubscribe ends that.
func (t *Tracker) Unsubscribe(host string) { delete(t.hosts, host) }

// Apply moves on to the state after a commit and gives the deltas that this means to the subscribed hosts; those that it does not
// concern are not in the map. Of the changes only the keys matter.
func (t *Tracker) Apply(next *model.State, changes []model.Change) map[string]Delta {
	t.state = next
	touched := t.touch(changes)
	deltas := map[string]Delta{}
	for host := range t.hosts {
		d := Delta{Revision: next.Revision()}
		if t.tell(host, touched, &d) {
			d.sort()
			deltas[host] = d
		}
	}
	return deltas
}

// touched is what a commit may have changed for anybody.
type touched struct {
	hosts bool // a host came, went or has another address
	vpcs  map[string]subnets
}

// subnets of a VPC -> addresses in it that came, went or changed
type subnets map[string]map[AddressKey]bool

func newTouched() touched { return touched{vpcs: map[string]subnets{}} }

func (t *Tracker) touch(changes []model.Change) touched {
	r := newTouched()
	for _, c := range changes {
		switch c.Key().Kind {
		case "Host":
			r.hosts = true
		case "VPC":
			r.vpc(c.Key().Name)
			for o := range t.state.SubnetsOf(c.Key().Name) {
				r.subnet(o.Name)
			}
		case "InternetGateway":
			r.vpc(c.Key().Name)
		case "Subnet":
			r.subnet(c.Key().Name)
		case "Endpoint":
			t.touchEndpoint(c.Key().Name, &r)
		}
	}
	return r
}

func (t *Tracker) touchEndpoint(endpoint string, r *touched) {
	addresses := r.subnet(model.Parent(endpoint))
	for _, p := range t.move(endpoint) {
		if p.host != "" {
			addresses[p.key] = true
		}
	}
}

// move looks where an endpoint is now, and returns where it was and where it is.
func (t *Tracker) move(endpoint string) [2]place {
	was := t.places[endpoint]
	var now place
	subnet := model.Parent(endpoint)
	if spec, in := t.state.Endpoint(endpoint), t.state.Subnet(subnet); spec != nil && in != nil {
		now = place{spec.Host, AddressKey{in.VNI, spec.Address}}
	}
	for _, in := range []string{subnet, model.Parent(subnet)} {
		t.count(in, was.host, -1)
		t.count(in, now.host, 1)
	}
	if now.host == "" {
		delete(t.places, endpoint)
	} else {
		t.places[endpoint] = now
	}
	return [2]place{was, now}
}

func (r *touched) vpc(name string) subnets {
	if r.vpcs[name] == nil {
		r.vpcs[name] = subnets{}
	}
	return r.vpcs[name]
}

func (r *touched) subnet(name string) map[AddressKey]bool {
	vpc := r.vpc(model.Parent(name))
	if vpc[name] == nil {
		vpc[name] = map[AddressKey]bool{}
	}
	return vpc[name]
}

func (t *Tracker) count(in, host string, n int) {
	if host == "" {
		return
	}
	if t.members[in] == nil {
		t.members[in] = map[string]int{}
	}
	t.members[in][host] += n
	if t.members[in][host] == 0 {
		delete(t.members[in], host)
	}
}

// tell adds to d what the host has to learn, and remembers that it was told. It reports whether there is anything.
func (t *Tracker) tell(host string, touched touched, d *Delta) bool {
	k := t.hosts[host]
	if vtep, ok := t.vtep(host); ok && vtep != k.vtep {
		d.VTEP, k.vtep = vtep, vtep
	}
	membership := touched.hosts
	for vpc, subnets := range touched.vpcs {
		membership = t.tellVPC(host, vpc, subnets, d) || membership
	}
	if membership {
		t.tellPeers(host, d)
	}
	if touched.hosts || len(d.Gateways)+len(d.GoneGateways) > 0 {
		t.tellHosts(host, d)
	}
	return !d.empty()
}

func (d *Delta) empty() bool {
	return d.VTEP == (netip.Addr{}) && len(d.Segments)+len(d.Peers)+len(d.Addresses)+len(d.Gateways)+len(d.Publics)+len(d.NextHops)+len(d.Hosts)+
		len(d.GoneSegments)+len(d.GonePeers)+len(d.GoneAddresses)+len(d.GoneGateways)+len(d.GonePublics)+len(d.GoneNextHops)+len(d.GoneHosts) == 0
}

// tellVPC reports whether hosts have come to the VPC or gone from it for this host. One that has just come is told of all subnets.
func (t *Tracker) tellVPC(host, vpc string, touched subnets, d *Delta) bool {
	k := t.hosts[host]
	known, had := k.segments[vpc]
	t.tellGateway(host, vpc, d)
	if t.members[vpc][host] == 0 {
		for _, s := range known {
			d.GoneSegments = append(d.GoneSegments, s.VNI)
		}
		delete(k.segments, vpc)
		return had
	}
	if !had {
		k.segments[vpc] = map[string]Segment{}
		touched = subnets{}
		for o := range t.state.SubnetsOf(vpc) {
			touched[o.Name] = nil
		}
	}
	changed := !had
	for subnet, addresses := range touched {
		changed = t.tellSegment(host, subnet, addresses, d) || changed
	}
	return changed
}

// tellGateway is about the VPC's way outside, of which only hosts with endpoints of the VPC are told.
func (t *Tracker) tellGateway(host, vpc string, d *Delta) {
	gateways := t.hosts[host].gateways
	old, had := gateways[vpc]
	now, has := t.gateway(vpc)
	has = has && t.members[vpc][host] > 0
	if had && (!has || old.VPC != now.VPC) {
		delete(gateways, vpc)
		d.GoneGateways = append(d.GoneGateways, old.VPC)
	}
	if has && !reflect.DeepEqual(old, now) {
		gateways[vpc] = now
		d.Gateways = append(d.Gateways, now)
	}
}

func (t *Tracker) gateway(vpc string) (g Gateway, ok bool) {
	spec, of := t.state.InternetGateway(vpc), t.state.VPC(vpc)
	if spec == nil || of == nil {
		return g, false
	}
	return Gateway{VPC: of.TransitVNI, Name: vpc, Design: spec.Design, SNAT: spec.SNAT, Allow: spec.Allow}, true
}

// tellSegment reports whether the segment's members have changed for this host.
func (t *Tracker) tellSegment(host, subnet string, addresses map[AddressKey]bool, d *Delta) bool {
	segments := t.hosts[host].segments[model.Parent(subnet)]
	old, had := segments[subnet]
	now, exists := t.segment(subnet)
	if had && old.VNI != now.VNI {
		delete(segments, subnet)
		d.GoneSegments = append(d.GoneSegments, old.VNI)
	}
	if !exists {
		return had
	}
	segments[subnet] = now
	changed := !had || !sameSegment(old, now)
	if changed {
		d.Segments = append(d.Segments, now)
	}
	if !had || old.VNI != now.VNI {
		t.tellAllAddresses(host, subnet, now.VNI, d)
	} else {
		t.tellAddresses(host, subnet, addresses, d)
	}
	return changed
}

func (t *Tracker) tellAllAddresses(host, subnet string, vni model.VNI, d *Delta) {
	for o := range t.state.EndpointsOf(subnet) {
		if spec := o.Spec.(*model.EndpointSpec); spec.Host != "" {
			d.Addresses = append(d.Addresses, address(host, vni, o.Name, spec))
		}
	}
}

func (t *Tracker) tellAddresses(host, subnet string, addresses map[AddressKey]bool, d *Delta) {
	for key := range addresses {
		if o := t.state.EndpointAt(subnet, key.IP); o != nil && o.Spec.(*model.EndpointSpec).Host != "" {
			d.Addresses = append(d.Addresses, address(host, key.VNI, o.Name, o.Spec.(*model.EndpointSpec)))
		} else {
			d.GoneAddresses = append(d.GoneAddresses, key)
		}
	}
}

func address(viewer string, vni model.VNI, name string, spec *model.EndpointSpec) Address {
	a := Address{AddressKey: AddressKey{vni, spec.Address}, MAC: spec.MAC, Endpoint: name, Host: spec.Host}
	if spec.Host == viewer {
		a.Ephemeral, a.Attachment = spec.Ephemeral, spec.Attachment
	}
	return a
}

func (t *Tracker) tellPeers(host string, d *Delta) {
	k := t.hosts[host]
	now := map[string]Peer{}
	for vpc := range k.segments {
		for member := range t.members[vpc] {
			if vtep, ok := t.vtep(member); ok && member != host {
				now[member] = Peer{Host: member, VTEP: vtep}
			}
		}
	}
	d.Peers, d.GonePeers = differ(k.peers, now)
	k.peers = now
}

// tellHosts names all hosts to one that translates for a VPC.
func (t *Tracker) tellHosts(host string, d *Delta) {
	k := t.hosts[host]
	now := map[string]Peer{}
	if slices.ContainsFunc(slices.Collect(maps.Values(k.gateways)), func(g Gateway) bool { return g.SNAT }) {
		for o := range t.state.List("Host") {
			now[o.Name] = Peer{Host: o.Name, VTEP: o.Spec.(*model.HostSpec).Address}
		}
	}
	d.Hosts, d.GoneHosts = differ(k.hosts, now)
	k.hosts = now
}

// differ gives the hosts that are new or have another address, and the names of those that are gone.
func differ(was, now map[string]Peer) (changed []Peer, gone []string) {
	for name, p := range now {
		if was[name] != p {
			changed = append(changed, p)
		}
	}
	for name := range was {
		if _, ok := now[name]; !ok {
			gone = append(gone, name)
		}
	}
	return changed, gone
}

func (t *Tracker) segment(name string) (Segment, bool) {
	spec := t.state.Subnet(name)
	if spec == nil {
		return Segment{}, false
	}
	s := Segment{VNI: spec.VNI, Subnet: name, CIDR: spec.CIDR, Gateway: spec.Gateway, DHCP: spec.DHCP,
		Members: slices.Sorted(maps.Keys(t.members[name]))}
	if vpc := t.state.VPC(model.Parent(name)); vpc != nil {
		s.VPC, s.MTU = vpc.TransitVNI, vpc.MTU
	}
	return s, true
}

func sameSegment(a, b Segment) bool { return reflect.DeepEqual(a, b) }

func (t *Tracker) vtep(host string) (netip.Addr, bool) {
	spec := t.state.Host(host)
	if spec == nil {
		return netip.Addr{}, false
	}
	return spec.Address, true
}

func (d *Delta) sort() {
	slices.SortFunc(d.Segments, func(a, b Segment) int { return cmp.Compare(a.VNI, b.VNI) })
	slices.SortFunc(d.Peers, func(a, b Peer) int { return cmp.Compare(a.Host, b.Host) })
	slices.SortFunc(d.Addresses, func(a, b Address) int { return compareKeys(a.AddressKey, b.AddressKey) })
	slices.SortFunc(d.Gateways, func(a, b Gateway) int { return cmp.Compare(a.VPC, b.VPC) })
	slices.SortFunc(d.Publics, func(a, b Public) int { return a.Address.Compare(b.Address) })
	slices.SortFunc(d.NextHops, func(a, b NextHop) int { return cmp.Compare(a.Host, b.Host) })
	slices.SortFunc(d.Hosts, func(a, b Peer) int { return cmp.Compare(a.Host, b.Host) })
	slices.Sort(d.GoneSegments)
	slices.Sort(d.GonePeers)
	slices.Sort(d.GoneGateways)
	slices.SortFunc(d.GonePublics, netip.Addr.Compare)
	slices.Sort(d.GoneNextHops)
	slices.Sort(d.GoneHosts)
	slices.SortFunc(d.GoneAddresses, compareKeys)
}

func compareKeys(a, b AddressKey) int {
	return cmp.Or(cmp.Compare(a.VNI, b.VNI), a.IP.Compare(b.IP))
}
