package agent

import (
	"net/netip"
	"testing"
	"time"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// behind is an agent with an endpoint on its host, and two behind that: one that ends with its lease, and one that a
// user has made a lasting one.
func behind(t *testing.T) (a *Agent, front, dynamic view.Address) {
	t.Helper()
	a = testAgent(t, t.TempDir(), "h1")
	s := newPretendServer()
	a.server, a.attachments.server, a.leases.server = s, s, s
	segment := pretendSegment
	segment.DHCP = &model.DHCP{Lease: 600, Dynamic: true, PerPort: 3}
	at := func(name string, last byte, of model.Attachment) view.Address {
		return view.Address{AddressKey: view.AddressKey{VNI: 100, IP: netip.AddrFrom4([4]byte{172, 17, 42, last})}, MAC: model.MAC{2, 0, 0, 0, 0, last},
			Endpoint: "blue/web/" + name, Host: "h1", Ephemeral: true, Attachment: &of}
	}
	front, dynamic = at("vm", 2, model.Attachment{Netns: "/run/netns/vm"}), at("dhcp-02-00-00-00-00-03", 3, model.Attachment{Via: "blue/web/vm"})
	lasting := at("dhcp-02-00-00-00-00-04", 4, model.Attachment{Via: "blue/web/vm"})
	lasting.Ephemeral = false
	a.apply(view.Delta{Revision: 1, Complete: true, Segments: []view.Segment{segment}, Addresses: []view.Address{front, dynamic, lasting}})
	return a, front, dynamic
}

// A lease that nobody renews ends, and what a user has written down does not. Who had one when the agent has started
// has it for as long again.
func TestLeasesEnd(t *testing.T) {
	t.Parallel()
	a, _, dynamic := behind(t)
	start := time.Now()
	after := func(seconds int) int {
		a.leases.end(t.Context(), start.Add(time.Duration(seconds)*time.Second))
		return len(a.attachments.busy)
	}
	if after(0)+after(599) != 0 {
		t.Error("it is released before it has run out")
	}
	a.leases.renewed(dynamic, start.Add(500*time.Second))
	if after(1099) != 0 {
		t.Error("it is released although it was renewed")
	}
	a.intent.away = "cut"
	if after(1101) != 0 {
		t.Error("it is released while the server is away")
	}
	a.intent.away = ""
	if after(1101) != 1 || !a.attachments.busy[dynamic.Endpoint] {
		t.Errorf("after it has run out these are released: %v", a.attachments.busy)
	}
	poll(t, "the server has been told", func() bool {
		return a.server.(*pretendServer).did(&a.server.(*pretendServer).deletes) == dynamic.Endpoint
	})
}

// Who may have the server asked for an endpoint.
func TestMayAsk(t *testing.T) {
	t.Parallel()
	next := model.MAC{2, 0, 0, 0, 0, 9}
	for _, tt := range []struct {
		name    string
		mac     model.MAC
		prepare func(a *Agent, name, front string)
		want    bool
	}{
		{"one more", next, func(*Agent, string, string) {}, true},
		{"a MAC of another endpoint", model.MAC{2, 0, 0, 0, 0, 2}, func(*Agent, string, string) {}, false},
		{"no MAC", model.MAC{}, func(*Agent, string, string) {}, false},
		{"a group's MAC", model.MAC{3}, func(*Agent, string, string) {}, false},
		{"the gateway's MAC", model.GatewayMAC, func(*Agent, string, string) {}, false},
		{"again at once", next, func(a *Agent, name, _ string) { a.leases.asked[name] = time.Now() }, false},
		{"again after a second", next, func(a *Agent, name, _ string) { a.leases.asked[name] = time.Now().Add(-askAgain) }, true},
		{"while it is being made", next, func(a *Agent, name, front string) { a.leases.making[name] = front }, false},
		{"while it is being released", next, func(a *Agent, name, _ string) { a.attachments.busy[name] = true }, false},
		{"while its port is being detached", next, func(a *Agent, _, front string) { a.attachments.busy[front] = true }, false},
		{"with as many as the port may have under way", next, func(a *Agent, _, front string) { a.leases.making["x"] = front }, false},
		{"with one of another port under way", next, func(a *Agent, _, _ string) { a.leases.making["x"] = "blue/web/other" }, true},
		{"with many under way", next, func(a *Agent, _, _ string) {
			for i := range asksAtOnce {
				a.leases.making[string(rune('a'+i))] = "blue/web/other"
			}
		}, false},
	} {
		a, front, _ := behind(t)
		name := dynamicName("blue/web", tt.mac)
		tt.prepare(a, name, front.Endpoint)
		if got := a.leases.mayAsk(name, tt.mac, front); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}

// A port that goes while no agent runs takes along what is behind it.
func TestVanishedWithThoseBehind(t *testing.T) {
	t.Parallel()
	s, o := newPretendServer(), dummySwitch(t)
	s.place("blue/web/vm", model.Attachment{Netns: "/run/netns/none"})
	s.place("blue/web/dhcp-02-00-00-00-00-03", model.Attachment{Via: "blue/web/vm"})
	start(t, s, o.Dir, t.TempDir())
	poll(t, "the server has been told of both", func() bool { return s.did(&s.deletes) == "blue/web/vm blue/web/dhcp-02-00-00-00-00-03" })
}
