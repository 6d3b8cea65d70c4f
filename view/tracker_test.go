package view_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
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
		for step := range rapid.IntRange(1, 40).Draw(rt, "steps") {
			if host := fmt.Sprintf("h%d", step%4); views[host] == nil && rapid.Bool().Draw(rt, "subscribe") {
				views[host] = &view.View{Host: host}
				views[host].Apply(tracker.Subscribe(host))
			}
			changes := w.change(rt)
			for host, d := range tracker.Apply(w.state, changes) {
				views[host].Apply(overTheWire(rt, d))
			}
			for host, got := range views {
				want := view.New(w.state, host)
				if diff := cmp.Diff(want, *got, addresses); diff != "" {
					rt.Fatalf("view of %s (-whole +followed):\n%s", host, diff)
				}
			}
		}
	})
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
		w.put("Subnet", subnetOf(i), &model.SubnetSpec{VNI: model.VNI(100 + i), CIDR: netip.MustParsePrefix("10.0.0.0/24")})
	}
	for i := range 4 {
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

func (w *world) apply(c ...model.Change) []model.Change {
	w.state = w.state.With(w.state.Revision()+1, c)
	return c
}

func (w *world) change(t *rapid.T) []model.Change {
	n := rapid.IntRange(0, 9).Draw(t, "n")
	subnet := subnetOf(n)
	host := rapid.SampledFrom([]string{"", "h0", "h1", "h2", "h3"}).Draw(t, "host")
	switch rapid.IntRange(-2, 9).Draw(t, "what") {
	case -2:
		return w.apply(model.Change{Action: model.Delete, Before: &model.Object{Kind: "InternetGateway", Name: vpcs[n%2]}})
	case -1:
		return w.put("InternetGateway", vpcs[n%2], &model.InternetGatewaySpec{SNAT: n > 3})
	case 0:
		return w.put("VPC", vpcs[n%2], &model.VPCSpec{MTU: 1400 + n, TransitVNI: model.VNI(900 + n)})
	case 1:
		return w.put("Host", fmt.Sprintf("h%d", n%4), &model.HostSpec{Address: netip.AddrFrom4([4]byte{192, 168, 1, byte(n)})})
	case 2:
		if w.state.CountUnder("Endpoint", subnet) > 0 {
			return nil
		}
		if n > 6 {
			return w.apply(model.Change{Action: model.Delete, Before: &model.Object{Kind: "Subnet", Name: subnet}})
		}
		return w.put("Subnet", subnet, &model.SubnetSpec{VNI: model.VNI(100 + 10*n%40 + n%4), CIDR: netip.MustParsePrefix("10.0.0.0/24")})
	case 3, 4, 5:
		return w.apply(model.Change{Action: model.Delete, Before: &model.Object{Kind: "Endpoint", Name: fmt.Sprintf("%s/e%d", subnet, n)}})
	default:
		return w.put("Endpoint", fmt.Sprintf("%s/e%d", subnet, n), &model.EndpointSpec{Host: host,
			Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), MAC: model.MAC{2, 0, 0, 0, byte(rapid.IntRange(0, 1).Draw(t, "mac")), byte(n)}})
	}
}

// A view that an older version has kept on disk does not tell which VPC a segment is of.
func TestSegmentsWithoutAVPCAreNotRouted(t *testing.T) {
	v := view.View{Host: "h0"}
	v.Apply(view.Delta{Complete: true, Segments: []view.Segment{{VNI: 100, Subnet: "blue/web"}, {VNI: 200, Subnet: "red/web"}}})
	if blue, red := v.Segments[100].VPC, v.Segments[200].VPC; blue == red {
		t.Errorf("two VPCs have the same number, %d", blue)
	}
}
