package dataplane

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// Wiring is where things are plugged in on this host, as OpenFlow port numbers. An address of this host that is not in Ports
// is not plugged in (yet), and has no flows.
type Wiring struct {
	Tunnel  uint32
	UDPPort uint16 // that tunnels end at
	Ports   map[view.AddressKey]uint32

	Outside      uint32                    // the host's kernel, by which translated packets leave and come back; 0: they do not
	Translations map[model.VNI]Translation // by transit VNI, of the VPCs that this host translates for
	Reserved     []netip.Addr              // of hosts and servers: what leaves a VPC is for none of them, unless its gateway allows it

	Watched  map[string]uint32 // tunnel ports with BFD (RFC 5880), by the peer host at their end
	External uint32            // the interface on the upstream network; 0: this host is no passage
	Router   model.MAC         // of the upstream router; zero: not known yet
	Shut     bool              // this passage is to hold no next hop, though what comes to it still passes
	Underlay uint32            // on an edge: the host's kernel, which forwards to the hosts' own addresses on the underlay; 0: it does not
	Edges    map[string]uint32 // by edge: the host's kernel, which forwards to that edge
}

// Translation is what this host has given a VPC to translate with.
type Translation struct {
	Zone    uint16     // of conntrack
	Address netip.Addr // towards the host's kernel, which no other VPC of this host has
}

// Entries are what a switch must contain for something.
type Entries struct {
	Flows  []flow.Flow
	Groups []flow.Group
}

// add leaves out flows that another subject has asked for already; seen are those so far.
func (e *Entries) add(more Entries, seen map[flow.Key]uint64) {
	for _, f := range more.Flows {
		if cookie, ok := seen[f.Key()]; ok && cookie == f.Cookie() {
			continue
		}
		seen[f.Key()] = f.Cookie()
		e.Flows = append(e.Flows, f)
	}
	e.Groups = append(e.Groups, more.Groups...)
}

// Subject is one thing that asks for flows. Exactly one form is set: the zero Subject is the pipeline itself,
// whose flows every host has.
type Subject struct {
	VPC     model.VNI  // its transit VNI
	Public  netip.Addr // of a whole address, or of forwarded ports of it
	Block   view.BlockKey
	NextHop string // host
	Segment model.VNI
	Peer    string
	Address view.AddressKey
}

// Compile gives everything that the switch must contain.
func Compile(v *view.View, w Wiring) Entries {
	var all Entries
	seen := map[flow.Key]uint64{}
	for _, s := range Subjects(v) {
		all.add(CompileSubject(v, w, s), seen)
	}
	return all
}

// Subjects are all that ask for flows in a view, in a stable order.
func Subjects(v *view.View) []Subject {
	subjects := make([]Subject, 1, 1+len(v.Gateways)+len(v.Publics)+len(v.Blocks)+len(v.NextHops)+len(v.Segments)+len(v.Peers)+len(v.Addresses))
	for vpc := range v.Gateways {
		subjects = append(subjects, Subject{VPC: vpc})
	}
	for address := range publicAddresses(v) {
		subjects = append(subjects, Subject{Public: address})
	}
	for key := range v.Blocks {
		subjects = append(subjects, Subject{Block: key})
	}
	for host := range v.NextHops {
		subjects = append(subjects, Subject{NextHop: host})
	}
	for vni := range v.Segments {
		subjects = append(subjects, Subject{Segment: vni})
	}
	for host := range v.Peers {
		subjects = append(subjects, Subject{Peer: host})
	}
	for key := range v.Addresses {
		subjects = append(subjects, Subject{Address: key})
	}
	slices.SortFunc(subjects, compareSubjects)
	return subjects
}

func publicAddresses(v *view.View) map[netip.Addr]bool {
	addresses := make(map[netip.Addr]bool, len(v.Publics)+len(v.Forwards))
	for address := range v.Publics {
		addresses[address] = true
	}
	for key := range v.Forwards {
		addresses[key.Address] = true
	}
	return addresses
}

func compareSubjects(a, b Subject) int {
	return cmp.Or(
		cmp.Compare(a.VPC, b.VPC),
		a.Public.Compare(b.Public),
		a.Block.Address.Compare(b.Block.Address),
		cmp.Compare(a.Block.First, b.Block.First),
		strings.Compare(a.NextHop, b.NextHop),
		cmp.Compare(a.Segment, b.Segment),
		strings.Compare(a.Peer, b.Peer),
		cmp.Compare(a.Address.VNI, b.Address.VNI),
		a.Address.IP.Compare(b.Address.IP),
	)
}

// CompileSubject gives what one subject asks for: nothing, if the view no longer has it.
func CompileSubject(v *view.View, w Wiring, s Subject) Entries {
	switch {
	case s.VPC != 0:
		if gateway, ok := v.Gateways[s.VPC]; ok {
			return compileGateway(v, w, gateway)
		}
	case s.Public.IsValid():
		return compilePublic(v, w, s.Public)
	case s.Block.Address.IsValid():
		if block, ok := v.Blocks[s.Block]; ok {
			return compileBlock(v, w, block)
		}
	case s.NextHop != "":
		if n, ok := v.NextHops[s.NextHop]; ok {
			return compileNextHop(v, w, n)
		}
	case s.Segment != 0:
		if segment, ok := v.Segments[s.Segment]; ok {
			return compileSegment(v, w, segment)
		}
	case s.Peer != "":
		if peer, ok := v.Peers[s.Peer]; ok {
			return compilePeer(w, peer)
		}
	case s.Address.VNI != 0:
		if a, ok := v.Addresses[s.Address]; ok {
			return compileAddress(v, w, a)
		}
	default:
		return compileStatic(v, w)
	}
	return Entries{}
}

func compileStatic(v *view.View, w Wiring) Entries {
	var e Entries
	parts := [][]flow.Flow{
		admitStatic(w), sourceStatic(w), judgeStatic(w), answerStatic(), replyStatic(),
		forwardStatic(), routeStatic(w), deliverStatic(w), probeStatic(), locateStatic(), verifyStatic(), sameStatic(),
	}
	if w.hasOutside() {
		parts = append(parts, outsideStatic(w))
	}
	parts = append(parts, passageStatic(v, w))
	if w.External != 0 || w.Outside != 0 {
		parts = append(parts, onwardStatic(w))
	}
	for _, part := range parts {
		e.Flows = append(e.Flows, part...)
	}
	for i := range e.Flows {
		if e.Flows[i].Owner == "" {
			e.Flows[i].Owner = "pipeline"
		}
	}
	return e
}

func compileSegment(v *view.View, w Wiring, s view.Segment) Entries {
	e := Entries{Flows: []flow.Flow{locateGateway(s), sameSegment(s)}}
	for _, port := range localPorts(v, w, s.VNI) {
		e.Flows = append(e.Flows, admitEndpoint(s, port))
	}
	if s.DHCP.DynamicPerPort() > 0 {
		e.Flows = append(e.Flows, judgeUnknown(s))
	}
	if slices.Contains(s.Members, v.Host) {
		e.Flows = append(e.Flows, admitTunnel(w, s))
		if group, has := floodGroup(v, w, s); has {
			e.Groups = append(e.Groups, group)
			e.Flows = append(e.Flows, forwardFlood(s))
		}
	}
	if _, ok := w.Translations[s.VPC]; ok {
		e.Flows = append(e.Flows, locateUnknown(s))
	}
	for i := range e.Flows {
		if e.Flows[i].Owner == "" {
			e.Flows[i].Owner = "Subnet " + s.Subnet
		}
	}
	return e
}

func compilePeer(w Wiring, p view.Peer) Entries {
	e := Entries{Flows: []flow.Flow{verifyPeer(w, p)}}
	if port, ok := w.Watched[p.Host]; ok {
		e.Flows = append(e.Flows, enterWatched(w, p.Host, port))
	}
	return e
}

func compileGateway(v *view.View, w Wiring, g view.Gateway) Entries {
	var e Entries
	if g.Design == model.Central {
		e.Flows = append(e.Flows, admitTransit(v, w, g)...)
	}
	if t, ok := w.Translations[g.VPC]; ok {
		e.Flows = append(e.Flows, locateOutside(g))
		for _, to := range g.Allow {
			e.Flows = append(e.Flows, allow(g, to))
		}
		if g.SNAT && w.Outside != 0 {
			e.Flows = append(e.Flows, arriveTranslated(g, t), translateSource(w, g, t), departToKernel(g, t), departNearby(g, t))
		}
		e.Groups = append(e.Groups, passageGroups(v, w, g)...)
	}
	for i := range e.Flows {
		e.Flows[i].Owner = "InternetGateway " + g.Name
	}
	for i := range e.Groups {
		e.Groups[i].Owner = "InternetGateway " + g.Name
	}
	return e
}

func compileAddress(v *view.View, w Wiring, a view.Address) Entries {
	var e Entries
	s, ok := v.Segments[a.VNI]
	if !ok {
		return e
	}
	if a.Host == v.Host {
		if port, ok := w.Ports[a.AddressKey]; ok {
			e.Flows = []flow.Flow{verifyEndpoint(a, port), locateHere(s, a, port)}
		}
	} else if peer, ok := v.Peers[a.Host]; ok {
		e.Flows = []flow.Flow{locateElsewhere(s, a, peer)}
	}
	for i := range e.Flows {
		e.Flows[i].Owner = "Endpoint " + a.Endpoint
	}
	return e
}

// Affected lists the subjects whose entries a delta may change; v is the view before it. A complete delta, and a new
// VTEP of the host itself, affects everything: ok is false then, and the caller compiles the whole.
func Affected(v *view.View, d view.Delta) (subjects []Subject, ok bool) {
	if d.Complete || d.VTEP != (netip.Addr{}) && d.VTEP != v.VTEP {
		return nil, false
	}
	seen := map[Subject]bool{}
	add := func(s Subject) {
		if !seen[s] {
			seen[s] = true
			subjects = append(subjects, s)
		}
	}
	affectedOutside(v, d, add)
	for _, s := range d.Segments {
		if known, had := v.Segments[s.VNI]; had && known.VPC == s.VPC {
			add(Subject{Segment: s.VNI})
		} else {
			affectedBySegment(v, s.VNI, add)
		}
	}
	for _, vni := range d.GoneSegments {
		affectedBySegment(v, vni, add)
	}
	for _, p := range d.Peers {
		if known, had := v.Peers[p.Host]; !had || known != p {
			affectedByPeer(v, p.Host, add)
		}
	}
	for _, host := range d.GonePeers {
		affectedByPeer(v, host, add)
	}
	for _, a := range d.Addresses {
		affectedByAddress(v, a.AddressKey, a.Host, add)
	}
	for _, key := range d.GoneAddresses {
		affectedByAddress(v, key, "", add)
	}
	return subjects, true
}

func affectedOutside(v *view.View, d view.Delta, add func(Subject)) {
	for _, g := range d.Gateways {
		affectedByGateway(v, g.VPC, add)
	}
	for _, vpc := range d.GoneGateways {
		affectedByGateway(v, vpc, add)
	}
	for _, p := range d.Publics {
		add(Subject{Public: p.Address})
	}
	for _, address := range d.GonePublics {
		add(Subject{Public: address})
	}
	for _, f := range d.Forwards {
		add(Subject{Public: f.Address})
	}
	for _, key := range d.GoneForwards {
		add(Subject{Public: key.Address})
	}
	for _, b := range d.Blocks {
		add(Subject{Block: b.BlockKey})
	}
	for _, key := range d.GoneBlocks {
		add(Subject{Block: key})
	}
	if len(d.NextHops)+len(d.GoneNextHops) > 0 {
		add(Subject{})
		affectedNextHops(v, add)
		affectedAddresses(v, add)
	}
	for _, n := range d.NextHops {
		add(Subject{NextHop: n.Host})
	}
}

// affectedByGateway walks the segments and public addresses of a VPC: what none of its subnets has is outside only if there is a way there.
func affectedByGateway(v *view.View, vpc model.VNI, add func(Subject)) {
	for _, s := range OfVPC(v, vpc) {
		add(s)
	}
}

// OfVPC are the subjects that a VPC's way outside concerns.
func OfVPC(v *view.View, vpc model.VNI) []Subject {
	subjects := []Subject{{VPC: vpc}}
	if _, passage := v.NextHops[v.Host]; passage {
		subjects = append(subjects, Subject{NextHop: v.Host})
	}
	for vni, s := range v.Segments {
		if s.VPC == vpc {
			subjects = append(subjects, Subject{Segment: vni})
		}
	}
	for address, p := range v.Publics {
		if p.VPC == vpc {
			subjects = append(subjects, Subject{Public: address})
		}
	}
	for key, f := range v.Forwards {
		if f.VPC == vpc {
			subjects = append(subjects, Subject{Public: key.Address})
		}
	}
	for key, b := range v.Blocks {
		if b.VPC == vpc {
			subjects = append(subjects, Subject{Block: key})
		}
	}
	return subjects
}

// affectedAddresses: by which next hop an address of the upstream network is reached depends on which there are.
func affectedAddresses(v *view.View, add func(Subject)) {
	for address := range publicAddresses(v) {
		add(Subject{Public: address})
	}
	for key := range v.Blocks {
		add(Subject{Block: key})
	}
}

func affectedNextHops(v *view.View, add func(Subject)) {
	for host := range v.NextHops {
		add(Subject{NextHop: host})
	}
}

// affectedBySegment walks the whole view: a segment that comes or goes takes its addresses with it, and that is seldom.
func affectedBySegment(v *view.View, vni model.VNI, add func(Subject)) {
	add(Subject{Segment: vni})
	for key := range v.Addresses {
		if key.VNI == vni {
			add(Subject{Address: key})
		}
	}
}

// affectedByPeer walks the whole view: a host seldom comes, goes or changes its address.
func affectedByPeer(v *view.View, host string, add func(Subject)) {
	add(Subject{Peer: host})
	for vni, s := range v.Segments {
		if slices.Contains(s.Members, host) {
			add(Subject{Segment: vni})
		}
	}
	for key, a := range v.Addresses {
		if a.Host == host {
			add(Subject{Address: key})
		}
	}
	for vpc, g := range v.Gateways {
		if slices.Contains(g.Passages, host) {
			add(Subject{VPC: vpc})
		}
	}
	for address, p := range v.Publics {
		if p.Host == host {
			add(Subject{Public: address})
		}
	}
	for key, f := range v.Forwards {
		if f.Host == host {
			add(Subject{Public: key.Address})
		}
	}
	for key, b := range v.Blocks {
		if b.Host == host {
			add(Subject{Block: key})
		}
	}
	affectedNextHops(v, add)
}

// affectedByAddress: the port of an address of this host is the segment's, and gets a copy of its multicast.
func affectedByAddress(v *view.View, key view.AddressKey, host string, add func(Subject)) {
	add(Subject{Address: key})
	if host == v.Host || v.Addresses[key].Host == v.Host {
		add(Subject{Segment: key.VNI})
	}
}

// DropCounters names the counters of dropped packets: cookie of the flow -> name of the reason.
func DropCounters(v *view.View, w Wiring) map[uint64]string {
	names := map[uint64]string{}
	for _, f := range compileStatic(v, w).Flows {
		if reason, ok := strings.CutPrefix(f.Owner, dropOwner); ok {
			names[f.Cookie()] = reason
		}
	}
	return names
}
