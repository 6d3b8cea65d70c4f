package agent

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/hostnet"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/view"
)

func addr(s string) netip.Addr   { return netip.MustParseAddr(s) }
func cidr(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// hostView is that of host1: VPC blue leaves by it, and red has public addresses on it and on host2, which edge1 and
// edge2 lead to.
func hostView(host string) *view.View {
	v := &view.View{Host: host, VTEP: addr("192.168.5.2")}
	v.Apply(view.Delta{Complete: true, VTEP: addr("192.168.5.2"),
		Segments: []view.Segment{{VNI: 100, VPC: 1000, MTU: 1450}, {VNI: 101, VPC: 1000, MTU: 1400}, {VNI: 200, VPC: 2000, MTU: 1300}, {VNI: 300, VPC: 3000, MTU: 1200}},
		Gateways: []view.Gateway{
			{Name: "blue", VPC: 1000, SNAT: true, Allow: []netip.Prefix{cidr("192.168.5.9/32"), cidr("10.0.0.0/8")}},
			{Name: "red", VPC: 2000, Design: model.Distributed, BorderHosts: []string{"edge1", "edge2", "far"}},
			{Name: "central", VPC: 3000, Design: model.Central, BorderHosts: []string{"edge1"}},
		},
		Peers: []view.Peer{{Host: "edge2", VTEP: addr("192.168.5.22")}, {Host: "host2", VTEP: addr("192.168.5.3")}, {Host: "host1", VTEP: addr("192.168.5.2")}, {Host: "edge1", VTEP: addr("192.168.5.21")}},
		Hosts: []view.HostAddresses{{Host: "host2", VTEP: addr("192.168.5.3"), Others: []netip.Addr{addr("10.1.1.3")}}, {Host: "host1", VTEP: addr("192.168.5.2")}},
		Publics: []view.Public{
			{Address: addr("1.22.4.6"), NATIP: addr("10.200.1.7"), VPC: 2000, Host: "host1"},
			{Address: addr("1.22.4.5"), VPC: 2000, Host: "host1"},
			{Address: addr("1.22.4.7"), NATIP: addr("10.200.2.7"), VPC: 2000, Host: "host2"},
			{Address: addr("1.22.4.8"), VPC: 2000, Host: "host2"},
			{Address: addr("1.22.4.9"), VPC: 2000, Host: "unknown"},
			{Address: addr("1.22.4.10"), VPC: 3000, Host: "host1"},
		},
		NextHops: []view.NextHop{{Host: "edge1"}},
	})
	return v
}

// factsOf are facts of a host of [hostView], whose bridge has these ports with the OpenFlow numbers 5, 6, 7...
func factsOf(ports ...string) facts {
	f := facts{
		config: local.Config{UDPPort: 4789, NATRange: cidr("100.64.0.0/10"), Uplink: "eth0"}, known: true, complete: true, connected: true,
		bridge:       ovs.State{Datapath: ovs.Userspace, Ports: map[string]uint32{}},
		hosts:        hostAddresses(hostView("host1")),
		zones:        map[model.VNI]uint16{1000: 7, 2000: 8},
		translations: map[model.VNI]netip.Addr{1000: addr("100.64.0.16"), 2000: addr("100.64.0.17")},
	}
	for i, name := range ports {
		f.bridge.Ports[name] = uint32(i + 5)
	}
	return f
}

func TestHostConfig(t *testing.T) {
	peers := []netip.Addr{addr("192.168.5.2"), addr("192.168.5.3"), addr("192.168.5.21"), addr("192.168.5.22")}
	guard := hostnet.Config{TunnelPort: 4789, Peers: peers, Range: cidr("100.64.0.0/10"), MAC: model.GatewayMAC}
	snat := &hostnet.SNAT{Masquerade: true, Copied: "eth0",
		Reserved: []netip.Addr{addr("10.1.1.3"), addr("192.168.5.2"), addr("192.168.5.3")},
		Allow:    []hostnet.Allowance{{Source: addr("100.64.0.16"), To: cidr("10.0.0.0/8")}, {Source: addr("100.64.0.16"), To: cidr("192.168.5.9/32")}},
	}
	onKernel := *snat
	onKernel.Copied = ""
	hosted := &hostnet.DirectPath{Host: "host1", VTEP: addr("192.168.5.2"), Hosted: []netip.Addr{addr("1.22.4.5"), addr("10.200.1.7")},
		Edges: []hostnet.Edge{{Host: "edge1", Port: edgePort("edge1"), VTEP: addr("192.168.5.21")}}}
	edge := &hostnet.DirectPath{Host: "edge1", VTEP: addr("192.168.5.2"), IsEdge: true, Remote: []hostnet.Remote{
		{Address: addr("1.22.4.5"), Host: "host1", VTEP: addr("192.168.5.2")},
		{Address: addr("1.22.4.8"), Host: "host2", VTEP: addr("192.168.5.3")},
		{Address: addr("10.200.1.7"), Routed: true, Host: "host1", VTEP: addr("192.168.5.2")},
		{Address: addr("10.200.2.7"), Routed: true, Host: "host2", VTEP: addr("192.168.5.3")},
	}}
	with := func(change func(*hostnet.Config)) hostnet.Config {
		c := guard
		change(&c)
		return c
	}
	for _, tt := range []struct {
		name  string
		host  string
		facts func() facts
		want  hostnet.Config
	}{
		{"no port yet", "host1", func() facts { return factsOf() }, guard},
		{"nothing is translated", "host9", func() facts {
			f := factsOf(hostnet.SNATPort)
			f.translations = nil
			return f
		}, guard},
		{"SNAT and public addresses, one edge's port is missing", "host1", func() facts { return factsOf(hostnet.SNATPort, edgePort("edge1")) },
			with(func(c *hostnet.Config) { c.SNAT, c.Direct = snat, hosted })},
		{"kernel datapath", "host9", func() facts {
			f := factsOf(hostnet.SNATPort)
			f.bridge.Datapath = ovs.Kernel
			return f
		}, with(func(c *hostnet.Config) { c.Inbound, c.SNAT = true, &onKernel })},
		{"an edge", "edge1", func() facts { return factsOf(hostnet.UnderlayPort) }, with(func(c *hostnet.Config) { c.Direct = edge })},
		{"an edge without its port", "edge1", func() facts { return factsOf() }, guard},
		{"an edge's port on a host that is none", "host9", func() facts { return factsOf(hostnet.UnderlayPort) }, guard},
	} {
		if got := hostConfig(hostView(tt.host), tt.facts()); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got\n%+v\n%+v\n%+v, want\n%+v\n%+v\n%+v", tt.name, got, got.SNAT, got.Direct, tt.want, tt.want.SNAT, tt.want.Direct)
		}
	}
}

// Public addresses come by the SNAT port without any VPC that leaves in the host's name.
func TestPublicAddressesAloneDoNotMasquerade(t *testing.T) {
	f := factsOf(hostnet.SNATPort)
	delete(f.translations, 1000)
	if c := hostConfig(hostView("host1"), f); c.SNAT == nil || c.SNAT.Masquerade {
		t.Errorf("got %+v", c.SNAT)
	}
}

func TestCompletedReservesServers(t *testing.T) {
	c := hostConfig(hostView("host1"), factsOf(hostnet.SNATPort))
	got := completed(c, hostnet.Facts{Exits: []string{"eth0"}}, []netip.Addr{addr("192.0.2.9"), addr("192.168.5.3")})
	want := []netip.Addr{addr("10.1.1.3"), azureMetadata, addr("192.0.2.9"), addr("192.168.5.2"), addr("192.168.5.3")}
	if !slices.Equal(got.SNAT.Reserved, want) || !slices.Equal(got.SNAT.Exits, []string{"eth0"}) {
		t.Errorf("got %+v, want reserved %v", got.SNAT, want)
	}
	if again := hostConfig(hostView("host1"), factsOf(hostnet.SNATPort)); !reflect.DeepEqual(c, again) {
		t.Errorf("what was asked for has become %+v", c.SNAT)
	}
	if got := completed(hostConfig(hostView("host1"), factsOf()), hostnet.Facts{ForwardsAll: true}, nil); got.SNAT != nil || !got.ForwardsAll {
		t.Errorf("without SNAT it is %+v", got)
	}
}

func TestHostPorts(t *testing.T) {
	names := func(ports []ovs.BridgePort) (names []string) {
		for _, p := range ports {
			names = append(names, p.Name)
		}
		return names
	}
	ports := hostPorts(hostView("host1"), false)
	if want := []string{hostnet.SNATPort, edgePort("edge1"), edgePort("edge2")}; !slices.Equal(names(ports), want) || ports[0].MTU != 1300 {
		t.Errorf("the ports are %+v, want %v with the least MTU of the VPCs that leave", ports, want)
	}
	if got := names(hostPorts(hostView("edge1"), false)); !slices.Equal(got, []string{hostnet.SNATPort, hostnet.UnderlayPort}) {
		t.Errorf("an edge's are %v", got)
	}
	empty := &view.View{Host: "host1"}
	if ports := hostPorts(empty, false); ports != nil {
		t.Errorf("without a gateway they are %+v", ports)
	}
	if ports := hostPorts(empty, true); len(ports) != 1 || ports[0].MTU != 0 {
		t.Errorf("while the server is away the port of before becomes %+v", ports)
	}
}

func TestFlowsLeadToGuardedPortsOnly(t *testing.T) {
	ports := map[string]uint32{hostnet.SNATPort: 5, hostnet.UnderlayPort: 6, edgePort("edge1"): 7, edgePort("edge2"): 8}
	for _, tt := range []struct {
		state          hostnet.State
		snat, underlay uint32
		edges          map[string]uint32
	}{
		{hostnet.State{}, 0, 0, nil},
		{hostnet.State{SNATPort: true}, 5, 0, nil},
		{hostnet.State{UnderlayPort: true}, 0, 6, nil},
		{hostnet.State{SNATPort: true, Edges: []string{"edge2", "edge3"}}, 5, 0, map[string]uint32{"edge2": 8}},
	} {
		snat, underlay, edges := kernelPorts(tt.state, ports)
		if snat != tt.snat || underlay != tt.underlay || !maps.Equal(edges, tt.edges) {
			t.Errorf("%+v: %d, %d, %v", tt.state, snat, underlay, edges)
		}
	}
}
