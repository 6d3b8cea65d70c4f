package view_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// small is a VPC over two hosts with two border hosts on one upstream network, and hosts that have nothing to do with
// it.
const small = `
- {kind: Host, name: edge1, spec: {address: 192.168.5.1, roles: [edge], outside: {interface: eth1, address: 203.0.113.11/24, router: 203.0.113.1}}}
- {kind: Host, name: edge2, spec: {address: 192.168.5.2, roles: [edge], outside: {interface: eth1, address: 203.0.113.12/24, router: 203.0.113.1}}}
- {kind: Host, name: edge3, spec: {address: 192.168.5.3, roles: [edge]}}
- {kind: Host, name: gateway1, spec: {address: 192.168.5.4, roles: [gateway], outside: {interface: eth1, address: 192.0.2.11/24, router: 192.0.2.1}}}
- {kind: Host, name: host1, spec: {address: 192.168.5.11, natPrefix: 10.200.1.0/24}}
- {kind: Host, name: host2, spec: {address: 192.168.5.12}}
- {kind: Host, name: host3, spec: {address: 192.168.5.13}}
- {kind: VPC, name: blue, spec: {transitVNI: 900}}
- {kind: VPC, name: red, spec: {transitVNI: 901}}
- {kind: Subnet, name: blue/web, spec: {cidr: 10.0.0.0/24, vni: 100}}
- {kind: Subnet, name: red/web, spec: {cidr: 10.0.0.0/24, vni: 200}}
- {kind: Endpoint, name: blue/web/a, spec: {host: host1, address: 10.0.0.5}}
- {kind: Endpoint, name: blue/web/b, spec: {host: host2, address: 10.0.0.6}}
- {kind: Endpoint, name: blue/web/c, spec: {address: 10.0.0.7}}
- {kind: Endpoint, name: red/web/a, spec: {host: host3, address: 10.0.0.5}}
- {kind: InternetGateway, name: blue, spec: {snat: true}}
- {kind: PublicPool, name: world, spec: {cidrs: [198.51.100.0/24]}}
- {kind: PublicIP, name: blue/a, spec: {endpoint: blue/web/a, address: 198.51.100.5}}
- {kind: PublicIP, name: blue/b, spec: {endpoint: blue/web/b, address: 198.51.100.6}}
- {kind: PublicIP, name: blue/c, spec: {endpoint: blue/web/c, address: 198.51.100.7}}
- {kind: PublicIP, name: blue/later, spec: {address: 198.51.100.8}}
`

// network is the state and the tracker that follows it.
type network struct {
	t       testing.TB
	state   *model.State
	tracker *view.Tracker
}

func smallNetwork(t testing.TB) *network {
	n := &network{t: t, state: model.NewState()}
	n.put(small)
	return n
}

// put applies YAML, and gives what the subscribed hosts are told.
func (n *network) put(yaml string) map[string]view.Delta {
	n.t.Helper()
	objects, err := model.DecodeYAML([]byte(yaml), "net.yaml")
	if err != nil {
		n.t.Fatal(err)
	}
	changes, err := model.Admit(n.state, model.Request{Put: objects})
	if err != nil {
		n.t.Fatal(err)
	}
	n.state = n.state.With(n.state.Revision()+1, changes)
	if n.tracker == nil {
		n.tracker = view.NewTracker(n.state)
	}
	return n.tracker.Apply(n.state, changes)
}

var (
	gatewayOfBlue = view.Table[model.VNI, view.Gateway]{900: {VPC: 900, Name: "blue", MTU: 1450, Design: "distributed",
		SNAT: true, BorderHosts: []string{"edge1", "edge2"}}}

	publicA = view.Public{Address: ip("198.51.100.5"), NATIP: ip("10.200.1.0"), Name: "blue/a", VPC: 900,
		Endpoint: at("10.0.0.5"), Host: "host1"}
	publicB = view.Public{Address: ip("198.51.100.6"), Name: "blue/b", VPC: 900, Endpoint: at("10.0.0.6"),
		Host: "host2"}

	hop1 = view.NextHop{Host: "edge1", Address: netip.MustParsePrefix("203.0.113.11/24"), Router: ip("203.0.113.1"),
		FailoverOrder: []string{"edge1", "edge2"}}
	hop2 = view.NextHop{Host: "edge2", Address: netip.MustParsePrefix("203.0.113.12/24"), Router: ip("203.0.113.1"),
		FailoverOrder: []string{"edge2", "edge1"}}
)

func ip(text string) netip.Addr { return netip.MustParseAddr(text) }

func at(address string) view.AddressKey { return view.AddressKey{VNI: 100, IP: ip(address)} }

func peer(host, vtep string, watched bool) view.Peer {
	return view.Peer{Host: host, VTEP: ip(vtep), BFD: watched}
}

func want(t testing.TB, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got, addresses, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// withNIC is a next hop as its own host is told of it.
func withNIC(n view.NextHop) view.NextHop { n.Interface = "eth1"; return n }

func TestABorderHostKnows(t *testing.T) {
	v := view.New(smallNetwork(t).state, "edge1")
	want(t, "gateways", gatewayOfBlue, v.Gateways)
	want(t, "publics", view.Table[netip.Addr, view.Public]{publicA.Address: publicA, publicB.Address: publicB},
		v.Publics)
	want(t, "next hops", view.Table[string, view.NextHop]{"edge1": withNIC(hop1), "edge2": hop2}, v.NextHops)
	want(t, "peers", view.Table[string, view.Peer]{"edge2": peer("edge2", "192.168.5.2", true),
		"host1": peer("host1", "192.168.5.11", true), "host2": peer("host2", "192.168.5.12", true)}, v.Peers)
	if len(v.Segments)+len(v.Addresses)+len(v.Hosts) > 0 {
		t.Errorf("a border host without endpoints knows segments, addresses or hosts: %+v", v)
	}
}

// What comes to a next hop may be for any VPC that its own border host leads to, so only those take over that lead to
// all of them.
func TestFailoverOrder(t *testing.T) {
	n := smallNetwork(t)
	heirs := func(of string) []string { return view.New(n.state, "edge1").NextHops[of].FailoverOrder }
	n.put("{kind: VPC, name: green, spec: {transitVNI: 902}}\n---\n{kind: InternetGateway, name: green, spec: {hosts: [edge1]}}")
	want(t, "heirs of one that leads to more", []string{"edge1"}, heirs("edge1"))
	want(t, "heirs of one that leads to less", []string{"edge2", "edge1"}, heirs("edge2"))
	n.put("{kind: Host, name: gateway9, spec: {address: 192.168.5.9, roles: [gateway], outside: {interface: eth1, address: 203.0.113.99/24, router: 203.0.113.1}}}")
	want(t, "heirs beside another role", []string{"edge2", "edge1"}, heirs("edge2"))
	want(t, "heirs of one that leads to nothing", []string{"gateway9"}, heirs("gateway9"))
}

func TestAComputeHostKnows(t *testing.T) {
	v := view.New(smallNetwork(t).state, "host1")
	want(t, "gateways", gatewayOfBlue, v.Gateways)
	want(t, "publics", view.Table[netip.Addr, view.Public]{publicA.Address: publicA}, v.Publics)
	want(t, "next hops", view.Table[string, view.NextHop]{}, v.NextHops)
	want(t, "peers", view.Table[string, view.Peer]{"edge1": peer("edge1", "192.168.5.1", true),
		"edge2": peer("edge2", "192.168.5.2", true),
		"host2": peer("host2", "192.168.5.12", false)}, v.Peers)
	if len(v.Hosts) != 7 {
		t.Errorf("knows the hosts %v, want all 7: it translates", v.Hosts)
	}
}

// By whichever way packets leave, they must not get to hosts.
func TestHostsAreToldToWhoeverLeadsOut(t *testing.T) {
	for _, design := range []string{model.Distributed, model.Central} {
		n := smallNetwork(t)
		n.put("{kind: InternetGateway, name: blue, spec: {design: " + design + ", snat: false}}")
		if v := view.New(n.state, "host1"); len(v.Hosts) != 7 {
			t.Errorf("in the design %s it knows %d hosts, want 7", design, len(v.Hosts))
		}
	}
}

// What a host has found of its own addresses is told to whoever must not lead there, and to nobody else.
func TestFoundAddressesAreTold(t *testing.T) {
	n := smallNetwork(t)
	for _, host := range []string{"host1", "host3"} {
		n.tracker.Subscribe(host)
	}
	others := []netip.Addr{ip("10.9.9.9"), ip("172.16.0.4")}
	if !n.tracker.RecordAddresses("gateway1", others) || n.tracker.RecordAddresses("gateway1", others) {
		t.Error("it is news once")
	}
	told := n.tracker.Apply(n.state, nil)
	want(t, "told", map[string]view.Delta{"host1": {Revision: n.state.Revision(),
		Hosts: []view.HostAddresses{{Host: "gateway1", VTEP: ip("192.168.5.4"), Others: others}}}}, told)
	want(t, "told again", map[string]view.Delta{}, n.tracker.Apply(n.state, nil))
	told = n.put("{kind: PublicPool, name: later, spec: {cidrs: [10.9.9.0/24]}}")
	want(t, "told once they are public", []view.HostAddresses{{Host: "gateway1", VTEP: ip("192.168.5.4"),
		Others: others[1:]}}, told["host1"].Hosts)
}

func TestAStrangerKnowsNothing(t *testing.T) {
	n := smallNetwork(t)
	for _, host := range []string{"host3", "edge3", "gateway1"} {
		v := view.New(n.state, host)
		if len(v.Gateways)+len(v.Publics)+len(v.Peers)+len(v.Hosts) > 0 {
			t.Errorf("%s knows %+v", host, v)
		}
	}
	alone := view.Table[string, view.NextHop]{"gateway1": {Host: "gateway1",
		Address: netip.MustParsePrefix("192.0.2.11/24"), Router: ip("192.0.2.1"), Interface: "eth1",
		FailoverOrder: []string{"gateway1"}}}
	want(t, "next hops of a host that is alone upstream", alone, view.New(n.state, "gateway1").NextHops)
}

func TestAPublicAddressFollowsItsEndpoint(t *testing.T) {
	n := smallNetwork(t)
	for _, host := range []string{"edge1", "host1", "host2", "host3"} {
		n.tracker.Subscribe(host)
	}
	moved := publicA
	moved.Host, moved.NATIP = "host2", netip.Addr{}
	told := n.put("{kind: Endpoint, name: blue/web/a, spec: {host: host2}}")
	want(t, "a border host", view.Delta{Revision: 2, Publics: []view.Public{moved}, GonePeers: []string{"host1"}},
		told["edge1"])
	want(t, "where it was", []netip.Addr{moved.Address}, told["host1"].GonePublics)
	want(t, "where it is", []view.Public{moved}, told["host2"].Publics)
	if _, ok := told["host3"]; ok {
		t.Errorf("a stranger is told %+v", told["host3"])
	}

	told = n.put("{kind: Endpoint, name: blue/web/a, spec: {attachment: {}}}")
	want(t, "a border host, once it is unplugged", view.Delta{Revision: 3, GonePublics: []netip.Addr{moved.Address}},
		told["edge1"])
	want(t, "its host, once it is unplugged", []netip.Addr{moved.Address}, told["host2"].GonePublics)
}

func TestAnAddressIsHandedOn(t *testing.T) {
	n := smallNetwork(t)
	for _, host := range []string{"edge1", "host1"} {
		n.tracker.Subscribe(host)
	}
	a, b := publicA, publicB
	a.Address, b.Address = b.Address, a.Address
	told := n.put("[{kind: PublicIP, name: blue/a, spec: {endpoint: blue/web/a, address: 198.51.100.6}}, {kind: PublicIP, name: blue/b, spec: {endpoint: blue/web/b, address: 198.51.100.5}}]")
	want(t, "a border host", view.Delta{Revision: 2, Publics: []view.Public{b, a}}, told["edge1"])
	want(t, "one of the hosts", view.Delta{Revision: 2, Publics: []view.Public{a},
		GonePublics: []netip.Addr{b.Address}}, told["host1"])
}

func TestABorderHostComesAndGoes(t *testing.T) {
	n := smallNetwork(t)
	for _, host := range []string{"edge1", "edge2", "host1"} {
		n.tracker.Subscribe(host)
	}
	told := n.put("{kind: Host, name: edge2, spec: {address: 192.168.5.2, roles: [edge]}}")
	only := gatewayOfBlue[900]
	only.BorderHosts = []string{"edge1"}
	alone := withNIC(hop1)
	alone.FailoverOrder = []string{"edge1"}
	want(t, "the other border host", view.Delta{Revision: 2, Gateways: []view.Gateway{only},
		NextHops: []view.NextHop{alone}, GonePeers: []string{"edge2"},
		GoneNextHops: []string{"edge2"}}, told["edge1"])
	want(t, "a host of the VPC", view.Delta{Revision: 2, Gateways: []view.Gateway{only}, GonePeers: []string{"edge2"}},
		told["host1"])
	want(t, "the former border host", view.Delta{Revision: 2, GoneGateways: []model.VNI{900},
		GonePublics: []netip.Addr{publicA.Address, publicB.Address},
		GonePeers:   []string{"edge1", "host1", "host2"}, GoneNextHops: []string{"edge1", "edge2"}}, told["edge2"])
}

// Port blocks are known to their hosts, and to the gateways, that send what comes back to them.
func TestPortBlocks(t *testing.T) {
	n := smallNetwork(t)
	for _, host := range []string{"edge1", "gateway1", "host1", "host2"} {
		n.tracker.Subscribe(host)
	}
	first := view.Block{BlockKey: view.BlockKey{Address: ip("198.51.100.0"), First: 1024}, Last: 2047,
		Name: "blue/host1", VPC: 900, Host: "host1"}
	second := view.Block{BlockKey: view.BlockKey{Address: ip("198.51.100.0"), First: 2048}, Last: 3071,
		Name: "blue/host2", VPC: 900, Host: "host2"}
	told := n.put("{kind: InternetGateway, name: blue, spec: {snat: true, design: central}}")
	want(t, "a gateway", []view.Block{first, second}, told["gateway1"].Blocks)
	want(t, "an edge", []view.Block(nil), told["edge1"].Blocks)
	want(t, "a host", []view.Block{first}, told["host1"].Blocks)

	third := view.Block{BlockKey: view.BlockKey{Address: ip("198.51.100.0"), First: 1024}, Last: 2047,
		Name: "blue/host3", VPC: 900, Host: "host3"}
	told = n.put("{kind: Endpoint, name: blue/web/a, spec: {host: host3}}")
	want(t, "a gateway: the ports are handed on", []view.Block{third}, told["gateway1"].Blocks)
	want(t, "a gateway: they are not gone", []view.BlockKey(nil), told["gateway1"].GoneBlocks)
	want(t, "where it was", []view.BlockKey{first.BlockKey}, told["host1"].GoneBlocks)
	want(t, "another host", view.Delta{}.Blocks, told["host2"].Blocks)

	told = n.put("{kind: InternetGateway, name: blue, spec: {design: central}}")
	want(t, "a gateway without SNAT", []view.BlockKey{third.BlockKey, second.BlockKey}, told["gateway1"].GoneBlocks)
	want(t, "a host without SNAT", []view.BlockKey{second.BlockKey}, told["host2"].GoneBlocks)
}

// Counted instead of timed: an endpoint that moves costs the same however many public addresses its VPC has.
func TestCostOfAMoveAmongPublicAddresses(t *testing.T) {
	cost := func(public int) float64 {
		n := smallNetwork(t)
		for i := range public {
			n.put(fmt.Sprintf("[{kind: Endpoint, name: blue/web/p%d, spec: {host: host%d}}, {kind: PublicIP, name: blue/p%d, spec: {endpoint: blue/web/p%d}}]", i, 1+i%2, i, i))
		}
		for _, host := range []string{"edge1", "host1", "host2"} {
			n.tracker.Subscribe(host)
		}
		var states []*model.State
		key := model.Key{Kind: "Endpoint", Name: "blue/web/a"}
		for _, host := range []string{"host2", "host1"} {
			n.put(fmt.Sprintf("{kind: Endpoint, name: blue/web/a, spec: {host: %s}}", host))
			states = append(states, n.state)
		}
		change := []model.Change{{Action: model.Update, After: n.state.Get(key)}}
		turn := 0
		return testing.AllocsPerRun(20, func() {
			n.tracker.Apply(states[turn%2], change)
			turn++
		})
	}
	if few, many := cost(10), cost(200); many > 1.5*few {
		t.Errorf("a move takes %v allocations among 10 public addresses, and %v among 200", few, many)
	}
}
