package agent

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"

	"github.com/overlane/overlane/attach"
	"github.com/overlane/overlane/firewall"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/outside"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/view"
)

// In the distributed design, public traffic goes over the underlay as it is, from kernel to kernel. The kernel is this host's on both sides of the switch:
// an edge's kernel is led to by a port of its own, so that the switch decides which edge, and whether that is alive.
const (
	underlayPort = "ovl-underlay" // on an edge
	edgePorts    = "ovl-e-"       // on a host of public addresses, for each edge, and what its hash is
)

// passedMark is in the byte that neither Tailscale, Kubernetes nor AWS mark.
const passedMark, passedMask = 0x4f000000, 0xff000000

func edgePort(edge string) string { return attach.HashedIf(edgePorts, edge, 15) }

// distributed tells whether a public address is reached over the underlay as it is.
func (a *Agent) distributed(p view.Public) bool {
	return a.view.Gateways[p.VPC].Design == model.Distributed
}

// hosts tells whether an endpoint of this host has such an address.
func (a *Agent) hosts(p view.Public) bool { return p.Host == a.config.Host && a.distributed(p) }

// edges are those of the VPCs of which this host has public addresses.
func (a *Agent) edges() []string {
	edges := map[string]bool{}
	for _, p := range a.view.Publics {
		if a.hosts(p) {
			for _, host := range a.view.Gateways[p.VPC].Passages {
				if _, ok := a.view.Peers[host]; ok {
					edges[host] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(edges))
}

// passes tells whether traffic of a VPC passes this host as an edge.
func (a *Agent) passes(g view.Gateway) bool {
	_, hop := a.view.NextHops[a.config.Host]
	return hop && g.Design == model.Distributed && slices.Contains(g.Passages, a.config.Host)
}

func (a *Agent) isEdge() bool {
	for _, g := range a.view.Gateways {
		if a.passes(g) {
			return true
		}
	}
	return false
}

func (a *Agent) nativePorts() (ports []ovs.BridgePort) {
	for _, edge := range a.edges() {
		ports = append(ports, ovs.BridgePort{Name: edgePort(edge), Type: "internal", MAC: model.KernelMAC.String()})
	}
	if a.isEdge() {
		ports = append(ports, ovs.BridgePort{Name: underlayPort, Type: "internal", MAC: model.KernelMAC.String()})
	}
	return ports
}

// native is what the host's kernel is to carry, by ports that are there; ok is false if it is nothing.
func (a *Agent) native() (n outside.Native, ok bool) {
	n = outside.Native{Host: a.config.Host, VTEP: a.view.VTEP, Range: a.config.NATRange, MAC: model.GatewayMAC, Outside: outsidePort, Mark: passedMark, Mask: passedMask}
	for _, edge := range a.edges() {
		if port := edgePort(edge); a.layout.Ports[port] != 0 {
			n.Edges = append(n.Edges, outside.Edge{Host: edge, Port: port, VTEP: a.view.Peers[edge].VTEP})
		}
	}
	if a.isEdge() && a.layout.Ports[underlayPort] != 0 {
		n.Passage = underlayPort
	}
	for _, p := range a.view.Publics {
		peer, isPeer := a.view.Peers[p.Host]
		switch {
		case a.hosts(p) && a.layout.Ports[outsidePort] != 0:
			n.Hosted = append(n.Hosted, p.Known())
		case isPeer && n.Passage != "" && a.passes(a.view.Gateways[p.VPC]):
			n.Passed = append(n.Passed, outside.Passed{Address: p.Known(), Routed: p.NATIP.IsValid(), Host: p.Host, VTEP: peer.VTEP})
		}
	}
	slices.SortFunc(n.Hosted, netip.Addr.Compare)
	slices.SortFunc(n.Passed, func(x, y outside.Passed) int { return x.Address.Compare(y.Address) })
	return n, len(n.Hosted) > 0 || n.Passage != ""
}

// guardOf is the firewall's part. The look finds out the rest.
func (a *Agent) guardOf(n outside.Native) *firewall.Native {
	g := &firewall.Native{Edges: edgePorts, Hosted: n.Hosted, Passage: n.Passage, Mark: n.Mark, Mask: n.Mask}
	for _, p := range n.Passed {
		g.Passed = append(g.Passed, p.Address)
	}
	return g
}

// carry has the kernel route what the table is to let pass, and completes that. What cannot be carried leaves it as it was.
func (l *hostLook) carry(want *firewall.Guard) {
	if want.Outside == nil { // which is why
		l.native.Hosted, l.native.Edges, want.Native.Hosted = nil, nil, nil
	} else {
		want.Native.Reserved = want.Outside.Reserved
	}
	l.carried, l.uncarried = outside.EnsureNative(l.native)
	l.opened = append(l.opened, l.carried.Opened...)
	switch {
	case l.carried.Underlay != "":
		want.Native.Underlay, want.Native.Closed = l.carried.Underlay, l.carried.Closed
	case l.was.Native != nil:
		want.Native.Underlay, want.Native.Closed = l.was.Native.Underlay, l.was.Native.Closed
	default:
		want.Native = nil
	}
}

// openNative leads the switch's flows to the underlay once the host carries and guards what they bring.
func (a *Agent) openNative() {
	next := a.wiring
	next.Underlay, next.Edges = 0, map[string]uint32{}
	if a.guarded.set.Native != nil {
		if a.guarded.carried.Passage {
			next.Underlay = a.layout.Ports[underlayPort]
		}
		for _, edge := range a.guarded.carried.Edges {
			if port := a.layout.Ports[edgePort(edge)]; port != 0 {
				next.Edges[edge] = port
			}
		}
	}
	a.rewire(next)
}

// letPass makes room in Docker's rules for what the table lets pass, and takes away what is not wanted any more.
func (l *hostLook) letPass(ctx context.Context, want firewall.Guard) {
	var exits []string
	var native *outside.Native
	if want.Outside != nil {
		exits = want.Outside.Exits
	}
	if want.Native != nil {
		native = &l.native
	}
	if (want.Outside != nil || native != nil) && l.failed == nil {
		_, err := outside.LetDocker(ctx, l.way, exits, native)
		l.noWay = errors.Join(l.noWay, err)
	}
	if native == nil && (l.first || l.was.Native != nil) {
		l.uncarried = errors.Join(l.uncarried, outside.RemoveNative())
	}
	if want.Outside == nil && (l.first || l.was.Outside != nil) {
		l.noWay = errors.Join(l.noWay, outside.RemoveWay(l.way))
	}
	if want.Outside == nil && native == nil && (l.first || l.was.Outside != nil || l.was.Native != nil) {
		l.noWay = errors.Join(l.noWay, outside.ForgetDocker(ctx))
	}
}
