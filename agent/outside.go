package agent

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/overlane/overlane/firewall"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/ovs"
)

// outsidePort leads to the host's kernel, which routes and masquerades what the switch has translated.
const outsidePort = "ovl-outside"

// followGateways gives what the view's gateways need on this host: numbers, ports, the table.
func (a *Agent) followGateways(ctx context.Context) {
	a.zones.follow(&a.view, a.complete)
	a.wireZones()
	a.assignNIC(time.Now())
	if a.db != nil && !a.isSet(a.wanted()) {
		a.databaseChanged(ctx)
	}
}

// ownPorts are those on the bridge that are no endpoint's.
func (a *Agent) ownPorts() []ovs.BridgePort {
	return slices.Concat(a.outsidePorts(), a.nativePorts(), a.borderPorts())
}

// outsidePorts are on the bridge while a VPC of this host is translated or has public traffic that comes by the host's kernel, or was when last heard of.
func (a *Agent) outsidePorts() []ovs.BridgePort {
	mtu := a.outsideMTU()
	if mtu == 0 && (a.complete || len(a.zones.Number) == 0) {
		return nil
	}
	return []ovs.BridgePort{{Name: outsidePort, Type: "internal", MAC: model.KernelMAC.String(), MTU: mtu}}
}

// outsideMTU is the least of the VPCs that are translated, so that the kernel tells those outside what is too long; 0 if there are none.
func (a *Agent) outsideMTU() int {
	public := map[model.VNI]bool{}
	for _, p := range a.view.Publics {
		public[p.VPC] = public[p.VPC] || a.hosts(p)
	}
	least := 0
	for _, s := range a.view.Segments {
		if (a.view.Gateways[s.VPC].SNAT || public[s.VPC]) && (least == 0 || s.MTU < least) {
			least = s.MTU
		}
	}
	return least
}

// masquerades tells whether a VPC leaves in this host's name.
func (a *Agent) masquerades() bool {
	for vpc := range a.wiring.Translations {
		if a.view.Gateways[vpc].SNAT {
			return true
		}
	}
	return false
}

// hostAddresses are those of all hosts that the view has, sorted.
func (a *Agent) hostAddresses() (all []netip.Addr) {
	for _, m := range a.view.Hosts {
		all = append(append(all, m.VTEP), m.Others...)
	}
	return distinct(all)
}

// distinct sorts addresses, and has each of them once.
func distinct(addresses []netip.Addr) []netip.Addr {
	slices.SortFunc(addresses, netip.Addr.Compare)
	return slices.Compact(addresses)
}

// followReserved has the switch guard all hosts, this one included, and servers, whether the host's table does or not.
func (a *Agent) followReserved() {
	next := a.wiring
	next.Reserved = distinct(append(slices.Concat(a.hostAddresses(), a.addresses, a.servers), azureMetadata))
	a.rewire(next)
}

// way is the way out that the host's kernel is to be; nil if there is none.
func (a *Agent) way() *firewall.Outside {
	if len(a.wiring.Translations) == 0 || a.layout.Ports[outsidePort] == 0 {
		return nil
	}
	o := &firewall.Outside{Port: outsidePort, Range: a.config.NATRange}
	if a.layout.Datapath == ovs.Userspace {
		o.Copied = a.config.Uplink
	}
	o.Reserved = a.hostAddresses()
	for vpc, t := range a.wiring.Translations {
		for _, to := range a.view.Gateways[vpc].Allow {
			o.Allow = append(o.Allow, firewall.Allowance{Source: t.Address, To: to})
		}
	}
	slices.SortFunc(o.Allow, func(x, y firewall.Allowance) int {
		return cmp.Or(x.Source.Compare(y.Source), x.To.Addr().Compare(y.To.Addr()), cmp.Compare(x.To.Bits(), y.To.Bits()))
	})
	return o
}
