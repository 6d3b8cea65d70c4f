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

	Watched  map[string]uint32 // tunnel ports with BFD (RFC 5880), by the peer host at their end
	External uint32            // the interface on the upstream network; 0: this host is no passage
	Router   model.MAC         // of the upstream router; zero: not known yet
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

func (e *Entries) add(more Entries) {
	e.Flows = append(e.Flows, more.Flows...)
	e.Groups = append(e.Groups, more.Groups...)
}

// Subject is one thing that asks for flows. Exactly one form is set: the zero Subject is the pipeline itself,
// whose flows every host has.
type Subject struct {
	VPC     model.VNI // its transit VNI
	Segment model.VNI
	Peer    string
	Address view.AddressKey
}

// Compile gives everything that the switch must contain.
func Compile(v *view.View, w Wiring) Entries {
	var all Entries
	for _, s := range Subjects(v) {
		all.add(CompileSubject(v, w, s))
	}
	return all
}

// Subjects are all that ask for flows in a view, in a stable order.
func Subjects(v *view.View) []Subject {
	subjects := make([]Subject, 1, 1+len(v.Gateways)+len(v.Segments)+len(v.Peers)+len(v.Addresses))
	for vpc := range v.Gateways {
		subjects = append(subjects, Subject{VPC: vpc})
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

func compareSubjects(a, b Subject) int {
	return cmp.Or(
		cmp.Compare(a.VPC, b.VPC),
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
			return compileGateway(w, gateway)
		}
	case s.Segment != 0:
		if segment, ok := v.Segments[s.Segment]; ok {
			return compileSegment(v, w, segment)
		}
	case s.Peer != "":
		if peer, ok := v.Peers[s.Peer]; ok {
			return Entries{Flows: []flow.Flow{verifyPeer(w, peer)}}
		}
	case s.Address.VNI != 0:
		if a, ok := v.Addresses[s.Address]; ok {
			return compileAddress(v, w, a)
		}
	default:
		return compileStatic(w)
	}
	return Entries{}
}

func compileStatic(w Wiring) Entries {
	var e Entries
	parts := [][]flow.Flow{
		admitStatic(w), sourceStatic(w), judgeStatic(w), answerStatic(), replyStatic(),
		forwardStatic(), routeStatic(w), deliverStatic(w), probeStatic(), locateStatic(), verifyStatic(), sameStatic(),
	}
	if w.Outside != 0 {
		parts = append(parts, outsideStatic(w))
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
	if slices.Contains(s.Members, v.Host) {
		e.Flows = append(e.Flows, admitTunnel(w, s))
		if group, has := floodGroup(v, w, s); has {
			e.Groups = append(e.Groups, group)
			e.Flows = append(e.Flows, forwardFlood(s))
		}
	}
	if g, ok := v.Gateways[s.VPC]; ok && w.leads(g) {
		e.Flows = append(e.Flows, locateUnknown(s))
	}
	for i := range e.Flows {
		e.Flows[i].Owner = "Subnet " + s.Subnet
	}
	return e
}

func compileGateway(w Wiring, g view.Gateway) Entries {
	if !w.leads(g) {
		return Entries{}
	}
	t := w.Translations[g.VPC]
	e := Entries{Flows: []flow.Flow{locateOutside(g), arriveTranslated(w, g, t), translateSource(w, g, t), departToKernel(w, g, t)}}
	for i := range e.Flows {
		e.Flows[i].Owner = "InternetGateway " + g.Name
	}
	return e
}

// leads tells whether a gateway is a way outside on this host.
func (w Wiring) leads(g view.Gateway) bool {
	_, translated := w.Translations[g.VPC]
	return w.Outside != 0 && g.SNAT && translated
}

func compileAddress(v *view.View, w Wiring, a view.Address) Entries {
	var e Entries
	s, ok := v.Segments[a.VNI]
	if !ok {
		return e
	}
	if a.Host == v.Host {
		if port, ok := w.Ports[a.AddressKey]; ok {
			e.Flows = []flow.Flow{admitEndpoint(s, port), verifyEndpoint(a, port), locateHere(s, a, port)}
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
	for _, g := range d.Gateways {
		affectedByGateway(v, g.VPC, add)
	}
	for _, vpc := range d.GoneGateways {
		affectedByGateway(v, vpc, add)
	}
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

// affectedByGateway walks the segments: what none of them has is outside only if there is a way there.
func affectedByGateway(v *view.View, vpc model.VNI, add func(Subject)) {
	add(Subject{VPC: vpc})
	for vni, s := range v.Segments {
		if s.VPC == vpc {
			add(Subject{Segment: vni})
		}
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
}

// affectedByAddress: an address of this host is also a copy of its segment's multicast.
func affectedByAddress(v *view.View, key view.AddressKey, host string, add func(Subject)) {
	add(Subject{Address: key})
	if host == v.Host || v.Addresses[key].Host == v.Host {
		add(Subject{Segment: key.VNI})
	}
}

// DropCounters names the counters of dropped packets: cookie of the flow -> name of the reason.
func DropCounters(w Wiring) map[uint64]string {
	names := map[uint64]string{}
	for _, f := range compileStatic(w).Flows {
		if reason, ok := strings.CutPrefix(f.Owner, dropOwner); ok {
			names[f.Cookie()] = reason
		}
	}
	return names
}
