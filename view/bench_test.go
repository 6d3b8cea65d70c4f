package view_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// sizes of networks, in endpoints. There are 100 of them on a host.
var sizes = []int{100, 5000}

// grown is a VPC of 50 subnets with as many endpoints, 100 on each host.
func grown(endpoints int) *world {
	w := &world{model.NewState()}
	var changes []model.Change
	put := func(kind, name string, spec model.Spec) {
		changes = append(changes, model.Change{Action: model.Create, After: &model.Object{Kind: kind, Name: name,
			Spec: spec}})
	}
	put("VPC", "blue", &model.VPCSpec{MTU: 1450, TransitVNI: 900})
	for s := range 50 {
		put("Subnet", fmt.Sprintf("blue/s%d", s), &model.SubnetSpec{VNI: model.VNI(100 + s),
			CIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(s), 0, 0}), 16)})
	}
	for h := range endpoints / 100 {
		put("Host", fmt.Sprintf("h%d", h),
			&model.HostSpec{Address: netip.AddrFrom4([4]byte{192, 168, byte(h >> 8), byte(h)})})
	}
	for e := range endpoints {
		put("Endpoint", fmt.Sprintf("blue/s%d/e%d", e%50, e), endpointSpec(e, e/50%max(1, endpoints/100)))
	}
	w.apply(changes...)
	return w
}

func endpointSpec(e, host int) *model.EndpointSpec {
	return &model.EndpointSpec{Host: fmt.Sprintf("h%d", host),
		Address: netip.AddrFrom4([4]byte{10, byte(e % 50), byte(e / 50 >> 8), byte(e / 50)}),
		MAC:     model.MAC{2, 0, 0, 0, byte(e >> 8), byte(e)}}
}

// BenchmarkOneChange is an endpoint that changes its MAC: what one subscribed host is told, and takes into its view.
func BenchmarkOneChange(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := grown(n)
			tracker := view.NewTracker(w.state)
			v := view.View{Host: "h0"}
			v.Apply(tracker.Subscribe("h0"))
			spec, i := endpointSpec(0, 0), byte(0)
			for b.Loop() {
				i++
				changed := *spec
				changed.MAC[3] = i
				d := tracker.Apply(w.state, w.put("Endpoint", "blue/s0/e0", &changed))["h0"]
				v.Apply(d)
			}
		})
	}
}

// BenchmarkOneCommit is the same for a server with many subscribed hosts that it does not concern.
func BenchmarkOneCommit(b *testing.B) {
	for _, n := range []int{10, 8000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := grown(1000)
			tracker := view.NewTracker(w.state)
			for h := range n {
				tracker.Subscribe(fmt.Sprintf("h%d", h))
			}
			spec, i := endpointSpec(0, 0), byte(0)
			for b.Loop() {
				i++
				changed := *spec
				changed.MAC[3] = i
				tracker.Apply(w.state, w.put("Endpoint", "blue/s0/e0", &changed))
			}
		})
	}
}

// TestMemoryOfAView prints what the view of a host takes that sees 5,000 endpoints, decoded as it comes from the
// server.
func TestMemoryOfAView(t *testing.T) {
	whole, err := json.Marshal(view.NewTracker(grown(5000).state).Subscribe("h0"))
	if err != nil {
		t.Fatal(err)
	}
	before := heap()
	v := &view.View{Host: "h0"}
	func() {
		var d view.Delta
		if err := json.Unmarshal(whole, &d); err != nil {
			t.Fatal(err)
		}
		v.Apply(d)
	}()
	t.Logf("a view of %d addresses: %d kB", len(v.Addresses), (heap()-before)>>10)
	runtime.KeepAlive(whole)
	runtime.KeepAlive(v)
}

// TestMemoryOfATracker prints what it takes to follow 50 hosts that see 5,000 endpoints each.
func TestMemoryOfATracker(t *testing.T) {
	w := grown(5000)
	before := heap()
	tracker := view.NewTracker(w.state)
	t.Logf("a tracker: %d kB", (heap()-before)>>10)
	for h := range 50 {
		tracker.Subscribe(fmt.Sprintf("h%d", h))
	}
	t.Logf("of 50 subscribed hosts: %d kB", (heap()-before)>>10)
	runtime.KeepAlive(w)
	runtime.KeepAlive(tracker)
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
