package view_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

var addresses = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

// Whatever happens in whatever order, a host that follows the deltas has the view that a newcomer is given whole.
func TestFollowingAgreesWithTheWhole(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld()
		tracker := view.NewTracker(w.state)
		views := map[string]*view.View{}
		found := map[string][]netip.Addr{} // by hosts, there or not
		for step := range rapid.IntRange(1, 40).Draw(rt, "steps") {
			if host := fmt.Sprintf("h%d", step%4); views[host] == nil && rapid.Bool().Draw(rt, "subscribe") {
				views[host] = &view.View{Host: host}
				views[host].Apply(tracker.Subscribe(host))
			}
			changes := w.change(rt)
			if rapid.Bool().Draw(rt, "two at once") {
				changes = append(changes, w.change(rt)...)
			}
			if rapid.Bool().Draw(rt, "found") {
				host, others := fmt.Sprintf("h%d", step%5), rapid.SampledFrom([][]netip.Addr{nil, {ip("172.16.0.1")},
					{ip("172.16.0.1"), ip("172.16.0.2")}}).Draw(rt, "others")
				found[host] = others
				tracker.RecordAddresses(host, others)
			}
			for host, d := range tracker.Apply(w.state, changes) {
				needed(rt, views[host], d)
				followed(rt, views[host], overTheWire(rt, d))
			}
			for host, got := range views {
				want := newcomer(w.state, host, found)
				if diff := cmp.Diff(want, *got, addresses); diff != "" {
					rt.Fatalf("view of %s (-whole +followed):\n%s", host, diff)
				}
				if diff := cmp.Diff(publicsOf(w.state, host), namesOf(got.Publics), addresses,
					cmpopts.EquateEmpty()); diff != "" {
					rt.Fatalf("public addresses of %s (-want +got):\n%s", host, diff)
				}
				if diff := cmp.Diff(forwardsOf(w.state, host), got.Forwards, addresses,
					cmpopts.EquateEmpty()); diff != "" {
					rt.Fatalf("forwarded ports of %s (-want +got):\n%s", host, diff)
				}
				if diff := cmp.Diff(blocksOf(w.state, host), got.Blocks, addresses, cmpopts.EquateEmpty()); diff != "" {
					rt.Fatalf("port blocks of %s (-want +got):\n%s", host, diff)
				}
				mutual(rt, views, got)
			}
		}
	})
}

// followed applies a delta, and fails if what Apply returns does not undo it or lists more than has changed.
func followed(t *rapid.T, v *view.View, d view.Delta) {
	was := v.Clone()
	undo := v.Apply(d)
	undone := v.Clone()
	redo := undone.Apply(undo)
	if !undone.Equal(was) {
		t.Fatalf("%+v is not undone by %+v (-was +undone):\n%s", d, undo, cmp.Diff(*was, *undone, addresses))
	}
	if redo.Len() != undo.Len() {
		t.Fatalf("of %+v, nothing but %+v has changed", undo, redo)
	}
	if undone.Apply(redo); !undone.Equal(v) {
		t.Fatalf("%+v does not redo %+v", redo, d)
	}
	whole := v.Clone()
	if again := whole.Apply(v.Delta(0)); again.Len() > 0 || !whole.Equal(v) {
		t.Fatalf("the whole view again changes %+v", again)
	}
}

func newcomer(state *model.State, host string, found map[string][]netip.Addr) view.View {
	tracker := view.NewTracker(state)
	for h, others := range found {
		tracker.RecordAddresses(h, others)
	}
	v := view.View{Host: host}
	v.Apply(tracker.Subscribe(host))
	return v
}

// needed fails for what a delta tells of the outside although the view has it so.
func needed(t *rapid.T, v *view.View, d view.Delta) {
	for _, p := range d.Peers {
		if v.Peers[p.Host] == p {
			t.Fatalf("%s is told of %+v again", v.Host, p)
		}
	}
	for _, g := range d.Gateways {
		if reflect.DeepEqual(v.Gateways[g.VPC], g) {
			t.Fatalf("%s is told of %+v again", v.Host, g)
		}
	}
	for _, p := range d.Publics {
		if v.Publics[p.Address] == p {
			t.Fatalf("%s is told of %+v again", v.Host, p)
		}
		if slices.Contains(d.GonePublics, p.Address) {
			t.Fatalf("%s is told that %s is there and gone", v.Host, p.Address)
		}
	}
	for _, address := range d.GonePublics {
		if _, had := v.Publics[address]; !had {
			t.Fatalf("%s never knew of %s, which is gone", v.Host, address)
		}
	}
	neededForwards(t, v, d)
	for _, b := range d.Blocks {
		if v.Blocks[b.BlockKey] == b {
			t.Fatalf("%s is told of %+v again", v.Host, b)
		}
		if slices.Contains(d.GoneBlocks, b.BlockKey) {
			t.Fatalf("%s is told that %+v is there and gone", v.Host, b)
		}
	}
	for _, key := range d.GoneBlocks {
		if _, had := v.Blocks[key]; !had {
			t.Fatalf("%s never knew of %+v, which is gone", v.Host, key)
		}
	}
	for _, m := range d.Hosts {
		if reflect.DeepEqual(v.Hosts[m.Host], m) {
			t.Fatalf("%s is told of %+v again", v.Host, m)
		}
	}
	for _, n := range d.NextHops {
		if reflect.DeepEqual(v.NextHops[n.Host], n) {
			t.Fatalf("%s is told of %+v again", v.Host, n)
		}
	}
}

// publicsOf is the names of the public addresses that a host must know, the slow way.
func publicsOf(s *model.State, host string) map[netip.Addr]string {
	publics := map[netip.Addr]string{}
	for o := range s.List("PublicIP") {
		spec, vpc := o.Spec.(*model.PublicIPSpec), model.Parent(o.Name)
		endpoint := s.Endpoint(spec.Endpoint)
		if endpoint == nil || endpoint.Host == "" || s.Subnet(model.Parent(spec.Endpoint)) == nil ||
			s.InternetGateway(vpc) == nil {
			continue
		}
		passes := slices.ContainsFunc(slices.Collect(s.BorderHosts(vpc)),
			func(o *model.Object) bool { return o.Name == host })
		if passes || endpoint.Host == host {
			publics[spec.Address] = o.Name
		}
	}
	return publics
}

// blocksOf is the port blocks that a host must know, the slow way.
func blocksOf(s *model.State, host string) view.Table[view.BlockKey, view.Block] {
	blocks := view.Table[view.BlockKey, view.Block]{}
	for o := range s.List("PortBlock") {
		spec := o.Spec.(*model.PortBlockSpec)
		vpc, of, _ := strings.Cut(o.Name, "/")
		if s.InternetGateway(vpc) == nil {
			continue
		}
		passes := slices.ContainsFunc(slices.Collect(s.BorderHosts(vpc)),
			func(o *model.Object) bool { return o.Name == host })
		inSubnet := func(o *model.Object) bool { return s.Subnet(model.Parent(o.Name)) != nil }
		if passes || of == host && slices.ContainsFunc(slices.Collect(s.EndpointsOnOf(host, vpc)), inSubnet) {
			b := view.Block{BlockKey: view.BlockKey{Address: spec.Address, First: spec.First}, Last: spec.Last,
				Name: o.Name, VPC: s.VPC(vpc).TransitVNI, Host: of}
			blocks[b.BlockKey] = b
		}
	}
	return blocks
}

func namesOf(publics view.Table[netip.Addr, view.Public]) map[netip.Addr]string {
	names := map[netip.Addr]string{}
	for address, p := range publics {
		names[address] = p.Name
	}
	return names
}

// mutual fails where a host knows another one that does not know it, or that watches while it does not.
func mutual(t *rapid.T, views map[string]*view.View, v *view.View) {
	for name, p := range v.Peers {
		if other := views[name]; other != nil {
			if back, ok := other.Peers[v.Host]; !ok || back.BFD != p.BFD {
				t.Fatalf("%s has the peer %+v, which has it as %+v (%t)", v.Host, p, back, ok)
			}
		}
	}
}

func overTheWire(t *rapid.T, d view.Delta) (out view.Delta) {
	data, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// world makes changes without the rules of admission: the tracker must not depend on them.
type world struct{ state *model.State }

func newWorld() *world {
	w := &world{model.NewState()}
	for i, vpc := range vpcs {
		w.put("VPC", vpc, &model.VPCSpec{MTU: 1450, TransitVNI: model.VNI(900 + i)})
	}
	for i := range 4 {
		w.put("Subnet", subnetOf(i), &model.SubnetSpec{VNI: model.VNI(100 + i),
			CIDR: netip.MustParsePrefix("10.0.0.0/24")})
	}
	for i := range 5 {
		w.put("Host", fmt.Sprintf("h%d", i), &model.HostSpec{Address: netip.AddrFrom4([4]byte{192, 168, 0, byte(i)})})
	}
	return w
}

var vpcs = []string{"blue", "red"}

// subnetOf is one of four subnets, two of each VPC.
func subnetOf(n int) string { return fmt.Sprintf("%s/s%d", vpcs[n%2], n%4) }

func (w *world) put(kind, name string, spec model.Spec) []model.Change {
	return w.apply(model.Change{Action: model.Update, After: &model.Object{Kind: kind, Name: name, Spec: spec}})
}

func (w *world) delete(kind, name string) []model.Change {
	return w.apply(model.Change{Action: model.Delete, Before: &model.Object{Kind: kind, Name: name}})
}

// putHost gives each host a next hop of its own, on one of two upstream networks.
func (w *world) putHost(t *rapid.T, n int) []model.Change {
	spec := &model.HostSpec{Address: netip.AddrFrom4([4]byte{192, 168, byte(n % 2), byte(n % 5)}),
		Roles: rapid.SampledFrom([][]string{{"compute"}, {"edge"}, {"gateway"}, {"compute", "edge", "gateway"}}).Draw(t,
			"roles")}
	if network := rapid.IntRange(-1, 1).Draw(t, "network"); network >= 0 && spec.Roles[0] != "compute" ||
		len(spec.Roles) > 1 {
		network = max(network, 0)
		spec.Outside = &model.HostOutside{Interface: "eth1",
			Address: netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, byte(network), byte(10 + n%5)}), 24),
			Router:  netip.AddrFrom4([4]byte{198, 51, byte(network), 1})}
	}
	return w.put("Host", fmt.Sprintf("h%d", n%5), spec)
}

// putPublic keeps to what the indexes of the state rely on: no two have one address, or one endpoint.
func (w *world) putPublic(t *rapid.T, vpc string, n int) []model.Change {
	name := fmt.Sprintf("%s/i%d", vpc, n%3)
	spec := &model.PublicIPSpec{Pool: "p",
		Address: netip.AddrFrom4([4]byte{203, 0, 113, byte(rapid.IntRange(0, 7).Draw(t, "address"))}),
		NATIP:   netip.AddrFrom4([4]byte{10, 200, 0, byte(n)})}
	for o := range w.state.List("PublicIP") {
		if o.Name != name && o.Spec.(*model.PublicIPSpec).Address == spec.Address {
			return nil
		}
	}
	for o := range w.state.EndpointsOf(vpc) {
		if taken := w.state.PublicIPOf(o.Name); (taken == nil || taken.Name == name) && rapid.Bool().Draw(t, "this") {
			spec.Endpoint = o.Name
		}
	}
	return w.put("PublicIP", name, spec)
}

// putBlock gives a host the ports that another one had, if there is one.
func (w *world) putBlock(t *rapid.T, vpc, host string) []model.Change {
	if host == "" {
		return nil
	}
	first := 1024 * uint16(rapid.IntRange(1, 3).Draw(t, "first"))
	spec := &model.PortBlockSpec{Pool: "p", Address: netip.AddrFrom4([4]byte{203, 0, 113, 100}), First: first,
		Last: first + rapid.SampledFrom([]uint16{63, 1023}).Draw(t, "size")}
	name := vpc + "/" + host
	changes := []model.Change{{Action: model.Create, After: &model.Object{Kind: "PortBlock", Name: name, Spec: spec}}}
	for o := range w.state.List("PortBlock") {
		if o.Name != name && o.Spec.(*model.PortBlockSpec).First == first {
			changes = append(changes, model.Change{Action: model.Delete, Before: o})
		}
	}
	return w.apply(changes...)
}

// swapPublics exchanges the addresses of two public IPs in one commit.
func (w *world) swapPublics(vpc string) []model.Change {
	a, b := w.state.PublicIP(vpc+"/i0"), w.state.PublicIP(vpc+"/i1")
	if a == nil || b == nil {
		return nil
	}
	x, y := *a, *b
	x.Address, y.Address = y.Address, x.Address
	return w.apply(model.Change{Action: model.Update, After: &model.Object{Kind: "PublicIP", Name: vpc + "/i0",
		Spec: &x}},
		model.Change{Action: model.Update, After: &model.Object{Kind: "PublicIP", Name: vpc + "/i1", Spec: &y}})
}

func (w *world) apply(c ...model.Change) []model.Change {
	w.state = w.state.With(w.state.Revision()+1, c)
	return c
}

func (w *world) change(t *rapid.T) []model.Change {
	n := rapid.IntRange(0, 9).Draw(t, "n")
	subnet := subnetOf(n)
	host := rapid.SampledFrom([]string{"", "h0", "h1", "h2", "h3"}).Draw(t, "host")
	switch rapid.IntRange(-14, 9).Draw(t, "what") {
	case -14:
		return w.delete("Forward", fmt.Sprintf("%s/f%d", vpcs[n%2], n%3))
	case -13:
		return w.swapForwards(vpcs[n%2])
	case -12, -11:
		return w.putForward(t, vpcs[n%2], n)
	case -10:
		return w.delete("PortBlock", fmt.Sprintf("%s/h%d", vpcs[n%2], n%4))
	case -9, -8:
		return w.putBlock(t, vpcs[n%2], host)
	case -7:
		return w.delete("PublicIP", fmt.Sprintf("%s/i%d", vpcs[n%2], n%3))
	case -6:
		return w.swapPublics(vpcs[n%2])
	case -5, -4:
		return w.putPublic(t, vpcs[n%2], n)
	case -3:
		return w.delete("Host", "h4")
	case -2:
		return w.delete("InternetGateway", vpcs[n%2])
	case -1:
		return w.put("InternetGateway", vpcs[n%2], &model.InternetGatewaySpec{SNAT: n > 3,
			Design: rapid.SampledFrom([]string{model.Distributed, model.Central}).Draw(t, "design"),
			Hosts:  rapid.SampledFrom([][]string{nil, nil, {"h1"}, {"h2", "h0"}, {"h3", "h4"}}).Draw(t, "hosts")})
	case 0:
		return w.put("VPC", vpcs[n%2], &model.VPCSpec{MTU: 1400 + n, TransitVNI: model.VNI(900 + n)})
	case 1:
		return w.putHost(t, n)
	case 2:
		if w.state.CountUnder("Endpoint", subnet) > 0 {
			return nil
		}
		if n > 6 {
			return w.delete("Subnet", subnet)
		}
		return w.put("Subnet", subnet, &model.SubnetSpec{VNI: model.VNI(100 + 10*n%40 + n%4),
			CIDR: netip.MustParsePrefix("10.0.0.0/24")})
	case 3, 4, 5:
		return w.delete("Endpoint", fmt.Sprintf("%s/e%d", subnet, n))
	default:
		return w.put("Endpoint", fmt.Sprintf("%s/e%d", subnet, n), &model.EndpointSpec{Host: host,
			Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}),
			MAC:     model.MAC{2, 0, 0, 0, byte(rapid.IntRange(0, 1).Draw(t, "mac")), byte(n)}})
	}
}

// A view that an older version has kept on disk does not tell which VPC a segment is of.
func TestSegmentsWithoutAVPCAreNotRouted(t *testing.T) {
	v := view.View{Host: "h0"}
	v.Apply(view.Delta{Complete: true, Segments: []view.Segment{{VNI: 100, Subnet: "blue/web"},
		{VNI: 200, Subnet: "red/web"}}})
	if blue, red := v.Segments[100].VPC, v.Segments[200].VPC; blue == red {
		t.Errorf("two VPCs have the same number, %d", blue)
	}
}
