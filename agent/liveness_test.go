package agent

import (
	"net/netip"
	"testing"
	"time"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// A tunnel is up from its first reflection on, down after three lost probes, and a reflection that nobody waits for
// says nothing.
func TestTunnelLiveness(t *testing.T) {
	t.Parallel()
	start := time.Unix(1000, 0)
	peers := map[string]view.Peer{"h2": {Host: "h2", VTEP: netip.MustParseAddr("192.168.5.3")}}
	live := tunnelLiveness{}
	probe := func(second int) (sent []tunnelProbe) {
		return live.due(peers, start.Add(time.Duration(second)*time.Second))
	}
	first := probe(0)
	if len(first) != 1 || first[0].vtep != peers["h2"].VTEP || live.up("h2") {
		t.Fatalf("first %+v, up %t", first, live.up("h2"))
	}
	live.returned(first[0].nonce, first[0].number+1, start)
	live.returned(first[0].nonce+1, first[0].number, start)
	if live.up("h2") {
		t.Error("up by a reflection of nobody's")
	}
	live.returned(first[0].nonce, first[0].number, start.Add(5*time.Millisecond))
	if s := live.status()[0]; s.State != model.TunnelUp || s.RTTMicros != 5000 {
		t.Errorf("after a reflection: %+v", s)
	}
	sent := 0
	for second := range 6 { // at 1, as was planned before it was up, at 4, and at 5, since one is lost
		sent += len(probe(second))
	}
	if s := live.status()[0]; sent != 3 || s.State != model.TunnelUp || s.LostProbes != 2 {
		t.Errorf("after %d probes: %+v", sent, s)
	}
	probe(6)
	if s := live.status()[0]; s.State != model.TunnelDown {
		t.Errorf("after many lost probes: %+v", s)
	}
	peers["h2"] = view.Peer{Host: "h2", VTEP: netip.MustParseAddr("192.168.5.4")}
	if again := probe(9); len(again) != 1 || again[0].nonce == first[0].nonce || live.status()[0].State != model.TunnelUnknown {
		t.Errorf("at another address: %+v, %+v", again, live.status())
	}
	delete(peers, "h2")
	if probe(10); len(live.status()) != 0 {
		t.Errorf("a peer that is gone has the status %+v", live.status())
	}
}

// An endpoint is alive from its first answer on, and until it leaves three questions in a row without one.
func TestEndpointLiveness(t *testing.T) {
	t.Parallel()
	start := time.Unix(1000, 0)
	address := view.Address{AddressKey: view.AddressKey{VNI: 100, IP: netip.MustParseAddr("10.0.0.2")}, Endpoint: "blue/web/x"}
	own := map[string]view.Address{address.Endpoint: address}
	ports := map[view.AddressKey]uint32{}
	live := endpointLiveness{}
	ask := func(second int) int { return len(live.due(own, ports, start.Add(time.Duration(second)*time.Second))) }
	if ask(0) != 0 {
		t.Error("asked without a port")
	}
	live.answered(address.Endpoint, start)
	if live.alive(address.Endpoint) {
		t.Error("alive by an answer that nobody asked for")
	}
	ports[address.AddressKey] = 7
	if ask(0) != 1 || ask(0) != 0 || ask(1) != 1 {
		t.Error("not asked once a second")
	}
	live.answered(address.Endpoint, start.Add(time.Second))
	for second, want := range map[int]int{2: 0, 15: 0} {
		if got := ask(second); got != want || !live.alive(address.Endpoint) {
			t.Errorf("after %d s: asked %d times, alive %t", second, got, live.alive(address.Endpoint))
		}
	}
	for second := 16; second <= 19; second++ {
		if ask(second) != 1 || live.alive(address.Endpoint) != (second < 19) {
			t.Errorf("after %d s: alive %t", second, live.alive(address.Endpoint))
		}
	}
	delete(ports, address.AddressKey)
	if ask(20); len(live) != 0 {
		t.Error("an endpoint without a port is not forgotten")
	}
}
