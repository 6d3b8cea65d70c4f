package agent

import (
	"net/netip"
	"slices"

	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/view"
)

// layout is what the switch's database must say. Ports that an incomplete view does not name may still be wanted: the
// one for SNAT stays if VPCs were translated before.
func layout(v *view.View, f facts) ovs.Layout {
	return ovs.Layout{
		Bridge: f.config.Bridge, Tunnel: tunnelPort, VTEP: v.VTEP, UDPPort: f.config.UDPPort,
		Datapath: f.config.Datapath, Tables: dataplane.Names(), Keep: !f.complete,
		Ports: slices.Concat(
			hostPorts(v, !f.complete && len(f.translations) > 0),
			bfdPorts(v, f.config, f.shut),
			externalPorts(f.nic)),
	}
}

// externalPorts are the NIC on the upstream network, once the host is out of it.
func externalPorts(nic string) []ovs.BridgePort {
	if nic == "" {
		return nil
	}
	return []ovs.BridgePort{{Name: nic}}
}

// wiring is where things are plugged in. Flows lead to the host's kernel once that routes and guards what they bring,
// and away from there when no VPC wants it any more.
func wiring(v *view.View, f facts) dataplane.Wiring {
	w := dataplane.Wiring{
		TunnelPort: f.bridge.TunnelOFPort, UDPPort: f.config.UDPPort, Ports: f.ports,
		VPCZones: f.zones, Translations: f.translations, Guarded: reserved(f),
		BFDPorts: bfdTunnels(v, f.bridge.Ports), Router: f.router, Shut: f.shut,
	}
	if f.nic != "" {
		w.UpstreamPort = f.bridge.Ports[f.nic]
	}
	w.SNATPort, w.UnderlayPort, w.EdgePorts = kernelPorts(f.kernel, f.bridge.Ports)
	return w
}

// reserved are the addresses that the switch guards: of all hosts, this one included, and of servers, whether the
// host's table guards them or not.
func reserved(f facts) []netip.Addr {
	return distinct(append(slices.Concat(f.hosts, f.addresses, f.servers), azureMetadata))
}

// bfdTunnels are the OpenFlow ports of tunnels with BFD, by peer.
func bfdTunnels(v *view.View, ports map[string]uint32) map[string]uint32 {
	all := map[string]uint32{}
	for host, peer := range v.Peers {
		if !peer.BFD {
			continue
		}
		if port := ports[bfdPort(host)]; port != 0 {
			all[host] = port
		}
	}
	return all
}
