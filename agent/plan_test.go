package agent

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/hostnet"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/server/api"
	"github.com/overlane/overlane/view"
)

// with is a value after a change.
func with[T any](value T, change func(*T)) T {
	change(&value)
	return value
}

func TestWiring(t *testing.T) {
	base := factsOf(hostnet.SNATPort, hostnet.UnderlayPort, edgePort("edge1"), bfdPort("edge1"), bfdPort("edge2"), "eth1")
	base.bridge.TunnelOFPort = 1
	wired := dataplane.Wiring{TunnelPort: 1, UDPPort: 4789, VPCZones: base.zones, Translations: base.translations,
		Guarded:  []netip.Addr{addr("10.1.1.3"), azureMetadata, addr("192.168.5.2"), addr("192.168.5.3")},
		BFDPorts: map[string]uint32{"edge1": 8}, EdgePorts: map[string]uint32{}}
	v := hostView("host1")
	v.Peers.Put(view.Peer{Host: "edge1", VTEP: addr("192.168.5.21"), BFD: true})
	v.Peers.Put(view.Peer{Host: "host2", VTEP: addr("192.168.5.3"), BFD: true}) // has no port yet
	for _, tt := range []struct {
		name   string
		change func(*facts)
		want   func(*dataplane.Wiring)
	}{
		{"nothing is plugged in, and the kernel guards nothing", func(*facts) {}, func(*dataplane.Wiring) {}},
		{"before the database is there", func(f *facts) { f.bridge = ovs.State{} },
			func(w *dataplane.Wiring) { w.TunnelPort, w.BFDPorts = 0, map[string]uint32{} }},
		{"endpoints", func(f *facts) { f.ports = map[view.AddressKey]uint32{{VNI: 100, IP: addr("10.0.0.2")}: 20} },
			func(w *dataplane.Wiring) { w.Ports = map[view.AddressKey]uint32{{VNI: 100, IP: addr("10.0.0.2")}: 20} }},
		{"the kernel guards what comes by its ports", func(f *facts) {
			f.kernel = hostnet.State{SNATPort: true, UnderlayPort: true, Edges: []string{"edge1", "edge2"}}
		}, func(w *dataplane.Wiring) {
			w.SNATPort, w.UnderlayPort, w.EdgePorts = 5, 6, map[string]uint32{"edge1": 7}
		}},
		{"no VPC is translated", func(f *facts) { f.translations = nil }, func(w *dataplane.Wiring) { w.Translations = nil }},
		{"nor has a zone", func(f *facts) { f.zones, f.translations = nil, nil }, func(w *dataplane.Wiring) { w.VPCZones, w.Translations = nil, nil }},
		{"servers and other addresses of the host are reserved", func(f *facts) {
			f.addresses, f.servers = []netip.Addr{addr("172.17.0.1")}, []netip.Addr{addr("192.0.2.9"), addr("192.168.5.3")}
		}, func(w *dataplane.Wiring) {
			w.Guarded = []netip.Addr{addr("10.1.1.3"), azureMetadata, addr("172.17.0.1"), addr("192.0.2.9"), addr("192.168.5.2"), addr("192.168.5.3")}
		}},
		{"a border host", func(f *facts) { f.nic, f.router, f.shut = "eth1", model.MAC{2, 1}, true },
			func(w *dataplane.Wiring) { w.UpstreamPort, w.Router, w.Shut = 10, model.MAC{2, 1}, true }},
		{"a border host whose NIC the switch does not have yet", func(f *facts) { f.nic = "eth2" }, func(*dataplane.Wiring) {}},
	} {
		if got, want := wiring(v, with(base, tt.change)), with(wired, tt.want); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got\n%+v, want\n%+v", tt.name, got, want)
		}
	}
}

func TestLayout(t *testing.T) {
	base := factsOf()
	base.config.Bridge, base.config.Datapath, base.config.BFDInterval = "br-overlane", ovs.Kernel, api.Duration(32*time.Millisecond)
	none, blue := &view.View{Host: "host1", VTEP: addr("192.168.5.2")}, hostView("host1")
	watching := &view.View{Host: "host1", VTEP: addr("192.168.5.2"), Peers: view.Table[string, view.Peer]{
		"edge1": {Host: "edge1", VTEP: addr("192.168.5.21"), BFD: true}, "host2": {Host: "host2", VTEP: addr("192.168.5.3")},
	}}
	for _, tt := range []struct {
		name   string
		view   *view.View
		change func(*facts)
		ports  []string
		keep   bool
	}{
		{"nothing is wanted", none, func(*facts) {}, nil, false},
		{"VPCs that leave by this host", blue, func(*facts) {}, []string{hostnet.SNATPort, edgePort("edge1"), edgePort("edge2")}, false},
		{"the view is not complete", none, func(f *facts) { f.complete = false }, []string{hostnet.SNATPort}, true},
		{"nor were VPCs translated before", none, func(f *facts) { f.complete, f.translations = false, nil }, nil, true},
		{"a NIC on the upstream network", none, func(f *facts) { f.nic = "eth1" }, []string{"eth1"}, false},
		{"a peer with BFD", watching, func(*facts) {}, []string{bfdPort("edge1")}, false},
	} {
		got := layout(tt.view, with(base, tt.change))
		var names []string
		for _, p := range got.Ports {
			names = append(names, p.Name)
		}
		if !slices.Equal(names, tt.ports) || got.Keep != tt.keep {
			t.Errorf("%s: ports %v, keep %t; want %v, %t", tt.name, names, got.Keep, tt.ports, tt.keep)
		}
		got.Ports, got.Keep = nil, false
		want := ovs.Layout{Bridge: "br-overlane", Tunnel: tunnelPort, VTEP: tt.view.VTEP, UDPPort: 4789, Datapath: ovs.Kernel, Tables: dataplane.Names()}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, want)
		}
	}
}

// Peers hear in the BFD session whether this border host wants public traffic.
func TestLayoutTellsPeersWhetherTheBorderIsShut(t *testing.T) {
	v := &view.View{Host: "g1", VTEP: addr("192.168.5.2"), Peers: view.Table[string, view.Peer]{"host2": {Host: "host2", VTEP: addr("192.168.5.3"), BFD: true}}}
	for shut, want := range map[bool]string{true: "true", false: "false"} {
		ports := layout(v, facts{config: local.Config{UDPPort: 4789, BFDInterval: api.Duration(32 * time.Millisecond)}, complete: true, shut: shut}).Ports
		bfd := map[string]string{"enable": "true", "min_tx": "32", "min_rx": "32", "mult": "7", "cpath_down": want}
		if len(ports) != 1 || !maps.Equal(ports[0].BFD, bfd) || ports[0].Options["remote_ip"] != "192.168.5.3" {
			t.Errorf("shut %t: %+v", shut, ports)
		}
	}
}
