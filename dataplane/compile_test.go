package dataplane_test

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// Compiling what a change of the view or of the wiring touches must lead to the same switch as compiling all of it,
// also if several changes are made in one go.
func TestTouchedAgreesWithWhole(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		v := &view.View{Host: "h0"}
		v.Apply(randomDelta(rt, true))
		w := dataplane.Wiring{TunnelPort: 1}
		if rapid.Bool().Draw(rt, "border host") {
			w.SNATPort, w.UpstreamPort, w.Router, w.UnderlayPort = 2, 3, model.MAC{2, 0, 0, 0, 0, 9}, 4
			w.VPCZones = map[model.VNI]uint16{1100: 7, 2101: 8}
			w.Translations = map[model.VNI]netip.Addr{1100: netip.MustParseAddr("100.64.0.7"),
				2101: netip.MustParseAddr("100.64.0.8")}
			w.BFDPorts, w.EdgePorts = map[string]uint32{"h1": 101, "h2": 102}, map[string]uint32{"h1": 51}
		}
		have := compileAll(v, w)
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			touched, whole := map[dataplane.Subject]bool{}, false
			for range rapid.IntRange(1, 3).Draw(rt, "changes") {
				var before dataplane.Before
				before.Wiring = w
				if n := rapid.IntRange(0, 19).Draw(rt, "view"); n < 12 {
					before.Undo = v.Apply(randomDelta(rt, n == 0))
				}
				if rapid.Bool().Draw(rt, "wiring") {
					w = rewired(rt, v, w)
				}
				subjects, all := dataplane.Touched(before, dataplane.Input{View: v, Wiring: w})
				whole = whole || all
				for _, s := range subjects {
					touched[s] = true
				}
			}
			if whole {
				have = compileAll(v, w)
			}
			for s := range touched {
				have[s] = dataplane.CompileSubject(v, w, s)
			}
			answeredOnce(rt, v, w)
			if diff := cmp.Diff(lines(dataplane.Compile(v, w)),
				lines(slices.Collect(maps.Values(have))...)); diff != "" {
				rt.Fatalf("(-whole +touched):\n%s", diff)
			}
		}
	})
}

func compileAll(v *view.View, w dataplane.Wiring) map[dataplane.Subject]dataplane.Entries {
	have := map[dataplane.Subject]dataplane.Entries{}
	for _, s := range dataplane.Subjects(v) {
		have[s] = dataplane.CompileSubject(v, w, s)
	}
	return have
}

// rewiring changes one part of a wiring.
type rewiring func(t *rapid.T, v *view.View, w *dataplane.Wiring)

var rewirings = map[string]rewiring{
	"Ports": func(t *rapid.T, v *view.View, w *dataplane.Wiring) {
		keys := append(ownAddresses(v), randomKey(t))
		toggle(&w.Ports, rapid.SampledFrom(keys).Draw(t, "address"), 10+randomPort(t)) // which others may be behind
	},
	"Translations": func(t *rapid.T, _ *view.View, w *dataplane.Wiring) {
		toggle(&w.Translations, randomVPC(t), netip.AddrFrom4([4]byte{100, 64, 0, byte(7 + randomPort(t))}))
	},
	"VPCZones": func(t *rapid.T, _ *view.View, w *dataplane.Wiring) {
		toggle(&w.VPCZones, randomVPC(t), uint16(7+randomPort(t)))
	},
	"BFDPorts": func(t *rapid.T, _ *view.View, w *dataplane.Wiring) {
		toggle(&w.BFDPorts, randomHost(t), 100+randomPort(t))
	},
	"EdgePorts": func(t *rapid.T, _ *view.View, w *dataplane.Wiring) {
		toggle(&w.EdgePorts, randomHost(t), 50+randomPort(t))
	},
	"Guarded": func(t *rapid.T, _ *view.View, w *dataplane.Wiring) { w.Guarded = []netip.Addr{randomPublic(t)} },
	"Router":  func(t *rapid.T, _ *view.View, w *dataplane.Wiring) { w.Router[5] = byte(randomPort(t)) },
	"Shut":    func(_ *rapid.T, _ *view.View, w *dataplane.Wiring) { w.Shut = !w.Shut },
}

// rewiringsOfAll have everything compiled again, and are seldom drawn.
var rewiringsOfAll = map[string]rewiring{
	"TunnelPort":   func(t *rapid.T, _ *view.View, w *dataplane.Wiring) { w.TunnelPort = 1 + 10*randomPort(t) },
	"UDPPort":      func(t *rapid.T, _ *view.View, w *dataplane.Wiring) { w.UDPPort = uint16(4789 + randomPort(t)) },
	"SNATPort":     func(t *rapid.T, _ *view.View, w *dataplane.Wiring) { w.SNATPort = 2 * randomPort(t) },
	"UpstreamPort": func(t *rapid.T, _ *view.View, w *dataplane.Wiring) { w.UpstreamPort = 3 * randomPort(t) },
	"UnderlayPort": func(t *rapid.T, _ *view.View, w *dataplane.Wiring) { w.UnderlayPort = 4 * randomPort(t) },
}

// rewired is a wiring that differs from another in one part.
func rewired(t *rapid.T, v *view.View, w dataplane.Wiring) dataplane.Wiring {
	w.Ports, w.BFDPorts, w.EdgePorts = maps.Clone(w.Ports), maps.Clone(w.BFDPorts), maps.Clone(w.EdgePorts)
	w.VPCZones, w.Translations = maps.Clone(w.VPCZones), maps.Clone(w.Translations)
	from := rewirings
	if rapid.IntRange(0, 9).Draw(t, "of all") == 9 {
		from = rewiringsOfAll
	}
	from[rapid.SampledFrom(slices.Sorted(maps.Keys(from))).Draw(t, "part")](t, v, &w)
	return w
}

// ownAddresses are those on the view's own host, in order.
func ownAddresses(v *view.View) (keys []view.AddressKey) {
	for key, a := range v.Addresses.Ordered(view.AddressKey.Compare) {
		if a.Host == v.Host {
			keys = append(keys, key)
		}
	}
	return keys
}

// A part of the wiring that the test above leaves out could be forgotten.
func TestEveryPartOfTheWiringIsChanged(t *testing.T) {
	for f := range reflect.TypeFor[dataplane.Wiring]().Fields() {
		if rewirings[f.Name] == nil && rewiringsOfAll[f.Name] == nil {
			t.Errorf("no test changes %s", f.Name)
		}
	}
}

// toggle gives a key another value, or takes it away if it has this one.
func toggle[K, V comparable](m *map[K]V, key K, value V) {
	switch old, ok := (*m)[key]; {
	case ok && old == value:
		delete(*m, key)
	case *m == nil:
		*m = map[K]V{key: value}
	default:
		(*m)[key] = value
	}
}

// One address of a big network touches that and, if it is plugged in here, its segment.
func TestAnAddressTouchesNothingElse(t *testing.T) {
	v, w := big()
	here, elsewhere := view.AddressKey{VNI: 4096, IP: netip.MustParseAddr("10.0.1.0")}, view.AddressKey{VNI: 4096,
		IP: netip.MustParseAddr("10.0.1.1")}
	for key, want := range map[view.AddressKey][]dataplane.Subject{here: {{"address", here}, {"segment", here.VNI}},
		elsewhere: {{"address", elsewhere}}} {
		a := v.Addresses[key]
		a.MAC[5]++
		a.Endpoint += "-renamed"
		undo := v.Apply(view.Delta{Addresses: []view.Address{a}})
		got, all := dataplane.Touched(dataplane.Before{Undo: undo, Wiring: w}, dataplane.Input{View: v, Wiring: w})
		if all || !slices.Equal(got, want) {
			t.Errorf("%v on %s touches %v (all: %t), want %v", key, a.Host, got, all, want)
		}
	}
	if undo := v.Apply(v.Delta(2)); undo.Len() > 0 {
		t.Errorf("the same view again changes %d rows", undo.Len())
	}
}

// answeredOnce fails if two forwards to one port of an endpoint have the same flow: the agent would take it away with
// either.
func answeredOnce(t *rapid.T, v *view.View, w dataplane.Wiring) {
	seen := map[flow.Key]bool{}
	for _, f := range dataplane.Compile(v, w).Flows {
		if !strings.HasPrefix(f.Owner, "Forward ") || dataplane.Names()[f.Table] != "translate" {
			continue
		}
		if seen[f.Key()] {
			t.Fatalf("twice: %s", f)
		}
		seen[f.Key()] = true
	}
}

func lines(entries ...dataplane.Entries) []string {
	var all []string
	for _, e := range entries {
		for _, f := range e.Flows {
			all = append(all, f.String())
		}
		for _, g := range e.Groups {
			all = append(all, g.String())
		}
	}
	slices.Sort(all)
	return slices.Compact(all) // several may ask for one flow
}

func randomKey(t *rapid.T) view.AddressKey {
	return view.AddressKey{
		VNI: model.VNI(rapid.IntRange(100, 102).Draw(t, "vni")),
		IP:  netip.AddrFrom4([4]byte{10, 0, 0, byte(rapid.IntRange(2, 6).Draw(t, "ip"))}),
	}
}

func randomVPC(t *rapid.T) model.VNI {
	return model.VNI(rapid.SampledFrom([]int{1100, 1101, 2101}).Draw(t, "vpc"))
}

// randomPublic is an address that a route leads to, or one of the upstream network itself.
func randomPublic(t *rapid.T) netip.Addr {
	return rapid.SampledFrom([]netip.Addr{netip.MustParseAddr("1.22.3.5"), netip.MustParseAddr("1.22.3.6"),
		netip.MustParseAddr("203.0.113.200")}).Draw(t, "public")
}

func randomForward(t *rapid.T) view.ForwardKey {
	return view.ForwardKey{Address: randomPublic(t), Protocol: rapid.SampledFrom([]string{"tcp", "udp"}).Draw(t,
		"protocol"), Port: 443}
}

func randomBlock(t *rapid.T) view.BlockKey {
	shared := []netip.Addr{netip.MustParseAddr("1.22.3.8"), netip.MustParseAddr("203.0.113.201")}
	return view.BlockKey{Address: rapid.SampledFrom(shared).Draw(t, "shared"), First: 1024}
}

func randomHost(t *rapid.T) string {
	return fmt.Sprintf("h%d", rapid.IntRange(0, 3).Draw(t, "host"))
}

func randomPort(t *rapid.T) uint32 { return uint32(rapid.IntRange(0, 2).Draw(t, "number")) }

func randomDelta(t *rapid.T, complete bool) view.Delta {
	d := view.Delta{Complete: complete, VTEP: netip.MustParseAddr("192.168.5.1")}
	n := func(what string) int { return rapid.IntRange(0, 2).Draw(t, what) }
	for range n("segments") {
		key := randomKey(t)
		d.Segments = append(d.Segments, view.Segment{VNI: key.VNI, VPC: randomVPC(t),
			Subnet: fmt.Sprint("blue/s", key.VNI),
			CIDR:   netip.MustParsePrefix("10.0.0.0/24"), Gateway: netip.MustParseAddr("10.0.0.1"),
			DHCP: &model.DHCP{Dynamic: rapid.Bool().Draw(t, "dynamic")},
			Members: rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"h0", "h1", "h2", "h3"}), 0, 4,
				rapid.ID[string]).Draw(t, "members")})
	}
	for range n("gateways") {
		d.Gateways = append(d.Gateways, view.Gateway{VPC: randomVPC(t), Name: "blue",
			MTU: rapid.SampledFrom([]int{0, 1450, 8950}).Draw(t, "mtu"), SNAT: rapid.Bool().Draw(t, "snat"),
			Design: rapid.SampledFrom([]string{model.Distributed, model.Central}).Draw(t, "design"),
			BorderHosts: rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"h0", "h1", "h2"}), 0, 3,
				rapid.ID[string]).Draw(t, "border hosts")})
	}
	for range n("publics") {
		d.Publics = append(d.Publics, view.Public{Address: randomPublic(t), Name: "blue/p", VPC: randomVPC(t),
			Endpoint: randomKey(t), Host: randomHost(t)})
	}
	for range n("blocks") {
		d.Blocks = append(d.Blocks, view.Block{BlockKey: randomBlock(t), Last: 2047, Name: "blue/h", VPC: randomVPC(t),
			Host: randomHost(t)})
	}
	for range n("forwards") {
		d.Forwards = append(d.Forwards, view.Forward{ForwardKey: randomForward(t), Name: "blue/f", VPC: randomVPC(t),
			Endpoint: randomKey(t), TargetPort: 8080, Host: randomHost(t)})
	}
	for range n("next hops") {
		i := byte(rapid.IntRange(1, 3).Draw(t, "next hop"))
		d.NextHops = append(d.NextHops, view.NextHop{Host: fmt.Sprintf("h%d", i),
			Address: netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113, 10 + i}), 24),
			Router:  netip.MustParseAddr("203.0.113.1"),
			FailoverOrder: rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"h0", "h1", "h2", "h3"}), 0, 4,
				rapid.ID[string]).Draw(t, "heirs")})
	}
	if len(d.NextHops) > 0 { // a border host always knows its own next hop
		d.NextHops = append(d.NextHops, view.NextHop{Host: "h0", Address: netip.MustParsePrefix("203.0.113.10/24"),
			Router: netip.MustParseAddr("203.0.113.1"), FailoverOrder: []string{"h0"}})
	}
	for range n("peers") {
		d.Peers = append(d.Peers, view.Peer{Host: randomHost(t),
			VTEP: netip.AddrFrom4([4]byte{192, 168, 5, byte(rapid.IntRange(2, 9).Draw(t, "vtep"))})})
	}
	for range n("addresses") {
		key := randomKey(t)
		d.Addresses = append(d.Addresses, view.Address{AddressKey: key, MAC: model.MAC{2, 0, 0, 0, 0, byte(n("mac"))},
			Host: randomHost(t), Endpoint: fmt.Sprint("blue/s", key.VNI, "/", key.IP),
			Attachment: rapid.SampledFrom([]*model.Attachment{nil, {}, {Via: "blue/s100/front"}}).Draw(t,
				"attachment")})
	}
	if !complete {
		for range n("gone segments") {
			d.GoneSegments = append(d.GoneSegments, randomKey(t).VNI)
		}
		for range n("gone gateways") {
			d.GoneGateways = append(d.GoneGateways, randomVPC(t))
		}
		for range n("gone publics") {
			d.GonePublics = append(d.GonePublics, randomPublic(t))
		}
		for range n("gone forwards") {
			d.GoneForwards = append(d.GoneForwards, randomForward(t))
		}
		for range n("gone blocks") {
			d.GoneBlocks = append(d.GoneBlocks, randomBlock(t))
		}
		for range n("gone next hops") {
			d.GoneNextHops = append(d.GoneNextHops, fmt.Sprintf("h%d", rapid.IntRange(1, 3).Draw(t, "next hop")))
		}
		for range n("gone peers") {
			d.GonePeers = append(d.GonePeers, randomHost(t))
		}
		for range n("gone addresses") {
			d.GoneAddresses = append(d.GoneAddresses, randomKey(t))
		}
	}
	return d
}

// A host of a network of 5,000 endpoints in 50 subnets on 50 hosts, with 100 of its own.
func big() (*view.View, dataplane.Wiring) {
	const endpoints, subnets, hosts = 5000, 50, 50
	v := &view.View{Host: "h0"}
	d := view.Delta{Complete: true, VTEP: netip.MustParseAddr("192.168.5.2")}
	var members []string
	for h := range hosts {
		members = append(members, fmt.Sprintf("h%d", h))
		if h > 0 {
			d.Peers = append(d.Peers, view.Peer{Host: members[h], VTEP: netip.AddrFrom4([4]byte{192, 168, 6, byte(h)})})
		}
	}
	for s := range subnets {
		d.Segments = append(d.Segments, view.Segment{VNI: model.VNI(4096 + s), VPC: model.FirstTransitVNI,
			Subnet:  fmt.Sprintf("blue/s%d", s),
			CIDR:    netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(s), 0, 0}), 16),
			Gateway: netip.AddrFrom4([4]byte{10, byte(s), 0, 1}), Members: members})
	}
	w := dataplane.Wiring{TunnelPort: 1, Ports: map[view.AddressKey]uint32{}}
	for e := range endpoints {
		s, h := e%subnets, e/subnets%hosts
		key := view.AddressKey{VNI: model.VNI(4096 + s),
			IP: netip.AddrFrom4([4]byte{10, byte(s), 1, byte(e / subnets)})}
		d.Addresses = append(d.Addresses, view.Address{AddressKey: key, Host: members[h],
			Endpoint: fmt.Sprintf("blue/s%d/e%d", s, e)})
		if h == 0 {
			w.Ports[key] = uint32(10 + len(w.Ports))
		}
	}
	v.Apply(d)
	return v, w
}

// OVN 23.03 has 31,510 flows on a host of such a network.
func TestFlowsOfABigNetwork(t *testing.T) {
	v, w := big()
	e := dataplane.Compile(v, w)
	t.Logf("%d flows, %d groups", len(e.Flows), len(e.Groups))
	if len(e.Flows) > 5500 {
		t.Errorf("%d flows on a host with 5,000 endpoints in view, want at most 5,500", len(e.Flows))
	}
}

// BenchmarkOneChange is an endpoint of this host that changes its MAC, in a network of one host, and in a big one.
func BenchmarkOneChange(b *testing.B) {
	bigView, bigWiring := big()
	small := &view.View{Host: "h0"}
	small.Apply(onlyOwn(bigView))
	for name, v := range map[string]*view.View{"100": small, "5000": bigView} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				a := v.Addresses[view.AddressKey{VNI: 4096, IP: netip.MustParseAddr("10.0.1.0")}]
				a.MAC[5]++
				undo := v.Apply(view.Delta{Addresses: []view.Address{a}})
				subjects, _ := dataplane.Touched(dataplane.Before{Undo: undo, Wiring: bigWiring},
					dataplane.Input{View: v, Wiring: bigWiring})
				for _, s := range subjects {
					dataplane.CompileSubject(v, bigWiring, s)
				}
			}
		})
	}
}

// onlyOwn leaves of a view what it is without other hosts.
func onlyOwn(v *view.View) view.Delta {
	d := v.Delta(1)
	d.Peers = nil
	for i := range d.Segments {
		d.Segments[i].Members = []string{v.Host}
	}
	d.Addresses = slices.DeleteFunc(d.Addresses, func(a view.Address) bool { return a.Host != v.Host })
	return d
}

func BenchmarkCompileBig(b *testing.B) {
	v, w := big()
	for b.Loop() {
		dataplane.Compile(v, w)
	}
}

// A gateway of 10,000 public addresses on 100 hosts, and 63 blocks of ports of each of 10 addresses more.
func TestFlowsOfManyPublicAddresses(t *testing.T) {
	const publics, hosts, shared, blocks = 10000, 100, 10, 63
	d := view.Delta{Complete: true, VTEP: netip.MustParseAddr("192.168.5.2"),
		Gateways: []view.Gateway{{VPC: model.FirstTransitVNI, Name: "blue", MTU: 1450, SNAT: true,
			Design: model.Central, BorderHosts: []string{"g1"}}},
		NextHops: []view.NextHop{{Host: "g1", Address: netip.MustParsePrefix("203.0.113.11/24"),
			Router: netip.MustParseAddr("203.0.113.1"), FailoverOrder: []string{"g1"}}}}
	w := dataplane.Wiring{TunnelPort: 1, UpstreamPort: 3, Router: model.MAC{2, 0, 0, 0, 0, 9},
		BFDPorts: map[string]uint32{}}
	for h := range hosts {
		host := fmt.Sprintf("h%d", h)
		d.Peers = append(d.Peers, view.Peer{Host: host, VTEP: netip.AddrFrom4([4]byte{192, 168, 6, byte(h)}),
			BFD: true})
		w.BFDPorts[host] = uint32(100 + h)
	}
	for i := range publics {
		d.Publics = append(d.Publics, view.Public{Address: netip.AddrFrom4([4]byte{1, 22, byte(i >> 8), byte(i)}),
			Name: fmt.Sprint("blue/p", i), VPC: model.FirstTransitVNI,
			Endpoint: view.AddressKey{VNI: 100, IP: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})},
			Host:     fmt.Sprintf("h%d", i%hosts)})
	}
	for i := range shared * blocks {
		key := view.BlockKey{Address: netip.AddrFrom4([4]byte{1, 23, 0, byte(i / blocks)}),
			First: uint16(1024 * (1 + i%blocks))}
		d.Blocks = append(d.Blocks, view.Block{BlockKey: key, Last: key.First + 1023, Name: "blue/h",
			VPC: model.FirstTransitVNI, Host: fmt.Sprintf("h%d", i%hosts)})
	}
	v := &view.View{Host: "g1"}
	v.Apply(d)
	began := time.Now()
	e := dataplane.Compile(v, w)
	t.Logf("a gateway has %d flows for %d public addresses and %d blocks of ports, compiled in %v", len(e.Flows),
		publics, shared*blocks, time.Since(began))
	if most := 2*publics + 5*shared*blocks + hosts*2 + 100; len(e.Flows) > most {
		t.Errorf("%d flows, want %d at most", len(e.Flows), most)
	}
	v.Host, w.UpstreamPort = "h0", 0
	w.VPCZones = map[model.VNI]uint16{model.FirstTransitVNI: 7}
	w.Translations = map[model.VNI]netip.Addr{model.FirstTransitVNI: netip.MustParseAddr("100.64.0.16")}
	own := view.Delta{Complete: true, VTEP: netip.MustParseAddr("192.168.6.0"), Gateways: d.Gateways,
		Peers: []view.Peer{{Host: "g1", VTEP: d.VTEP, BFD: true}}}
	for _, p := range d.Publics {
		if p.Host == "h0" {
			own.Publics = append(own.Publics, p)
		}
	}
	v.Apply(own)
	e = dataplane.Compile(v, w)
	t.Logf("a host with %d of them has %d flows", len(own.Publics), len(e.Flows))
	if most := 4*len(own.Publics) + 100; len(e.Flows) > most {
		t.Errorf("%d flows, want %d at most", len(e.Flows), most)
	}
}

// What comes back to the tunnels' port is the tunnels'.
func TestNothingIsTranslatedToTheTunnelsPort(t *testing.T) {
	for port, want := range map[uint16]string{4789: "4790-65535", 8472: "8473-65535", 800: "1024-65535",
		60000: "1024-59999"} {
		const vpc = 1000
		w := dataplane.Wiring{TunnelPort: 1, UDPPort: port, SNATPort: 2,
			VPCZones:     map[model.VNI]uint16{vpc: 7},
			Translations: map[model.VNI]netip.Addr{vpc: netip.MustParseAddr("100.64.0.16")}}
		v := view.View{Gateways: map[model.VNI]view.Gateway{vpc: {Name: "blue", VPC: vpc, SNAT: true}}}
		found := false
		for _, f := range dataplane.Compile(&v, w).Flows {
			found = found || strings.Contains(f.String(), "nat(src=100.64.0.16:"+want+")")
		}
		if !found {
			t.Errorf("with tunnels to port %d nothing is translated to ports %s", port, want)
		}
	}
}
