package agent

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/overlane/overlane/hostnet"
	"github.com/overlane/overlane/internal/ifname"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/view"
)

// hostConfig is what the host's kernel must be. [completed] adds what is found out beside the loop.
//
// In the distributed design, public traffic goes over the underlay without a tunnel, from kernel to kernel. The kernel
// is this host's on both sides of the switch: a port of its own leads to each edge's kernel, so that the switch decides
// which edge, and whether that is alive.
func hostConfig(v *view.View, f facts) hostnet.Config {
	c := hostnet.Config{
		TunnelPort: f.config.UDPPort, Inbound: f.bridge.Datapath == ovs.Kernel, Range: f.config.NATRange, MAC: model.GatewayMAC,
		SNAT: snatOf(v, f), Direct: directPathOf(v, f.bridge.Ports),
	}
	for _, peer := range v.Peers {
		c.Peers = append(c.Peers, peer.VTEP)
	}
	slices.SortFunc(c.Peers, netip.Addr.Compare)
	return c
}

// snatOf is nil if nothing is translated on this host, or there is no port for it yet.
func snatOf(v *view.View, f facts) *hostnet.SNAT {
	if len(f.translations) == 0 || f.bridge.Ports[hostnet.SNATPort] == 0 {
		return nil
	}
	n := &hostnet.SNAT{Masquerade: masquerades(v, f.translations), Reserved: f.hosts}
	if f.bridge.Datapath == ovs.Userspace {
		n.Copied = f.config.Uplink
	}
	for vpc, address := range f.translations {
		for _, to := range v.Gateways[vpc].Allow {
			n.Allow = append(n.Allow, hostnet.Allowance{Source: address, To: to})
		}
	}
	slices.SortFunc(n.Allow, func(x, y hostnet.Allowance) int {
		return cmp.Or(x.Source.Compare(y.Source), x.To.Addr().Compare(y.To.Addr()), cmp.Compare(x.To.Bits(), y.To.Bits()))
	})
	return n
}

// masquerades tells whether a VPC leaves in this host's name.
func masquerades(v *view.View, translations map[model.VNI]netip.Addr) bool {
	for vpc := range translations {
		if v.Gateways[vpc].SNAT {
			return true
		}
	}
	return false
}

// directPathOf is by ports that are there; nil if no public traffic passes this host that way.
func directPathOf(v *view.View, ports map[string]uint32) *hostnet.DirectPath {
	d := &hostnet.DirectPath{Host: v.Host, VTEP: v.VTEP, IsEdge: isEdge(v) && ports[hostnet.UnderlayPort] != 0}
	for _, edge := range edgesOf(v) {
		if port := edgePort(edge); ports[port] != 0 {
			d.Edges = append(d.Edges, hostnet.Edge{Host: edge, Port: port, VTEP: v.Peers[edge].VTEP})
		}
	}
	for _, p := range v.Publics {
		peer, isPeer := v.Peers[p.Host]
		switch {
		case isHosted(v, p) && ports[hostnet.SNATPort] != 0:
			d.Hosted = append(d.Hosted, p.Known())
		case isPeer && d.IsEdge && isEdgeOf(v, v.Gateways[p.VPC]):
			d.Remote = append(d.Remote, hostnet.Remote{Address: p.Known(), Routed: p.NATIP.IsValid(), Host: p.Host, VTEP: peer.VTEP})
		}
	}
	if len(d.Hosted) == 0 && !d.IsEdge {
		return nil
	}
	slices.SortFunc(d.Hosted, netip.Addr.Compare)
	slices.SortFunc(d.Remote, func(x, y hostnet.Remote) int { return x.Address.Compare(y.Address) })
	return d
}

// completed adds what endpoints are not to reach beside hosts, and the facts of the machine. Where a server's name
// leads nowhere just now, SNAT goes on without its address: who gets that far is asked for a certificate.
func completed(c hostnet.Config, f hostnet.Facts, servers []netip.Addr) hostnet.Config {
	if c.SNAT != nil {
		n := *c.SNAT
		n.Reserved = distinct(slices.Concat(n.Reserved, servers, []netip.Addr{azureMetadata}))
		c.SNAT = &n
	}
	return c.With(f)
}

// azureMetadata tells a machine of Azure its secrets; others' is link-local, which is out of reach anyway.
var azureMetadata = netip.AddrFrom4([4]byte{168, 63, 129, 16})

// hostPorts are the ports of the bridge that lead to the host's kernel. The SNAT port is there while a VPC of this host
// is translated, or has public traffic that comes by the host's kernel; with keep, in any case.
func hostPorts(v *view.View, keep bool) (ports []ovs.BridgePort) {
	mtu := snatMTU(v)
	if mtu != 0 || keep {
		ports = append(ports, kernelPort(hostnet.SNATPort, mtu))
	}
	for _, edge := range edgesOf(v) {
		ports = append(ports, kernelPort(edgePort(edge), 0))
	}
	if isEdge(v) {
		ports = append(ports, kernelPort(hostnet.UnderlayPort, 0))
	}
	return ports
}

func kernelPort(name string, mtu int) ovs.BridgePort {
	return ovs.BridgePort{Name: name, Type: "internal", MAC: model.KernelMAC.String(), MTU: mtu}
}

func edgePort(edge string) string { return ifname.Edge(edge) }

// kernelPorts are the OpenFlow ports by which flows may lead to the host's kernel, which routes and guards what they
// bring. 0: none may.
func kernelPorts(s hostnet.State, ports map[string]uint32) (snat, underlay uint32, edges map[string]uint32) {
	if s.SNATPort {
		snat = ports[hostnet.SNATPort]
	}
	if s.UnderlayPort {
		underlay = ports[hostnet.UnderlayPort]
	}
	edges = map[string]uint32{}
	for _, edge := range s.Edges {
		if port := ports[edgePort(edge)]; port != 0 {
			edges[edge] = port
		}
	}
	return snat, underlay, edges
}

// snatMTU is the least of the VPCs that are translated, so that the kernel tells those outside what is too long; 0 if
// there are none.
func snatMTU(v *view.View) int {
	public := map[model.VNI]bool{}
	for _, p := range v.Publics {
		public[p.VPC] = public[p.VPC] || isHosted(v, p)
	}
	least := 0
	for _, s := range v.Segments {
		if (v.Gateways[s.VPC].SNAT || public[s.VPC]) && (least == 0 || s.MTU < least) {
			least = s.MTU
		}
	}
	return least
}

// isHosted tells whether an endpoint of this host has a public address that is reached by the direct path.
func isHosted(v *view.View, p view.Public) bool {
	return p.Host == v.Host && v.Gateways[p.VPC].Design == model.Distributed
}

// edgesOf are the hosts by which traffic leaves of VPCs that have public addresses on this one.
func edgesOf(v *view.View) []string {
	edges := map[string]bool{}
	for _, p := range v.Publics {
		if isHosted(v, p) {
			for _, host := range v.Gateways[p.VPC].BorderHosts {
				if _, ok := v.Peers[host]; ok {
					edges[host] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(edges))
}

// isEdgeOf tells whether traffic of a gateway passes this host by the direct path.
func isEdgeOf(v *view.View, g view.Gateway) bool {
	_, hop := v.NextHops[v.Host]
	return hop && g.Design == model.Distributed && slices.Contains(g.BorderHosts, v.Host)
}

func isEdge(v *view.View) bool {
	for _, g := range v.Gateways {
		if isEdgeOf(v, g) {
			return true
		}
	}
	return false
}

// hostAddresses are the addresses of all hosts of the view, sorted.
func hostAddresses(v *view.View) (all []netip.Addr) {
	for _, m := range v.Hosts {
		all = append(append(all, m.VTEP), m.Others...)
	}
	return distinct(all)
}

// distinct sorts addresses, and has each of them once.
func distinct(addresses []netip.Addr) []netip.Addr {
	slices.SortFunc(addresses, netip.Addr.Compare)
	return slices.Compact(addresses)
}
